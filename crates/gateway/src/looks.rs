//! Whether a batch waits for what is about to arrive: never for time, only for a look at the
//! sockets, and only where handing it on takes far longer than that.

/// From how many deliveries on a batch is worth a look.
const WIDE: u64 = 64;
/// Looks before a batch is handed on, at the most.
const MOST: u32 = 8;
/// Looks in a row that bring nothing. Two: a publish goes through the appender's task.
const VAIN: u32 = 2;

/// The looks at the sockets before one batch.
#[derive(Debug)]
pub(crate) struct Looks {
    left: u32,
    vain: u32,
    room: usize,
}

impl Looks {
    /// `width`: deliveries of the batch before. `room`: events that the batch can still take.
    pub(crate) const fn new(width: u64, room: usize) -> Self {
        let left = if width < WIDE { 0 } else { MOST };
        Self {
            left,
            vain: 0,
            room,
        }
    }

    /// Whether to look once more.
    pub(crate) const fn go_on(&mut self) -> bool {
        let on = self.left > 0 && self.vain < VAIN && self.room > 0;
        if on {
            self.left -= 1;
            self.vain += 1;
        }
        on
    }

    /// A look brought an event. Says whether there is room for another one.
    pub(crate) const fn found(&mut self) -> bool {
        self.vain = 0;
        self.room = self.room.saturating_sub(1);
        self.room > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(width: u64, room: usize, found: impl Fn(u32) -> usize) -> u32 {
        let mut looks = Looks::new(width, room);
        let mut count = 0;
        while looks.go_on() {
            for _ in 0..found(count) {
                looks.found();
            }
            count += 1;
        }
        count
    }

    #[test]
    fn a_message_to_few_is_not_delayed_at_all() {
        assert_eq!(looks(WIDE - 1, 100, |_| 1), 0);
    }

    #[test]
    fn a_message_to_many_that_comes_alone_waits_for_two_looks() {
        assert_eq!(looks(1000, 100, |_| 0), VAIN);
    }

    #[test]
    fn under_load_a_batch_grows_up_to_its_bounds() {
        assert_eq!(looks(1000, 100, |_| 1), MOST, "looks");
        assert_eq!(looks(1000, 3, |_| 1), 3, "events");
        assert_eq!(looks(1000, 100, |look| usize::from(look < 3)), 3 + VAIN);
    }
}
