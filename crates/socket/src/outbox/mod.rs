//! The bounded queue in front of one connection. It never waits: a full one says so.

#[cfg(test)]
mod tests;

use std::{
    fmt, mem,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use sparkway_frame::Framed;

use crate::{egress::Egress, queue::FrameQueue};

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
    frames: FrameQueue,
    /// Unwritten bytes, here and in the link.
    bytes: usize,
    /// The owner's task.
    waker: Option<Waker>,
    /// What the owner sleeps for.
    sleep: Sleep,
    woken: bool,
    /// A push was refused or reached the bound, and half of it has not been written since.
    congested: bool,
    closed: bool,
    /// Whoever waits until what was queued at that time is written. Boxed: few wait, and there is
    /// an outbox per connection.
    told: Option<Box<Told>>,
}

/// Whether the owner is to be woken. While it is awake it looks again before it sleeps, so that
/// what it causes itself wakes nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sleep {
    #[default]
    Awake,
    /// Its socket takes nothing more: another frame is no news.
    Blocked,
    /// Any change is news.
    Idle,
}

/// What is called when so many more bytes are written.
struct Told {
    left: usize,
    call: Box<dyn FnOnce() + Send>,
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
            state.rouse()
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
            (state.rouse(), dropped)
        };
        drop(dropped);
        wake(owner);
    }

    /// Whether a push was refused, or reached the bound, and less than half of it has been
    /// written since.
    pub fn is_congested(&self) -> bool {
        self.lock().congested
    }

    /// Whether frames are refused for good.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Starts a poll of the owner, who is awake from here on: hands frames to `egress` and answers
    /// whether [`Self::wake`] was called.
    pub(crate) fn begin(&self, egress: &mut Egress) -> bool {
        let mut state = self.lock();
        state.sleep = Sleep::Awake;
        // While the socket is blocked the frames stay here: a queue that is not empty wakes nobody.
        if !egress.is_blocked() {
            state.refill(egress);
        }
        mem::take(&mut state.woken)
    }

    /// Ends a poll of the owner: from here on it is woken. Answers false, and lets it stay awake,
    /// when there is something to do already.
    pub(crate) fn sleep(&self, owner: &Waker, egress: &Egress) -> bool {
        let mut state = self.lock();
        let blocked = egress.is_blocked();
        if state.woken || (!blocked && !state.frames.is_empty()) {
            return false;
        }
        state.sleep = if blocked { Sleep::Blocked } else { Sleep::Idle };
        if !state
            .waker
            .as_ref()
            .is_some_and(|known| known.will_wake(owner))
        {
            state.waker = Some(owner.clone());
        }
        true
    }

    /// Accounts for `bytes` now in the kernel and hands more frames to `egress`. Answers whether
    /// a congested outbox has drained to half of its bound.
    pub(crate) fn written(&self, bytes: usize, egress: &mut Egress) -> bool {
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
        state.refill(egress);
        let told = state.told.is_some().then(|| state.wrote(bytes)).flatten();
        let drained = state.congested && state.bytes <= self.bound / 2;
        if drained {
            state.congested = false;
        }
        drop(state);
        if let Some(told) = told {
            (told.call)();
        }
        drained
    }

    /// Calls `told` when everything that is queued now is in the kernel; drops it when the
    /// connection ends before, or when somebody waits for that already. Called without the lock.
    pub fn when_written(&self, told: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        if state.closed || state.told.is_some() || state.bytes == 0 {
            return;
        }
        let (left, call) = (state.bytes, Box::new(told));
        state.told = Some(Box::new(Told { left, call }));
    }

    /// Unwritten bytes, and frames that the link has not taken yet.
    pub fn held(&self) -> (usize, usize) {
        let state = self.lock();
        (state.bytes, state.frames.len())
    }

    /// Hands everything to `egress` and refuses what comes later.
    pub(crate) fn close_into(&self, egress: &mut Egress) {
        let mut state = self.lock();
        state.closed = true;
        state.told = None;
        egress.append(mem::take(&mut state.frames));
    }

    fn enqueue(&self, framed: Framed, bound: usize) -> Push {
        let owner = {
            let mut state = self.lock();
            match state.enqueue(framed, self.bound, bound) {
                Push::Accepted if state.sleep == Sleep::Idle => state.rouse(),
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
    /// The owner, if it sleeps.
    fn rouse(&mut self) -> Option<Waker> {
        match mem::take(&mut self.sleep) {
            Sleep::Awake => None,
            Sleep::Blocked | Sleep::Idle => self.waker.take(),
        }
    }

    /// Counts written bytes for whoever waits to be told; gives him out when it is his turn.
    fn wrote(&mut self, bytes: usize) -> Option<Box<Told>> {
        let told = self.told.as_mut()?;
        if bytes >= told.left {
            return self.told.take();
        }
        told.left -= bytes;
        None
    }

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
        // From the bound on the client is not read: it has to be told when there is room again.
        if bytes >= bound {
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
