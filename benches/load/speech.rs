//! What is said on a connection, and what an answer means.

use std::io::Write as _;

use serde_json::Value;

use crate::payload::Stamp;
use crate::wire;

/// Which protocol the server under test speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Speech {
    /// Spark v1 in JSON: session, subscription, acknowledgements.
    Spark,
    /// The reference servers': `S<topic>` subscribes and is answered `S`, `P<topic> <payload>`
    /// publishes, a message is its payload.
    Plain,
    /// Socket.IO over the WebSocket transport; rooms are joined and written to by two events.
    SocketIo,
    /// The client protocol of NATS over WebSocket.
    Nats,
}

/// A session as far as its client needs it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ticket {
    pub(crate) session: String,
    pub(crate) token: String,
    /// How often the server wants a heartbeat, in milliseconds.
    pub(crate) interval_ms: u64,
}

/// A server frame.
#[derive(Debug)]
pub(crate) enum Heard<'a> {
    /// A message, with its id where the protocol has one.
    Message { stamp: Stamp, id: &'a [u8] },
    /// `ws:connect_ack`.
    Connected(Ticket),
    /// `ws:resume_ack`; the frame wants an acknowledgement under `control`.
    Resumed { ticket: Ticket, control: String },
    /// `ws:replay_done`.
    Replayed(u64),
    /// The subscription is there.
    Subscribed,
    /// A publish is stored.
    Stored,
    /// A new heartbeat token; wants an acknowledgement under `control`.
    Token { token: String, control: String },
    /// Wants this answer at once.
    Answer(&'static [u8]),
    /// Nothing to act upon.
    Nothing,
    /// What should not occur.
    Problem(String),
}

/// The id of the frame that subscribes.
const SUBSCRIBE: &str = "s";
/// How every message of Spark JSON begins.
const MESSAGE: &[u8] = b"{\"type\":\"topic:message\",\"id\":\"";

impl Speech {
    /// Appends what opens a session; false where the protocol has no such frame, or no answer.
    pub(crate) fn connect(self, out: &mut Vec<u8>) -> bool {
        let greeting: &[u8] = match self {
            Self::Spark => b"{\"type\":\"ws:connect\",\"id\":\"h\"}",
            Self::SocketIo => b"40",
            Self::Nats => b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n",
            Self::Plain => return false,
        };
        wire::text(out, |out| out.extend(greeting));
        self != Self::Nats
    }

    /// Whether a session of it can be taken up again here.
    pub(crate) fn resumes(self) -> bool {
        self == Self::Spark
    }

    /// The path that the server expects, where the protocol fixes it.
    pub(crate) const fn path(self) -> Option<&'static str> {
        match self {
            Self::SocketIo => Some("/socket.io/?EIO=4&transport=websocket"),
            Self::Spark | Self::Plain | Self::Nats => None,
        }
    }

    pub(crate) fn resume(ticket: &Ticket, last: &[u8], out: &mut Vec<u8>) {
        let Ticket { session, token, .. } = ticket;
        let last = String::from_utf8_lossy(last);
        said(
            out,
            format_args!(
                "{{\"type\":\"ws:resume\",\"id\":\"r\",\"data\":{{\"session_id\":\"{session}\",\
                 \"heartbeat_token\":\"{token}\",\"last_message_id\":\"{last}\"}}}}"
            ),
        );
    }

    /// `silent`: a number and how many further topics are named after it, in Spark alone.
    pub(crate) fn subscribe(self, topic: u32, silent: (usize, u32), out: &mut Vec<u8>) {
        let (number, more) = silent;
        match self {
            Self::Spark => wire::text(out, |out| {
                // Into memory: cannot fail.
                let _ = write!(
                    out,
                    "{{\"type\":\"topic:subscribe\",\"id\":\"{SUBSCRIBE}\",\
                     \"data\":{{\"topics\":[\"bench:{topic}\""
                );
                for silent in 0..more {
                    let _ = write!(out, ",\"silent:{number}:{silent}\"");
                }
                out.extend(b"]}}");
            }),
            Self::Plain => said(out, format_args!("Sbench:{topic}")),
            Self::SocketIo => said(out, format_args!("420[\"sub\",\"bench:{topic}\"]")),
            Self::Nats => said(out, format_args!("SUB bench.{topic} 1\r\nPING\r\n")),
        }
    }

    pub(crate) fn publish(self, stamp: &Stamp, size: usize, out: &mut Vec<u8>) {
        let Stamp { number, topic, .. } = stamp;
        wire::text(out, |out| {
            // Into memory: cannot fail.
            let _ = match self {
                Self::Spark => write!(
                    out,
                    "{{\"type\":\"topic:publish\",\"id\":\"p{topic}-{number}\",\
                     \"topic\":\"bench:{topic}\",\"data\":"
                ),
                Self::Plain => write!(out, "Pbench:{topic} "),
                Self::SocketIo => write!(out, "42[\"pub\",\"bench:{topic}\","),
                Self::Nats => write!(out, "PUB bench.{topic} {}\r\n", Stamp::length(size)),
            };
            stamp.write(size, out);
            match self {
                Self::Spark => out.push(b'}'),
                Self::SocketIo => out.push(b']'),
                Self::Nats => out.extend(b"\r\n"),
                Self::Plain => {}
            }
        });
    }

    pub(crate) fn acknowledge(id: &[u8], out: &mut Vec<u8>) {
        let id = String::from_utf8_lossy(id);
        said(
            out,
            format_args!("{{\"type\":\"ws:ack\",\"data\":{{\"ackId\":\"{id}\"}}}}"),
        );
    }

    pub(crate) fn heartbeat(token: &str, out: &mut Vec<u8>) {
        said(
            out,
            format_args!(
                "{{\"type\":\"ws:heartbeat\",\"data\":{{\"heartbeat_token\":\"{token}\"}}}}"
            ),
        );
    }

    /// What a text frame means.
    pub(crate) fn understand(self, frame: &[u8]) -> Heard<'_> {
        match self {
            Self::Plain if frame == b"S" => Heard::Subscribed,
            Self::Plain => Stamp::find(frame).map_or_else(
                || Heard::Problem("not a message".to_owned()),
                |stamp| Heard::Message { stamp, id: &[] },
            ),
            Self::Spark => spark(frame),
            Self::SocketIo => socket_io(frame),
            Self::Nats => Heard::Problem("a frame of NATS is a piece of a stream".to_owned()),
        }
    }
}

fn socket_io(frame: &[u8]) -> Heard<'_> {
    match frame {
        [b'4', b'2', ..] => Stamp::find(frame).map_or_else(
            || Heard::Problem("not a message".to_owned()),
            |stamp| Heard::Message { stamp, id: &[] },
        ),
        [b'4', b'0', ..] => Heard::Connected(Ticket::default()),
        [b'4', b'3', ..] => Heard::Subscribed,
        [b'2'] => Heard::Answer(b"3"),
        [b'0', ..] => Heard::Nothing,
        _ => Heard::Problem(String::from_utf8_lossy(frame).into_owned()),
    }
}

/// The first whole operation of a stream of NATS, and how many bytes it takes.
pub(crate) fn nats(stream: &[u8]) -> Option<(Heard<'_>, usize)> {
    let end = memchr::memchr(b'\n', stream)? + 1;
    let line = stream.get(..end)?;
    let heard = match line {
        [b'M', b'S', b'G', ..] => {
            let digits = line.rsplit(|&byte| byte == b' ').next()?;
            let length = digits
                .iter()
                .take_while(|digit| digit.is_ascii_digit())
                .fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
            let payload = stream.get(end..end + length + 2)?;
            let heard = Stamp::find(payload).map_or_else(
                || Heard::Problem("not a message".to_owned()),
                |stamp| Heard::Message { stamp, id: &[] },
            );
            return Some((heard, end + length + 2));
        }
        [b'P', b'O', b'N', b'G', ..] => Heard::Subscribed,
        [b'P', b'I', b'N', b'G', ..] => Heard::Answer(b"PONG\r\n"),
        [b'I', b'N', b'F', b'O', ..] | [b'+', ..] => Heard::Nothing,
        _ => Heard::Problem(String::from_utf8_lossy(line).into_owned()),
    };
    Some((heard, end))
}

fn said(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    wire::text(out, |out| {
        // Into memory: cannot fail.
        let _ = out.write_fmt(text);
    });
}

fn spark(frame: &[u8]) -> Heard<'_> {
    if let Some(rest) = frame.strip_prefix(MESSAGE) {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if let (Some(id), Some(stamp)) = (rest.get(..digits), Stamp::find(rest)) {
            return Heard::Message { stamp, id };
        }
    }
    let Ok(frame) = serde_json::from_slice::<Value>(frame) else {
        return Heard::Problem("not JSON".to_owned());
    };
    let data = |name: &str| frame.get("data").and_then(|data| data.get(name));
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let ticket = || Ticket {
        session: text(data("session_id")),
        token: text(data("heartbeat_token")),
        interval_ms: data("heartbeat_interval")
            .and_then(Value::as_u64)
            .unwrap_or(25_000),
    };
    match text(frame.get("type")).as_str() {
        "ws:connect_ack" => Heard::Connected(ticket()),
        "ws:resume_ack" => Heard::Resumed {
            ticket: ticket(),
            control: text(frame.get("id")),
        },
        "ws:replay_done" => Heard::Replayed(data("replayed").and_then(Value::as_u64).unwrap_or(0)),
        "ws:ack" if data("ackId").and_then(Value::as_str) == Some(SUBSCRIBE) => {
            let rejected = frame.pointer("/data/result/rejected/0");
            rejected.map_or(Heard::Subscribed, |one| Heard::Problem(one.to_string()))
        }
        "ws:ack" => Heard::Stored,
        "ws:heartbeat_ack" => match data("updated_token").and_then(Value::as_str) {
            Some(token) => Heard::Token {
                token: token.to_owned(),
                control: text(frame.get("id")),
            },
            None => Heard::Nothing,
        },
        _ => Heard::Problem(frame.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_spark_is_understood_without_a_parser() {
        let mut frame = b"{\"type\":\"topic:message\",\"id\":\"241\",\"data\":".to_vec();
        let stamp = Stamp {
            number: 7,
            sent_ns: 8,
            topic: 9,
        };
        stamp.write(64, &mut frame);
        frame.push(b'}');
        let Heard::Message { stamp: found, id } = Speech::Spark.understand(&frame) else {
            panic!("not a message");
        };
        assert_eq!((found, id), (stamp, &b"241"[..]));
    }

    #[test]
    fn a_rejected_subscription_is_a_problem() {
        let frame =
            br#"{"type":"ws:ack","data":{"ackId":"s","result":{"rejected":[{"topic":"t"}]}}}"#;
        assert!(matches!(Speech::Spark.understand(frame), Heard::Problem(_)));
        let frame = br#"{"type":"ws:ack","data":{"ackId":"s","result":{"topics":[]}}}"#;
        assert!(matches!(Speech::Spark.understand(frame), Heard::Subscribed));
    }

    #[test]
    fn a_stream_of_nats_is_cut_into_operations() {
        let mut stream = b"INFO {}\r\nPONG\r\nMSG bench.3 1 64\r\n".to_vec();
        let stamp = Stamp {
            number: 7,
            sent_ns: 8,
            topic: 3,
        };
        stamp.write(64, &mut stream);
        stream.extend(b"\r\nPING\r\nMSG bench.3");
        let (heard, used) = nats(&stream).unwrap();
        assert!(matches!(heard, Heard::Nothing));
        let (heard, more) = nats(&stream[used..]).unwrap();
        assert!(matches!(heard, Heard::Subscribed));
        let used = used + more;
        assert!(nats(&stream[used..used + 50]).is_none(), "half a message");
        let (heard, more) = nats(&stream[used..]).unwrap();
        assert!(matches!(heard, Heard::Message { stamp: found, .. } if found == stamp));
        let (heard, more) = nats(&stream[used + more..])
            .map(|(h, n)| (h, more + n))
            .unwrap();
        assert!(matches!(heard, Heard::Answer(b"PONG\r\n")));
        assert!(nats(&stream[used + more..]).is_none());
    }

    #[test]
    fn socket_io_says_by_its_first_bytes_what_a_packet_is() {
        let Heard::Answer(pong) = Speech::SocketIo.understand(b"2") else {
            panic!("a ping wants an answer");
        };
        assert_eq!(pong, b"3");
        let opened = Speech::SocketIo.understand(b"40{\"sid\":\"x\"}");
        assert!(matches!(opened, Heard::Connected(_)));
        let joined = Speech::SocketIo.understand(b"430[]");
        assert!(matches!(joined, Heard::Subscribed));
    }

    #[test]
    fn gaps_and_errors_are_problems() {
        for frame in [
            &b"{\"type\":\"topic:gap\"}"[..],
            b"{\"type\":\"ws:error\"}",
            b"x",
        ] {
            assert!(matches!(Speech::Spark.understand(frame), Heard::Problem(_)));
        }
    }
}
