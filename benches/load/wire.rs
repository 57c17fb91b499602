//! RFC 6455 as little as a client of known servers needs.

/// Text frame with FIN.
const TEXT: u8 = 0x81;
/// Close frame with FIN.
const CLOSE: u8 = 0x88;
/// Stands for a length of 16 bits behind it.
const LONG: u8 = 0x7e;
/// The mask bit and a key of zeros: legal framing that costs the client nothing.
const MASKED: u8 = 0x80;
const KEY: [u8; 4] = [0; 4];

/// What a server frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Text,
    Binary,
    Ping,
    Close,
    Other,
}

/// The request that upgrades a connection.
pub(crate) fn upgrade(host: &str, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c3BhcmtsaW5nc3BhcmtsaQ==\r\n\r\n"
    )
    .into_bytes()
}

/// The end of a complete HTTP head, if all of it is there, and whether it accepts the upgrade.
pub(crate) fn head(bytes: &[u8]) -> Option<(usize, bool)> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    Some((end, bytes.starts_with(b"HTTP/1.1 101")))
}

/// Appends one masked text frame whose payload `fill` writes.
pub(crate) fn text(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    // Room for the 16-bit length, which is legal only for longer payloads: closed up below.
    let start = out.len();
    out.extend([TEXT, MASKED | LONG, 0, 0]);
    out.extend(KEY);
    let payload = out.len();
    fill(out);
    let length = out.len() - payload;
    if let Ok(short) = u8::try_from(length)
        && short < LONG
    {
        out.drain(start + 2..start + 4);
        if let Some(byte) = out.get_mut(start + 1) {
            *byte = MASKED | short;
        }
    } else if let (Ok(long), Some(place)) =
        (u16::try_from(length), out.get_mut(start + 2..start + 4))
    {
        place.copy_from_slice(&long.to_be_bytes());
    }
}

/// Appends a close frame with code 1000.
pub(crate) fn close(out: &mut Vec<u8>) {
    out.extend([CLOSE, MASKED | 2]);
    out.extend(KEY);
    out.extend(1000_u16.to_be_bytes());
}

/// Appends the pong that answers a ping.
pub(crate) fn pong(out: &mut Vec<u8>, payload: &[u8]) {
    let length = u8::try_from(payload.len()).unwrap_or(0) & 0x7f;
    out.extend([0x8a, MASKED | length]);
    out.extend(KEY);
    out.extend(payload.iter().take(usize::from(length)));
}

/// The first frame of `bytes`, if all of it is there, and what follows it.
pub(crate) fn frame(bytes: &[u8]) -> Option<(Opcode, &[u8], &[u8])> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match second & 0x7f {
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u64::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u64::from_be_bytes(*length), rest)
        }
        short => (u64::from(short), rest),
    };
    let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let opcode = match first {
        TEXT => Opcode::Text,
        0x82 => Opcode::Binary,
        CLOSE => Opcode::Close,
        0x89 => Opcode::Ping,
        _ => Opcode::Other,
    };
    Some((opcode, payload, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_masked_and_have_the_shortest_length() {
        for length in [0, 1, 125, 126, 65_535] {
            let mut out = b"before".to_vec();
            text(&mut out, |out| out.resize(out.len() + length, b'a'));
            let header = if length < 126 { 6 } else { 8 };
            assert_eq!(out.len(), 6 + header + length, "{length}");
            assert_eq!(out[6], TEXT);
            assert_eq!(out[7] & MASKED, MASKED);
        }
    }

    #[test]
    fn a_frame_is_given_out_only_when_it_is_whole() {
        let mut bytes = vec![TEXT, 126, 0, 200];
        bytes.resize(4 + 200, b'x');
        bytes.push(CLOSE);
        for cut in 0..204 {
            assert!(frame(&bytes[..cut]).is_none(), "{cut}");
        }
        let (opcode, payload, rest) = frame(&bytes).unwrap();
        assert_eq!(
            (opcode, payload.len(), rest),
            (Opcode::Text, 200, &[CLOSE][..])
        );
    }

    #[test]
    fn an_upgrade_that_is_refused_is_seen() {
        assert_eq!(head(b"HTTP/1.1 101 X\r\n\r\nrest"), Some((18, true)));
        assert_eq!(head(b"HTTP/1.1 503 X\r\n\r\n"), Some((18, false)));
        assert_eq!(head(b"HTTP/1.1 101 X\r\n"), None);
    }
}
