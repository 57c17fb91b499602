//! Close codes, per dialect: what each one's own clients take for "come back" and "stay away".

use sparkway_protocol::{CloseReason, Format};

/// Code and text of the close frame for `reason`.
///
/// Outside of Spark nobody knows the codes of 4000 and above, and 1008 is what its clients take
/// for "do not come back".
#[must_use]
pub const fn closing(format: Format, reason: CloseReason) -> (u16, &'static str) {
    match format {
        Format::SparkJson | Format::SparkMsgPack => (reason.code(), reason.text()),
        Format::Chat => chat(reason),
        Format::Topics | Format::Conversation | Format::Room => plain(format, reason),
    }
}

/// The codes of source 4; what it has none for is as elsewhere.
const fn chat(reason: CloseReason) -> (u16, &'static str) {
    match reason {
        CloseReason::NoCredential | CloseReason::UnknownUser | CloseReason::NotAdmitted => {
            (reason.code(), reason.text())
        }
        CloseReason::Unauthorized | CloseReason::TokenExpired => (4002, "Invalid token"),
        CloseReason::Superseded => (4005, "New connection established"),
        other => plain(Format::Chat, other),
    }
}

const fn plain(format: Format, reason: CloseReason) -> (u16, &'static str) {
    let text = reason.text();
    match reason {
        CloseReason::Drain | CloseReason::WriteTimeout => (1001, text),
        CloseReason::SessionLost | CloseReason::NotAdmitted => (1011, text),
        CloseReason::NoCredential | CloseReason::UnknownUser => {
            (1008, CloseReason::Unauthorized.text())
        }
        CloseReason::RateLimited => (1008, "Rate limit exceeded"),
        CloseReason::TokenExpired => (1008, CloseReason::Unauthorized.text()),
        CloseReason::NotConnected | CloseReason::ConnectTimeout => match format {
            // What is waited for is the credential.
            Format::Topics => (1008, CloseReason::Unauthorized.text()),
            Format::SparkJson
            | Format::SparkMsgPack
            | Format::Conversation
            | Format::Room
            | Format::Chat => (1008, text),
        },
        CloseReason::Superseded | CloseReason::Disconnected | CloseReason::BadHeartbeatToken => {
            (1008, text)
        }
        CloseReason::Normal
        | CloseReason::HeartbeatTimeout
        | CloseReason::ProtocolError
        | CloseReason::UnsupportedData
        | CloseReason::InvalidPayload
        | CloseReason::Policy
        | CloseReason::Unauthorized
        | CloseReason::TooLarge
        | CloseReason::Internal
        | CloseReason::UnsupportedVersion
        | CloseReason::TryAgain => (reason.code(), text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_spark_uses_private_codes_and_1012() {
        for reason in CloseReason::ALL {
            assert_eq!(closing(Format::SparkJson, *reason).0, reason.code());
            for format in [Format::Topics, Format::Room, Format::Conversation] {
                let (code, text) = closing(format, *reason);
                // The one code that the conversation has of its own (row S2-03).
                let own = code == 4400;
                let usual = (1000..=1013).contains(&code) && code != 1012;
                assert!(own || usual, "{reason:?}");
                assert!(text.len() <= 123);
            }
        }
    }

    #[test]
    fn the_chat_has_the_codes_and_texts_of_its_source() {
        let of = |reason| closing(Format::Chat, reason);
        assert_eq!(
            of(CloseReason::NoCredential),
            (4001, "Authentication required")
        );
        assert_eq!(of(CloseReason::Unauthorized), (4002, "Invalid token"));
        assert_eq!(of(CloseReason::TokenExpired), (4002, "Invalid token"));
        assert_eq!(of(CloseReason::UnknownUser), (4003, "User not found"));
        assert_eq!(of(CloseReason::NotAdmitted), (4004, "Server error"));
        assert_eq!(
            of(CloseReason::Superseded),
            (4005, "New connection established")
        );
        assert_eq!(of(CloseReason::Drain).0, 1001);
    }

    #[test]
    fn drain_and_silence_lead_back_and_bad_credentials_do_not() {
        assert_eq!(closing(Format::Topics, CloseReason::Drain).0, 1001);
        let silent = closing(Format::Topics, CloseReason::HeartbeatTimeout);
        assert_eq!(silent, (1001, "Heartbeat timeout"));
        for reason in [
            CloseReason::Unauthorized,
            CloseReason::NotConnected,
            CloseReason::ConnectTimeout,
            CloseReason::TokenExpired,
        ] {
            assert_eq!(closing(Format::Topics, reason), (1008, "Unauthorized"));
        }
    }
}
