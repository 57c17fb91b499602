//! When a connection is looked at, and how long a message may take to arrive.

/// Longest time between two looks at a connection on which a message is arriving: it may take
/// twice as long.
const LOOK_MS: u64 = 10_000;
/// The same where nothing is. Each look wakes the connection's task.
const IDLE_LOOK_MS: u64 = 60_000;
/// After so long a turn of the task that leaves nothing unfinished counts as a look: the task is
/// awake already, and a client that sends heartbeats never needs to be woken for one.
const TURN_LOOKS_MS: u64 = 20_000;

/// The message that has begun to arrive and is not complete, as looks at the connection found it.
#[derive(Debug)]
pub(crate) struct Unfinished {
    seen: Option<(u32, u64)>,
    looked_ms: u64,
}

impl Unfinished {
    /// Of a connection that begins.
    pub(crate) const fn since(now_ms: u64) -> Self {
        Self {
            seen: None,
            looked_ms: now_ms,
        }
    }

    /// When to look next. Whatever the client does meanwhile puts it off no further.
    pub(crate) const fn look_at_ms(&self, is_unfinished: bool) -> u64 {
        let pause = if is_unfinished { LOOK_MS } else { IDLE_LOOK_MS };
        self.looked_ms.saturating_add(pause)
    }

    /// Looks at the number of the message that is not complete. Whether it has been so for
    /// [`LOOK_MS`] in which the client was read.
    pub(crate) const fn is_late(&mut self, number: Option<u32>, now_ms: u64) -> bool {
        self.looked_ms = now_ms;
        match (number, self.seen) {
            (Some(number), Some((seen, first_ms))) if number == seen => {
                now_ms.saturating_sub(first_ms) >= LOOK_MS
            }
            (Some(number), _) => {
                self.seen = Some((number, now_ms));
                false
            }
            (None, _) => {
                self.seen = None;
                false
            }
        }
    }

    /// A turn that leaves nothing unfinished. Whether it counts as a look.
    pub(crate) const fn rests(&mut self, now_ms: u64) -> bool {
        let counts = now_ms >= self.looked_ms.saturating_add(TURN_LOOKS_MS);
        if counts {
            self.looked_ms = now_ms;
            self.seen = None;
        }
        counts
    }

    /// The client is not read: the rest may long be there, and its time begins anew.
    pub(crate) const fn pause(&mut self) {
        self.seen = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_late_after_its_time_however_often_it_is_looked_at() {
        let mut unfinished = Unfinished::since(0);
        for now_ms in (0..LOOK_MS).step_by(100) {
            assert!(!unfinished.is_late(Some(7), now_ms), "at {now_ms} ms");
        }
        assert!(unfinished.is_late(Some(7), LOOK_MS));
    }

    #[test]
    fn who_is_heard_from_with_whole_messages_is_not_woken() {
        let mut unfinished = Unfinished::since(0);
        for now_ms in (25_000..250_000).step_by(25_000) {
            assert!(unfinished.look_at_ms(false) > now_ms);
            assert!(unfinished.rests(now_ms));
            assert!(!unfinished.rests(now_ms + 1), "not at each turn");
        }
        // What begins to arrive is looked at as soon as ever.
        assert_eq!(unfinished.look_at_ms(true), 225_000 + LOOK_MS);
    }

    #[test]
    fn each_message_has_its_own_time() {
        let mut unfinished = Unfinished::since(0);
        assert!(!unfinished.is_late(Some(7), 0));
        assert!(!unfinished.is_late(Some(8), LOOK_MS));
        assert!(!unfinished.is_late(None, LOOK_MS + 1));
        assert!(!unfinished.is_late(Some(8), 2 * LOOK_MS));
    }

    #[test]
    fn time_in_which_the_client_is_not_read_does_not_count() {
        let mut unfinished = Unfinished::since(0);
        assert!(!unfinished.is_late(Some(7), 0));
        unfinished.pause();
        assert!(!unfinished.is_late(Some(7), 5 * LOOK_MS));
        assert!(!unfinished.is_late(Some(7), 6 * LOOK_MS - 1));
        assert!(unfinished.is_late(Some(7), 6 * LOOK_MS));
    }

    #[test]
    fn a_message_that_is_arriving_is_looked_at_soon_and_an_idle_connection_seldom() {
        let mut unfinished = Unfinished::since(5);
        assert_eq!(unfinished.look_at_ms(false), 5 + IDLE_LOOK_MS);
        assert_eq!(unfinished.look_at_ms(true), 5 + LOOK_MS);
        assert!(!unfinished.is_late(Some(1), 5 + LOOK_MS));
        assert_eq!(unfinished.look_at_ms(true), 5 + 2 * LOOK_MS);
    }
}
