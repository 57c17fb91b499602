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
        state.refill(egress);
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
    /// Leaves the frames here while the link has enough for one write: a blocked socket is then
    /// not woken for each new frame.
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
