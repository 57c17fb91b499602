//! How long a message may take to arrive.

/// Longest time between two looks at a connection: a message may take twice as long to arrive.
pub(crate) const LOOK_MS: u64 = 10_000;

/// The message that has begun to arrive and is not complete, as looks at the connection found it.
#[derive(Debug, Default)]
pub(crate) struct Unfinished(Option<(u32, u64)>);

impl Unfinished {
    /// Looks at the number of the message that is not complete. Whether it has been so for
    /// [`LOOK_MS`] in which the client was read.
    pub(crate) const fn is_late(&mut self, number: Option<u32>, now_ms: u64) -> bool {
        match (number, self.0) {
            (Some(number), Some((seen, first_ms))) if number == seen => {
                now_ms.saturating_sub(first_ms) >= LOOK_MS
            }
            (Some(number), _) => {
                self.0 = Some((number, now_ms));
                false
            }
            (None, _) => {
                self.0 = None;
                false
            }
        }
    }

    /// The client is not read: the rest may long be there, and its time begins anew.
    pub(crate) const fn pause(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_late_after_its_time_however_often_it_is_looked_at() {
        let mut unfinished = Unfinished::default();
        for now_ms in (0..LOOK_MS).step_by(100) {
            assert!(!unfinished.is_late(Some(7), now_ms), "at {now_ms} ms");
        }
        assert!(unfinished.is_late(Some(7), LOOK_MS));
    }

    #[test]
    fn each_message_has_its_own_time() {
        let mut unfinished = Unfinished::default();
        assert!(!unfinished.is_late(Some(7), 0));
        assert!(!unfinished.is_late(Some(8), LOOK_MS));
        assert!(!unfinished.is_late(None, LOOK_MS + 1));
        assert!(!unfinished.is_late(Some(8), 2 * LOOK_MS));
    }

    #[test]
    fn time_in_which_the_client_is_not_read_does_not_count() {
        let mut unfinished = Unfinished::default();
        assert!(!unfinished.is_late(Some(7), 0));
        unfinished.pause();
        assert!(!unfinished.is_late(Some(7), 5 * LOOK_MS));
        assert!(!unfinished.is_late(Some(7), 6 * LOOK_MS - 1));
        assert!(unfinished.is_late(Some(7), 6 * LOOK_MS));
    }
}
