//! How conversations and what belongs to them are called in the store.

use sha2::{Digest as _, Sha256};
use sparkway_protocol::{TopicName, UserId};

use crate::ChatError;

/// The name of a conversation: the same for both sides, and for nobody else.
pub(crate) fn conversation(one: &UserId, other: &UserId) -> String {
    let (first, second) = if one <= other {
        (one, other)
    } else {
        (other, one)
    };
    let mut hash = Sha256::new();
    hash.update(first.as_str().as_bytes());
    // No name holds a zero byte.
    hash.update([0]);
    hash.update(second.as_str().as_bytes());
    let digits = hash.finalize();
    hex(digits.get(..16).unwrap_or_default())
}

/// Two digits per byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |of: u8| {
        DIGITS
            .get(usize::from(of & 15))
            .copied()
            .map_or('0', char::from)
    };
    let digits = bytes
        .iter()
        .flat_map(|&byte| [digit(byte >> 4), digit(byte)]);
    digits.collect()
}

pub(crate) fn topic_of(one: &UserId, other: &UserId) -> Result<TopicName, ChatError> {
    let name = format!("$dm:{}", conversation(one, other));
    TopicName::parse(&name).map_err(|_| ChatError::Corrupt("a conversation"))
}

pub(crate) fn direction(sender: &UserId, receiver: &UserId) -> String {
    let side = u8::from(sender > receiver);
    format!("{}:{side}", conversation(sender, receiver))
}

/// Names a request for ever: the same message of the same sender is stored once.
pub(crate) fn digest_of(parts: &[&str]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part.as_bytes());
    }
    let mut digest = [0; 16];
    for (to, from) in digest.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    digest
}
