//! The name under which a publish is stored once.

use sha2::{Digest as _, Sha256};
use sparkway_protocol::{FrameId, SessionId, TopicName};

/// The digest of a client's publish: the same for every repetition of this frame id in this topic
/// by this session, on whatever node and connection. 128 bits of SHA-256, so that no client can
/// make one that meets another's.
#[must_use]
pub fn of_publish(session: SessionId, topic: &TopicName, id: &FrameId) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(session.as_bytes());
    hash.update([u8::try_from(id.as_str().len()).unwrap_or(u8::MAX)]);
    hash.update(id.as_str());
    hash.update(topic.as_str());
    first_half(&hash.finalize().into())
}

/// The digest of a publish by an API key with an `Idempotency-Key`.
#[must_use]
pub fn of_request(api_key_id: &str, topic: &TopicName, idempotency_key: &str) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in ["api", api_key_id, idempotency_key, topic.as_str()] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    first_half(&hash.finalize().into())
}

fn first_half(whole: &[u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.iter_mut()
        .zip(whole)
        .for_each(|(to, from)| *to = *from);
    half
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparkway_protocol::Partition;

    #[test]
    fn another_session_topic_or_id_is_another_publish() {
        let session = |byte| SessionId::from_random([byte; 16], Partition::default());
        let topic = |text| TopicName::parse(text).unwrap();
        let frame = |text| FrameId::parse(text).unwrap();
        let first = of_publish(session(1), &topic("t"), &frame("a"));
        assert_eq!(first, of_publish(session(1), &topic("t"), &frame("a")));
        assert_ne!(first, of_publish(session(2), &topic("t"), &frame("a")));
        assert_ne!(first, of_publish(session(1), &topic("u"), &frame("a")));
        assert_ne!(first, of_publish(session(1), &topic("t"), &frame("b")));
        assert_ne!(
            of_publish(session(1), &topic("bc"), &frame("a")),
            of_publish(session(1), &topic("c"), &frame("ab"))
        );
    }
}
