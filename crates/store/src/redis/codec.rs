//! What stands in streams and channels, byte for byte.
//!
//! A stream entry has four fields: `prev` (decimal id), `data` (payload bytes), `from` (user id,
//! or empty) and `meta` (below). A channel message is one string, built inside the append script:
//!
//! ```text
//! kept       "E" id " " prev " " meta-length(1) meta from-length(1) from data
//! ephemeral  "e"                 meta-length(1) meta from-length(1) from data
//! presence   "J" user | "L" user        somebody came, left
//! meta       flags(1) [session(16)] [trace(25)]
//!            flags: bits 0-1 encoding, 2 exclude origin, 3 has session, 4 has trace
//! ```

use std::sync::Arc;

use bytes::Bytes;
use sparkway_protocol::{
    CloseReason, Encoding, Entry, Ephemeral, Epoch, MessageId, Payload, PresenceChange, SessionId,
    TopicName, TraceContext, UserId, trace,
};

use super::read::read_hole;
use crate::{Append, Control, Hole, Marked, Revocation};

const EXCLUDE_ORIGIN: u8 = 0b0100;
const HAS_ORIGIN: u8 = 0b1000;
const HAS_TRACE: u8 = 0b1_0000;

/// A channel message, taken apart. Its topic is named by the channel.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Announcement {
    /// Something that stands in the log.
    Kept(Arc<Entry>),
    /// Something that does not.
    Ephemeral(Arc<Ephemeral>),
    /// Somebody came or left.
    Presence(Arc<PresenceChange>),
    /// Messages of the partition may be lost. It has no topic.
    Hole(Hole),
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

/// What a message is besides its payload and its sender.
#[derive(Clone, Copy, Debug)]
struct Meta {
    encoding: Encoding,
    origin: Option<SessionId>,
    exclude_origin: bool,
    trace: Option<TraceContext>,
}

impl Meta {
    fn to_bytes(self) -> Vec<u8> {
        let mut flags = encoding_bits(self.encoding);
        for (is_set, flag) in [
            (self.exclude_origin, EXCLUDE_ORIGIN),
            (self.origin.is_some(), HAS_ORIGIN),
            (self.trace.is_some(), HAS_TRACE),
        ] {
            if is_set {
                flags |= flag;
            }
        }
        let mut bytes = Vec::with_capacity(1 + 16 + trace::BYTES);
        bytes.push(flags);
        if let Some(session) = self.origin {
            bytes.extend_from_slice(session.as_bytes());
        }
        if let Some(trace) = self.trace {
            bytes.extend_from_slice(&trace.to_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&flags, mut rest) = bytes.split_first()?;
        let mut origin = None;
        if flags & HAS_ORIGIN != 0 {
            let (session, behind) = rest.split_first_chunk::<16>()?;
            origin = Some(SessionId::from_bytes(*session)?);
            rest = behind;
        }
        let mut trace = None;
        if flags & HAS_TRACE != 0 {
            let (context, behind) = rest.split_at_checked(trace::BYTES)?;
            trace = TraceContext::from_bytes(context);
            rest = behind;
        }
        rest.is_empty().then_some(Self {
            encoding: encoding_of(flags),
            origin,
            exclude_origin: flags & EXCLUDE_ORIGIN != 0,
            trace,
        })
    }
}

/// The `meta` field of a message to append.
pub(super) fn append_meta(message: &Append) -> Vec<u8> {
    Meta {
        encoding: message.payload.encoding,
        origin: message.origin,
        exclude_origin: message.exclude_origin,
        trace: message.trace,
    }
    .to_bytes()
}

/// A whole ephemeral announcement.
pub(super) fn ephemeral(message: &Ephemeral) -> Vec<u8> {
    let meta = Meta {
        encoding: message.payload.encoding,
        origin: message.origin,
        exclude_origin: message.exclude_origin,
        trace: None,
    }
    .to_bytes();
    let from = message.from.as_ref().map_or("", UserId::as_str);
    let mut out = Vec::with_capacity(3 + meta.len() + from.len() + message.payload.bytes.len());
    out.push(b'e');
    for part in [meta.as_slice(), from.as_bytes()] {
        // Both are short by construction: 42 and 128 bytes at the most.
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
    trace: Option<Box<TraceContext>>,
    payload: Payload,
}

fn body(meta: &[u8], from: &[u8], data: Bytes) -> Option<Body> {
    let meta = Meta::from_bytes(meta)?;
    let from = match from {
        [] => None,
        bytes => Some(UserId::parse(std::str::from_utf8(bytes).ok()?).ok()?),
    };
    Some(Body {
        from,
        origin: meta.origin,
        exclude_origin: meta.exclude_origin,
        trace: meta.trace.map(Box::new),
        payload: Payload {
            encoding: meta.encoding,
            bytes: data,
        },
    })
}

fn id_of(digits: &[u8]) -> Option<MessageId> {
    MessageId::parse(std::str::from_utf8(digits).ok()?)
}

/// What a partition's channel without a topic says: `H`, and a hole.
pub(super) fn announced_hole(bytes: &[u8]) -> Option<Hole> {
    read_hole(std::str::from_utf8(bytes.strip_prefix(b"H")?).ok()?)
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
        b'J' | b'L' => {
            return Some(Announcement::Presence(Arc::new(PresenceChange {
                topic: topic.clone(),
                user: UserId::parse(std::str::from_utf8(rest).ok()?).ok()?,
                present: kind == b'J',
            })));
        }
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
            trace: body.trace,
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
    /// Flags, session, trace.
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
        trace: body.trace,
        payload: body.payload,
    })
}

/// `c:` and the close reason, as scripts publish it on a control channel before the session id.
pub(super) fn close_stem(reason: CloseReason) -> String {
    format!("c:{}:{}:", reason.code(), reason.text())
}

/// What a backend or an operator wants done.
fn by_backend(text: &str) -> Option<Control> {
    let (kind, rest) = text.split_once(':')?;
    match kind {
        "g" => Some(Control::Drain { go: rest == "1" }),
        "m" => {
            let (seconds, what) = rest.split_once(':')?;
            let (kind, name) = what.split_once(':')?;
            let what = match kind {
                "t" => Marked::Topic(TopicName::parse(name).ok()?),
                "s" => Marked::Session(SessionId::parse(name)?),
                _ => return None,
            };
            let seconds = seconds.parse().ok()?;
            Some(Control::Mark { what, seconds })
        }
        "t" => {
            let (until, topic) = rest.split_once(':')?;
            Some(Control::Trimmed {
                topic: TopicName::parse(topic).ok()?,
                until: MessageId::parse(until)?,
            })
        }
        "d" => {
            let mut words = rest.split(' ');
            let session = SessionId::parse(words.next()?)?;
            let topics = words.map(|word| TopicName::parse(word).ok());
            let topics = topics.collect::<Option<_>>()?;
            Some(Control::Delist { session, topics })
        }
        "e" => {
            let mut words = rest.split(' ');
            let session = SessionId::parse(words.next()?)?;
            let mut topics = Vec::new();
            while let Some(after) = words.next() {
                let topic = TopicName::parse(words.next()?).ok()?;
                topics.push((topic, MessageId::parse(after)?));
            }
            Some(Control::Enlist { session, topics })
        }
        _ => None,
    }
}

/// A control message as it is published.
pub(super) fn control_text(control: &Control) -> String {
    match control {
        Control::Superseded { session, epoch } => format!("s:{}:{session}", epoch.0),
        Control::Close { session, reason } => format!("{}{session}", close_stem(*reason)),
        Control::Revoked(revocation) => format!("r:{}:{}", revocation.until_ms, revocation.what),
        Control::Enlist { session, topics } => {
            let topics = topics
                .iter()
                .map(|(topic, after)| format!(" {after} {topic}"));
            format!("e:{session}{}", topics.collect::<String>())
        }
        Control::Delist { session, topics } => {
            let topics = topics.iter().map(|topic| format!(" {topic}"));
            format!("d:{session}{}", topics.collect::<String>())
        }
        Control::Trimmed { topic, until } => format!("t:{until}:{topic}"),
        Control::Drain { go } => format!("g:{}", u8::from(*go)),
        Control::Mark { what, seconds } => match what {
            Marked::Topic(topic) => format!("m:{seconds}:t:{topic}"),
            Marked::Session(session) => format!("m:{seconds}:s:{session}"),
        },
        // Only ever said by this side of the channel.
        Control::Restored => String::new(),
    }
}

/// Takes a control message apart: `s:EPOCH:SESSION`, `c:CODE:TEXT:SESSION`, `r:UNTIL:WHAT`,
/// `e:SESSION( ID TOPIC)…`, `d:SESSION( TOPIC)…`, `t:ID:TOPIC`, `m:SECONDS:t:TOPIC`,
/// `m:SECONDS:s:SESSION`, or `g:0` and `g:1`. A topic has no white space.
pub(super) fn control(bytes: &[u8]) -> Option<Control> {
    let text = std::str::from_utf8(bytes).ok()?;
    if let Some((until_ms, what)) = text
        .strip_prefix("r:")
        .and_then(|rest| rest.split_once(':'))
    {
        return Some(Control::Revoked(Revocation {
            what: what.into(),
            until_ms: until_ms.parse().ok()?,
        }));
    }
    if let Some(control) = by_backend(text) {
        return Some(control);
    }
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

/// The topic that a channel is named after.
pub(super) fn name_in<'a>(channel: &'a [u8], stem: &str) -> Option<&'a str> {
    let name = channel.strip_prefix(stem.as_bytes())?;
    std::str::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hole_is_read_and_everything_else_is_none() {
        let hole = announced_hole(b"H16:32").unwrap();
        assert_eq!((hole.after.get(), hole.before.get()), (16, 32));
        for none in [
            &b""[..],
            b"H",
            b"Hb:32",
            b"H16",
            b"16:32",
            b"E16:32",
            b"H\xff:1",
        ] {
            assert_eq!(announced_hole(none), None, "{none:?}");
        }
    }

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
        let trace = TraceContext::new([1; 16], [2; 8], true);
        let meta = Meta {
            encoding: Encoding::Text,
            origin: Some(session()),
            exclude_origin: false,
            trace,
        }
        .to_bytes();
        let mut sent = b"E9007199254740991 16 ".to_vec();
        sent.push(42);
        sent.extend_from_slice(&meta);
        sent.extend_from_slice(b"\x03adahello world");
        let fields = Fields {
            prev: b"16".to_vec(),
            data: b"hello world".to_vec(),
            from: b"ada".to_vec(),
            meta,
        };
        let stored = entry(&topic(), b"9007199254740991-0", fields).unwrap();
        assert_eq!(stored.trace.as_deref(), trace.as_ref());
        assert_eq!(
            announcement(&topic(), &sent),
            Some(Announcement::Kept(Arc::new(stored)))
        );
    }

    #[test]
    fn who_came_and_who_left_is_read() {
        for (bytes, present) in [(&b"Jada"[..], true), (b"Lada", false)] {
            let change = PresenceChange {
                topic: topic(),
                user: UserId::parse("ada").unwrap(),
                present,
            };
            let got = announcement(&topic(), bytes);
            assert_eq!(got, Some(Announcement::Presence(Arc::new(change))));
        }
        assert_eq!(announcement(&topic(), b"J"), None);
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
            let close = Control::Close {
                session: session(),
                reason,
            };
            assert_eq!(text, control_text(&close));
            assert_eq!(control(text.as_bytes()), Some(close));
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
        let topic = TopicName::parse("a:b").unwrap();
        let id = MessageId::new(77).unwrap();
        for one in [
            Control::Enlist {
                session: session(),
                topics: vec![(topic.clone(), id), (topic.clone(), MessageId::ZERO)],
            },
            Control::Delist {
                session: session(),
                topics: vec![topic.clone()],
            },
            Control::Mark {
                what: Marked::Topic(topic.clone()),
                seconds: 600,
            },
            Control::Mark {
                what: Marked::Session(session()),
                seconds: 0,
            },
            Control::Trimmed { topic, until: id },
            Control::Drain { go: true },
            Control::Drain { go: false },
        ] {
            assert_eq!(control(control_text(&one).as_bytes()), Some(one));
        }
    }
}
