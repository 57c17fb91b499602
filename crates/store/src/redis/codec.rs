//! What stands in streams and channels, byte for byte.
//!
//! A stream entry has four fields: `prev` (decimal id), `data` (payload bytes), `from` (user id,
//! or empty) and `meta` (below). A channel message is one string, built inside the append script:
//!
//! ```text
//! kept       "E" id " " prev " " meta-length(1) meta from-length(1) from data
//! ephemeral  "e"                 meta-length(1) meta from-length(1) from data
//! meta       flags(1) [session(16)]     flags: bits 0-1 encoding, 2 exclude origin, 3 has session
//! ```

use std::sync::Arc;

use bytes::Bytes;
use sparkway_protocol::{
    CloseReason, Encoding, Entry, Ephemeral, Epoch, MessageId, Payload, SessionId, TopicName,
    UserId,
};

use crate::{Append, Control};

const EXCLUDE_ORIGIN: u8 = 0b0100;
const HAS_ORIGIN: u8 = 0b1000;

/// A channel message, taken apart. Its topic is named by the channel.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Announcement {
    /// Something that stands in the log.
    Kept(Arc<Entry>),
    /// Something that does not.
    Ephemeral(Arc<Ephemeral>),
}

const fn encoding_bits(encoding: Encoding) -> u8 {
    match encoding {
        Encoding::Json => 0,
        Encoding::MsgPack => 1,
        Encoding::Binary => 2,
        Encoding::Text => 3,
    }
}

const fn encoding_of(flags: u8) -> Encoding {
    match flags & 0b11 {
        0 => Encoding::Json,
        1 => Encoding::MsgPack,
        2 => Encoding::Binary,
        _ => Encoding::Text,
    }
}

fn meta(encoding: Encoding, origin: Option<SessionId>, exclude_origin: bool) -> Vec<u8> {
    let mut flags = encoding_bits(encoding);
    if exclude_origin {
        flags |= EXCLUDE_ORIGIN;
    }
    let mut meta = Vec::with_capacity(17);
    if let Some(session) = origin {
        meta.push(flags | HAS_ORIGIN);
        meta.extend_from_slice(session.as_bytes());
    } else {
        meta.push(flags);
    }
    meta
}

/// The `meta` field of a message to append.
pub(super) fn append_meta(message: &Append) -> Vec<u8> {
    meta(
        message.payload.encoding,
        message.origin,
        message.exclude_origin,
    )
}

/// A whole ephemeral announcement.
pub(super) fn ephemeral(message: &Ephemeral) -> Vec<u8> {
    let meta = meta(
        message.payload.encoding,
        message.origin,
        message.exclude_origin,
    );
    let from = message.from.as_ref().map_or("", UserId::as_str);
    let mut out = Vec::with_capacity(3 + meta.len() + from.len() + message.payload.bytes.len());
    out.push(b'e');
    for part in [meta.as_slice(), from.as_bytes()] {
        // Both are short by construction: 17 and 128 bytes at the most.
        out.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(part);
    }
    out.extend_from_slice(&message.payload.bytes);
    out
}

struct Body {
    from: Option<UserId>,
    origin: Option<SessionId>,
    exclude_origin: bool,
    payload: Payload,
}

fn body(meta: &[u8], from: &[u8], data: Bytes) -> Option<Body> {
    let (&flags, session) = meta.split_first()?;
    let origin = if flags & HAS_ORIGIN == 0 {
        None
    } else {
        Some(SessionId::from_bytes(session.try_into().ok()?)?)
    };
    let from = match from {
        [] => None,
        bytes => Some(UserId::parse(std::str::from_utf8(bytes).ok()?).ok()?),
    };
    Some(Body {
        from,
        origin,
        exclude_origin: flags & EXCLUDE_ORIGIN != 0,
        payload: Payload {
            encoding: encoding_of(flags),
            bytes: data,
        },
    })
}

fn id_of(digits: &[u8]) -> Option<MessageId> {
    MessageId::parse(std::str::from_utf8(digits).ok()?)
}

fn until_space(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == b' ')?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&count, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(count))
}

/// Takes a channel message apart; `None` when it is none of ours. Copies the payload, so that it
/// does not pin the read buffer.
pub(super) fn announcement(topic: &TopicName, bytes: &[u8]) -> Option<Announcement> {
    let (&kind, rest) = bytes.split_first()?;
    let (ids, rest) = match kind {
        b'E' => {
            let (id, rest) = until_space(rest)?;
            let (prev, rest) = until_space(rest)?;
            (Some((id_of(id)?, id_of(prev)?)), rest)
        }
        b'e' => (None, rest),
        _ => return None,
    };
    let (meta, rest) = counted(rest)?;
    let (from, data) = counted(rest)?;
    let body = body(meta, from, Bytes::copy_from_slice(data))?;
    let topic = topic.clone();
    Some(match ids {
        Some((id, prev)) => Announcement::Kept(Arc::new(Entry {
            id,
            prev,
            topic,
            from: body.from,
            origin: body.origin,
            exclude_origin: body.exclude_origin,
            payload: body.payload,
        })),
        None => Announcement::Ephemeral(Arc::new(Ephemeral {
            topic,
            from: body.from,
            origin: body.origin,
            exclude_origin: body.exclude_origin,
            payload: body.payload,
        })),
    })
}

/// The fields of a stream entry as they were read, in any order.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// Decimal id of the topic's entry before.
    pub(super) prev: Vec<u8>,
    /// Payload bytes.
    pub(super) data: Vec<u8>,
    /// User id, or empty.
    pub(super) from: Vec<u8>,
    /// Flags and session.
    pub(super) meta: Vec<u8>,
}

/// An entry from the id of its stream entry (`ID-0`) and its fields.
pub(super) fn entry(topic: &TopicName, stream_id: &[u8], fields: Fields) -> Option<Entry> {
    let dash = stream_id.iter().position(|&byte| byte == b'-')?;
    let body = body(&fields.meta, &fields.from, Bytes::from(fields.data))?;
    Some(Entry {
        id: id_of(stream_id.get(..dash)?)?,
        prev: id_of(&fields.prev)?,
        topic: topic.clone(),
        from: body.from,
        origin: body.origin,
        exclude_origin: body.exclude_origin,
        payload: body.payload,
    })
}

/// `c:` and the close reason, as scripts publish it on a control channel before the session id.
pub(super) fn close_stem(reason: CloseReason) -> String {
    format!("c:{}:{}:", reason.code(), reason.text())
}

/// Takes a control message apart: `s:EPOCH:SESSION` or `c:CODE:TEXT:SESSION`.
pub(super) fn control(bytes: &[u8]) -> Option<Control> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, session) = text.rsplit_once(':')?;
    let session = SessionId::parse(session)?;
    if let Some(epoch) = head.strip_prefix("s:") {
        let epoch = Epoch(epoch.parse().ok()?);
        return Some(Control::Superseded { session, epoch });
    }
    let (code, wording) = head.strip_prefix("c:")?.split_once(':')?;
    let code: u16 = code.parse().ok()?;
    let reason = CloseReason::ALL
        .iter()
        .copied()
        .find(|reason| reason.code() == code && reason.text() == wording)?;
    Some(Control::Close { session, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> TopicName {
        TopicName::parse("room:1").unwrap()
    }

    fn session() -> SessionId {
        SessionId::from_random([7; 16], sparkway_protocol::Partition::default())
    }

    fn message() -> Ephemeral {
        Ephemeral {
            topic: topic(),
            from: Some(UserId::parse("ada").unwrap()),
            origin: Some(session()),
            exclude_origin: true,
            payload: Payload {
                encoding: Encoding::Binary,
                bytes: Bytes::from_static(b"\0 E\xff"),
            },
        }
    }

    #[test]
    fn ephemeral_round_trips_with_every_encoding_and_without_a_sender() {
        for encoding in [
            Encoding::Json,
            Encoding::MsgPack,
            Encoding::Binary,
            Encoding::Text,
        ] {
            let mut sent = message();
            sent.payload.encoding = encoding;
            let got = announcement(&topic(), &ephemeral(&sent));
            assert_eq!(got, Some(Announcement::Ephemeral(Arc::new(sent))));
        }
        let mut sent = message();
        sent.from = None;
        sent.origin = None;
        sent.exclude_origin = false;
        let got = announcement(&topic(), &ephemeral(&sent));
        assert_eq!(got, Some(Announcement::Ephemeral(Arc::new(sent))));
    }

    #[test]
    fn kept_announcement_reads_as_the_stream_entry_does() {
        let meta = meta(Encoding::Text, Some(session()), false);
        let mut sent = b"E9007199254740991 16 ".to_vec();
        sent.push(17);
        sent.extend_from_slice(&meta);
        sent.extend_from_slice(b"\x03adahello world");
        let fields = Fields {
            prev: b"16".to_vec(),
            data: b"hello world".to_vec(),
            from: b"ada".to_vec(),
            meta,
        };
        let stored = entry(&topic(), b"9007199254740991-0", fields).unwrap();
        assert_eq!(
            announcement(&topic(), &sent),
            Some(Announcement::Kept(Arc::new(stored)))
        );
    }

    #[test]
    fn torn_announcements_are_refused_and_never_panic() {
        let whole = ephemeral(&message());
        for length in 0..whole.len() - 4 {
            assert_eq!(announcement(&topic(), &whole[..length]), None, "{length}");
        }
        for bad in [
            &b"x"[..],
            b"E",
            b"E1",
            b"E1 2",
            b"E1 2 \xff",
            b"E-1 2 \x01\0\0",
        ] {
            assert_eq!(announcement(&topic(), bad), None);
        }
    }

    #[test]
    fn every_close_reason_survives_the_control_channel() {
        for &reason in CloseReason::ALL {
            let text = format!("{}{}", close_stem(reason), session());
            assert_eq!(
                control(text.as_bytes()),
                Some(Control::Close {
                    session: session(),
                    reason
                })
            );
        }
        let text = format!("s:12:{}", session());
        let epoch = Epoch(12);
        assert_eq!(
            control(text.as_bytes()),
            Some(Control::Superseded {
                session: session(),
                epoch
            })
        );
        assert_eq!(control(b"s:12:nobody"), None);
    }
}
