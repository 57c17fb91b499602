//! The bounded queue in front of one connection. It never waits: a full one says so.

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use sparkway_frame::Framed;

use crate::egress::Egress;

/// What became of a pushed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// Queued; it will be written in order.
    Accepted,
    /// Over the bound and not queued. The link reports
    /// [`LinkEvent::Drained`](crate::LinkEvent::Drained) when there is room again.
    Full,
    /// The connection is ending; nothing is queued any more.
    Closed,
}

/// The queue between everyone who has frames for a connection and the one task that owns its
/// [`Link`](crate::Link).
///
/// The bound counts every byte that is not yet in the kernel: frames waiting here and frames the
/// link has taken. An empty outbox holds no allocation.
pub struct Outbox {
    /// Most unwritten bytes for [`Self::push`].
    bound: usize,
    // Pushers and the owner share a thread, so this lock is free in the common case.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Framed>,
    /// Unwritten bytes, here and in the link.
    bytes: usize,
    /// The owner, when it sleeps and wants to hear of the next change.
    waker: Option<Waker>,
    woken: bool,
    /// A push was refused or went over the bound, and half of it has not been written since.
    congested: bool,
    closed: bool,
}

impl Outbox {
    /// An empty outbox that accepts up to `bound` unwritten bytes.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self {
            bound,
            state: Mutex::default(),
        }
    }

    /// Queues `framed` unless that would exceed the bound. An empty outbox accepts a single
    /// frame of any size, so that no frame is unsendable.
    pub fn push(&self, framed: Framed) -> Push {
        self.enqueue(framed, self.bound)
    }

    /// Queues `framed` whatever the bound: for answers to the client's own requests. Their
    /// number is bounded by not reading from the client while [`Self::is_full`]. Answers
    /// [`Push::Accepted`] or [`Push::Closed`].
    pub fn push_control(&self, framed: Framed) -> Push {
        self.enqueue(framed, usize::MAX)
    }

    /// Unwritten bytes, queued here or taken by the link.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Most unwritten bytes that [`Self::push`] allows.
    pub const fn bound(&self) -> usize {
        self.bound
    }

    /// Whether the unwritten bytes have reached the bound.
    pub fn is_full(&self) -> bool {
        self.bytes() >= self.bound
    }

    /// Makes the owner's next poll report [`LinkEvent::Woken`](crate::LinkEvent::Woken), once for
    /// any number of calls before it.
    pub fn wake(&self) {
        let owner = {
            let mut state = self.lock();
            state.woken = true;
            state.waker.take()
        };
        wake(owner);
    }

    /// Drops what is queued here and refuses everything from now on. What the link has taken is
    /// still written. Ending a connection with a close frame: [`Link::start_close`].
    ///
    /// [`Link::start_close`]: crate::Link::start_close
    pub fn close(&self) {
        let (owner, dropped) = {
            let mut state = self.lock();
            state.closed = true;
            let dropped = mem::take(&mut state.frames);
            let bytes: usize = dropped.iter().map(Framed::len).sum();
            state.bytes = state.bytes.saturating_sub(bytes);
            (state.waker.take(), dropped)
        };
        drop(dropped);
        wake(owner);
    }

    /// Whether a push was refused, or went over the bound, and less than half of it has been
    /// written since.
    pub fn is_congested(&self) -> bool {
        self.lock().congested
    }

    /// Whether frames are refused for good.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Starts a poll of the owner: remembers whom to wake, hands frames to `egress` and answers
    /// whether [`Self::wake`] was called.
    pub(crate) fn begin(&self, owner: &Waker, egress: &mut Egress) -> bool {
        let mut state = self.lock();
        if !state
            .waker
            .as_ref()
            .is_some_and(|known| known.will_wake(owner))
        {
            state.waker = Some(owner.clone());
        }
        // While the socket is blocked the frames stay here: a queue that is not empty wakes nobody.
        if egress.is_unblocked() {
            state.refill(egress);
        }
        mem::take(&mut state.woken)
    }

    /// Accounts for `bytes` now in the kernel and hands more frames to `egress`. Answers whether
    /// a congested outbox has drained to half of its bound.
    pub(crate) fn written(&self, bytes: usize, egress: &mut Egress) -> bool {
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
        state.refill(egress);
        if state.congested && state.bytes <= self.bound / 2 {
            state.congested = false;
            return true;
        }
        false
    }

    /// Hands everything to `egress` and refuses what comes later.
    pub(crate) fn close_into(&self, egress: &mut Egress) {
        let mut state = self.lock();
        state.closed = true;
        egress.append(mem::take(&mut state.frames));
    }

    fn enqueue(&self, framed: Framed, bound: usize) -> Push {
        let owner = {
            let mut state = self.lock();
            match state.enqueue(framed, self.bound, bound) {
                Push::Accepted if state.frames.len() == 1 => state.waker.take(),
                other => return other,
            }
        };
        wake(owner);
        Push::Accepted
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change below is complete before anything could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn refill(&mut self, egress: &mut Egress) {
        if !self.frames.is_empty() && egress.has_room() {
            egress.append(mem::take(&mut self.frames));
        }
    }

    /// `limit` is what counts for this frame, `bound` what counts as congestion.
    fn enqueue(&mut self, framed: Framed, bound: usize, limit: usize) -> Push {
        if self.closed {
            return Push::Closed;
        }
        let bytes = self.bytes.saturating_add(framed.len());
        if bytes > bound {
            self.congested = true;
        }
        if bytes > limit && self.bytes > 0 {
            return Push::Full;
        }
        if !framed.is_empty() {
            self.bytes = bytes;
            self.frames.push_back(framed);
        }
        Push::Accepted
    }
}

/// Outside of the lock: a waker may run or drop anything, even this connection's task. The owner
/// registers again when it polls, so later changes cost nothing until then.
fn wake(owner: Option<Waker>) {
    if let Some(owner) = owner {
        owner.wake();
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Outbox")
            .field("bound", &self.bound)
            .field("bytes", &state.bytes)
            .field("queued", &state.frames.len())
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Outbox {
    /// Slots the queue holds memory for.
    pub(crate) fn capacity(&self) -> usize {
        self.lock().frames.capacity()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Wakes {
        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn frame(bytes: usize) -> Framed {
        let framed = Framed::binary(&vec![0; bytes - 2]);
        assert_eq!(framed.len(), bytes);
        framed
    }

    #[test]
    fn full_is_answered_at_the_bound_and_nothing_is_queued() {
        let outbox = Outbox::new(100);
        assert_eq!(outbox.push(frame(60)), Push::Accepted);
        assert_eq!(outbox.push(frame(40)), Push::Accepted);
        assert!(outbox.is_full());
        assert_eq!(outbox.push(frame(2)), Push::Full);
        assert_eq!(outbox.bytes(), 100);
    }

    #[test]
    fn control_is_accepted_over_the_bound() {
        let outbox = Outbox::new(100);
        assert_eq!(outbox.push(frame(100)), Push::Accepted);
        assert_eq!(outbox.push_control(frame(100)), Push::Accepted);
        assert_eq!(outbox.bytes(), 200);
    }

    #[test]
    fn empty_outbox_accepts_a_frame_over_the_bound() {
        let outbox = Outbox::new(10);
        assert_eq!(outbox.push(frame(100)), Push::Accepted);
        assert_eq!(outbox.push(frame(2)), Push::Full);
    }

    #[test]
    fn bytes_count_until_they_are_written() {
        let outbox = Outbox::new(100);
        let mut egress = Egress::default();
        outbox.push(frame(80));
        outbox.begin(Waker::noop(), &mut egress);
        assert_eq!(outbox.push(frame(30)), Push::Full);
        assert!(
            !outbox.written(20, &mut egress),
            "60 bytes are over the half"
        );
        assert!(outbox.written(10, &mut egress), "50 bytes are the half");
        assert!(!outbox.written(10, &mut egress), "reported once");
        assert_eq!(outbox.push(frame(30)), Push::Accepted);
    }

    #[test]
    fn owner_is_woken_only_when_the_queue_becomes_filled() {
        let outbox = Outbox::new(1000);
        let mut egress = Egress::default();
        let wakes = Arc::new(Wakes::default());
        let owner = Waker::from(Arc::clone(&wakes));
        outbox.begin(&owner, &mut egress);
        outbox.push(frame(10));
        outbox.push(frame(10));
        assert_eq!(wakes.count(), 1);
        outbox.begin(&owner, &mut egress);
        outbox.push(frame(10));
        assert_eq!(wakes.count(), 2);
        // Not written: the socket is blocked, and the owner knows that more is waiting.
        outbox.begin(&owner, &mut egress);
        outbox.push(frame(10));
        assert_eq!(wakes.count(), 2);
        egress.advance(20);
        outbox.written(20, &mut egress);
        assert_eq!(outbox.capacity(), 0, "handed over");
        outbox.push(frame(10));
        assert_eq!(wakes.count(), 3);
    }

    #[test]
    fn wake_is_reported_once_for_many_calls() {
        let outbox = Outbox::new(1000);
        let mut egress = Egress::default();
        let wakes = Arc::new(Wakes::default());
        let owner = Waker::from(Arc::clone(&wakes));
        assert!(!outbox.begin(&owner, &mut egress));
        outbox.wake();
        outbox.wake();
        assert_eq!(wakes.count(), 1);
        assert!(outbox.begin(&owner, &mut egress));
        assert!(!outbox.begin(&owner, &mut egress));
    }

    #[test]
    fn closed_outbox_refuses_and_holds_nothing() {
        let outbox = Outbox::new(1000);
        outbox.push(frame(10));
        outbox.close();
        assert_eq!((outbox.bytes(), outbox.capacity()), (0, 0));
        assert_eq!(outbox.push(frame(10)), Push::Closed);
        assert_eq!(outbox.push_control(frame(10)), Push::Closed);
        assert!(outbox.is_closed());
    }
}
