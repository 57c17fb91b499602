//! Whatever a client sends, and however the network cuts it, the outcome is the same.

use proptest::{collection::vec, prelude::*, sample::Index};

use tokio::io::AsyncWrite as _;

use super::*;

/// What the owner of a link sees of `bytes`, which arrive in pieces of `step`.
fn outcome(bytes: &[u8], step: usize) -> (Vec<Vec<u8>>, bool) {
    let mut pair = Pair::with(
        bytes.len() + 1,
        LinkSettings {
            message_bytes: 300,
            fragments: 5,
            ..LinkSettings::default()
        },
    );
    let mut seen = Vec::new();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    for piece in bytes.chunks(step) {
        let written = Pin::new(&mut pair.peer).poll_write(&mut cx, piece);
        assert!(matches!(written, Poll::Ready(Ok(bytes)) if bytes == piece.len()));
        loop {
            match pair.poll_once() {
                Poll::Ready(LinkEvent::Frame(inbound)) => seen.push(match inbound {
                    Inbound::Text(text) => text.as_bytes().to_vec(),
                    Inbound::Binary(binary) => binary.to_vec(),
                    Inbound::Ping => b"ping".to_vec(),
                    Inbound::Pong => b"pong".to_vec(),
                }),
                Poll::Ready(LinkEvent::Closed(_)) => return (seen, true),
                Poll::Ready(other) => panic!("{other:?}"),
                Poll::Pending if pair.link.input_idle => break,
                Poll::Pending => {}
            }
        }
    }
    (seen, false)
}

/// Mostly valid frames, so that the interesting states are reached.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        6 => Just(0x81_u8), 3 => Just(0x82), 2 => Just(0x01), 3 => Just(0x00), 3 => Just(0x80),
        3 => Just(0x89), 1 => Just(0x8a), 1 => Just(0x88), 1 => any::<u8>()
    ];
    let payload = prop_oneof![
        4 => vec(b'a'..=b'z', 0..140), 1 => vec(any::<u8>(), 0..8), 1 => vec(b'a'..=b'z', 250..310)
    ];
    let frame = (opcode, payload).prop_map(|(first, payload)| client_frame(first, &payload));
    vec(frame, 0..12).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn outcome_does_not_depend_on_how_the_bytes_are_cut(
        mut bytes in frames(),
        damage in proptest::option::weighted(0.3, (any::<Index>(), any::<u8>())),
        step in 1_usize..700,
    ) {
        if let Some((at, value)) = damage
            && !bytes.is_empty()
        {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let whole = outcome(&bytes, bytes.len().max(1));
        prop_assert_eq!(&outcome(&bytes, step), &whole);
        prop_assert_eq!(&outcome(&bytes, 1), &whole);
    }
}
