//! How dialects differ in the life of a session: times, limits, what survives the connection.

use sparkway_protocol::{CloseReason, Format};
use sparkway_session::SessionSettings;
use sparkway_socket::Inbound;

use crate::clock::millis;
use crate::settings::{ChatSettings, RoomSettings};

/// Sources 1, 2 and 3: silence for twice this ends a connection (S1-32, S2-22, S3-13).
const SILENCE_INTERVAL_MS: u64 = 30_000;
/// Frames of a conversation per second, and at once (S2-48).
const CONVERSATION_FRAMES: (u32, u32) = (20, 40);
/// Frames of a conversation refused in a row before it is closed (S2-48).
const CONVERSATION_REFUSED: u16 = 100;
/// Malformed frames in a row before the connection is closed (S1-64).
const MALFORMED: u16 = 10;

/// What holds for the sessions of a format on a node with these settings.
pub(crate) fn session_settings(
    base: &SessionSettings,
    room: &RoomSettings,
    chat: &ChatSettings,
    format: Format,
) -> SessionSettings {
    let mut settings = base.clone();
    if is_spark(format) {
        return settings;
    }
    settings.heartbeat_interval_ms = SILENCE_INTERVAL_MS;
    settings.heartbeat_grace_ms = 0;
    match format {
        Format::Room => {
            settings.heartbeat_interval_ms = millis(room.ping_interval);
            settings.ping_interval_ms = Some(settings.heartbeat_interval_ms);
        }
        Format::Topics => settings.malformed_in_a_row = MALFORMED,
        Format::Conversation => {
            let (per_second, burst) = CONVERSATION_FRAMES;
            // 0 is no limit and stays so.
            settings.frames_per_second = base.frames_per_second.min(per_second);
            settings.frames_burst = base.frames_burst.min(burst);
            settings.keep_on_close = true;
            settings.refused_in_a_row = CONVERSATION_REFUSED;
            settings.malformed_in_a_row = MALFORMED;
        }
        Format::Chat => {
            settings.heartbeat_interval_ms = millis(chat.ping_interval);
            settings.ping_interval_ms = Some(settings.heartbeat_interval_ms);
            // The source keeps the connection, whatever is sent; the rate of frames is bounded.
            settings.malformed_in_a_row = u16::MAX;
        }
        Format::SparkJson | Format::SparkMsgPack => {}
    }
    settings
}

/// Whether a session of the format outlives its connection: Spark has a frame to resume with, and
/// the client of a conversation is known by its id.
pub(crate) const fn is_resumable(format: Format) -> bool {
    is_spark(format) || matches!(format, Format::Conversation)
}

/// Whether clients of the format acknowledge what they receive.
pub(crate) const fn acknowledges(format: Format) -> bool {
    is_spark(format)
}

/// Whether every frame counts as a sign of life, and not only heartbeats.
pub(crate) const fn any_frame_is_alive(format: Format) -> bool {
    !is_spark(format)
}

/// What becomes of a frame of the kind that the format does not use: `None` ignores it (S3-09).
pub(crate) const fn wrong_kind(format: Format, frame: &Inbound) -> Option<CloseReason> {
    match (format, frame) {
        (Format::Room, Inbound::Binary(_)) => None,
        _ => Some(CloseReason::UnsupportedData),
    }
}

/// Whether a connection that ends for this reason is dropped without a close frame (S4-50).
pub(crate) const fn cuts(format: Format, reason: CloseReason) -> bool {
    matches!(
        (format, reason),
        (Format::Chat, CloseReason::HeartbeatTimeout)
    )
}

const fn is_spark(format: Format) -> bool {
    matches!(format, Format::SparkJson | Format::SparkMsgPack)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_the_node_is_never_raised_and_no_limit_stays_none() {
        let (mut base, room) = (SessionSettings::default(), RoomSettings::default());
        let settings =
            session_settings(&base, &room, &ChatSettings::default(), Format::Conversation);
        assert_eq!(
            (settings.frames_per_second, settings.frames_burst),
            (20, 40)
        );
        base.frames_per_second = 0;
        let settings =
            session_settings(&base, &room, &ChatSettings::default(), Format::Conversation);
        assert_eq!(settings.frames_per_second, 0);
        base.frames_per_second = 5;
        let settings =
            session_settings(&base, &room, &ChatSettings::default(), Format::Conversation);
        assert_eq!(settings.frames_per_second, 5);
    }

    #[test]
    fn silence_ends_the_connections_of_the_sources_after_60_seconds() {
        let (base, room) = (SessionSettings::default(), RoomSettings::default());
        for format in [
            Format::Topics,
            Format::Conversation,
            Format::Room,
            Format::Chat,
        ] {
            let settings = session_settings(&base, &room, &ChatSettings::default(), format);
            let limit = 2 * settings.heartbeat_interval_ms + settings.heartbeat_grace_ms;
            assert!((60_000..=90_000).contains(&limit), "{format:?}");
        }
    }
}
