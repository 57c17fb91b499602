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
        Format::Topics | Format::Conversation | Format::Room | Format::Chat => {
            plain(format, reason)
        }
    }
}

const fn plain(format: Format, reason: CloseReason) -> (u16, &'static str) {
    let text = reason.text();
    match reason {
        CloseReason::Drain | CloseReason::WriteTimeout => (1001, text),
        CloseReason::SessionLost => (1011, text),
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
                assert!((1000..=1013).contains(&code) && code != 1012, "{reason:?}");
                assert!(text.len() <= 123);
            }
        }
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
