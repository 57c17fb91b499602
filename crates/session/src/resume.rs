//! Take a session up again, on whatever node.

use sparkway_protocol::event::ResumeFailure;
use sparkway_protocol::{CloseReason, Command, Epoch, Event, FrameId, LastSeen, MessageId};

use crate::Cursors;
use crate::command::is_plausible;
use crate::effect::{AttachRequest, CloseRequest, Effect};
use crate::input::{Claimed, Restored, StoreFailure, Surroundings};
use crate::machine::{Effects, Live, Resuming, Session, State};

impl Session {
    pub(crate) fn resume(
        &mut self,
        command: Command,
        around: &Surroundings<'_>,
        effects: &mut Effects,
    ) {
        let Command::Resume {
            id,
            session,
            heartbeat_token,
            last,
        } = command
        else {
            return;
        };
        if !is_plausible(&last, around.now.unix_ms) {
            self.resume_failed(id, ResumeFailure::BadMessageId, effects);
            return;
        }
        // A session of a partition that this layout does not have is unknown, like any other.
        let session =
            session.filter(|session| session.partition().get() < around.partitions.count());
        self.state = State::Claiming { id, last };
        effects.push(Effect::Claim {
            session,
            heartbeat_token,
        });
    }

    fn resume_failed(&mut self, id: Option<FrameId>, reason: ResumeFailure, effects: &mut Effects) {
        // An unavailable store may be back in a moment: the same resume may then be tried again.
        let resume_failed = reason != ResumeFailure::Unavailable;
        self.state = State::Waiting { resume_failed };
        effects.push(Effect::Send(Event::ResumeFailed { id, reason }));
    }

    pub(crate) fn claimed(
        &mut self,
        result: Result<Option<Box<Claimed>>, StoreFailure>,
        around: &Surroundings<'_>,
        effects: &mut Effects,
    ) {
        let (id, last) = match &mut self.state {
            State::Claiming { id, last } => (id.take(), std::mem::take(last)),
            // Found by the name that its dialect gives it: it goes on where its record stands.
            State::Opening { id, .. } => (id.take(), LastSeen::Many(Vec::new())),
            State::Waiting { .. }
            | State::Authenticating { .. }
            | State::Live(_)
            | State::Closed => return,
        };
        let claimed = match result {
            Ok(Some(claimed)) => *claimed,
            Ok(None) if matches!(self.state, State::Opening { .. }) => {
                return self.not_opened(id, StoreFailure::Unavailable, effects);
            }
            Err(failure) if matches!(self.state, State::Opening { .. }) => {
                return self.not_opened(id, failure, effects);
            }
            Ok(None) => return self.resume_failed(id, ResumeFailure::NotResumable, effects),
            Err(_) => return self.resume_failed(id, ResumeFailure::Unavailable, effects),
        };
        let stored = claimed.stored;
        let mut live = Live::begin(stored.epoch, stored.generation, around);
        live.confirmed = stored.confirmed;
        live.user = stored.user;
        live.grants = stored.grants;
        live.expires_at_ms = stored.expires_at_ms;
        live.topics = claimed.topics;
        live.cursors = stored.cursors;
        let positions = positions(&last, &live.cursors);
        live.resuming = Some(Box::new(Resuming {
            id,
            dropped_topics: claimed.dropped_topics,
            named: Cursors::from_ids(named(&last)),
        }));
        self.id = stored.session;
        self.state = State::Live(Box::new(live));
        effects.push(Effect::Attach(AttachRequest { positions }));
    }

    pub(crate) fn attached(
        &mut self,
        result: Result<Box<Restored>, StoreFailure>,
        around: &Surroundings<'_>,
        effects: &mut Effects,
    ) {
        let Some(live) = self.live_mut() else { return };
        let Some(resuming) = live.resuming.take() else {
            return;
        };
        let Ok(restored) = result else {
            // The claim holds, but nothing can be read: let the client come again.
            let reason = ResumeFailure::Unavailable;
            effects.push(Effect::Send(Event::ResumeFailed {
                id: resuming.id,
                reason,
            }));
            self.close(CloseReason::TryAgain, true, effects);
            return;
        };
        // What the client names, it has; but no id that was never given may become a cursor: a
        // later resume would begin behind messages that the client never saw.
        let reached = Cursors::from_ids(&restored.positions);
        for &id in resuming.named.ids() {
            live.cursors.advance(id.min(reached.of(id.partition())));
        }
        let control = live.next_control();
        live.rotation_control = Some(live.control);
        let welcome = Box::new(self.welcome(restored.positions, around));
        effects.push(Effect::Send(Event::Resumed {
            id: resuming.id,
            control,
            welcome,
            replay_count: restored.replay_count,
            gaps: restored.gaps,
            dropped_topics: resuming.dropped_topics,
        }));
        effects.push(Effect::Replay);
        self.tell_drain(effects);
    }

    pub(crate) fn superseded(&mut self, epoch: Epoch, effects: &mut Effects) {
        if self.live().is_some_and(|live| live.epoch < epoch) {
            self.end_superseded(effects);
        }
    }

    /// Somebody else owns the session: nothing is written any more, not even a cursor.
    pub(crate) fn end_superseded(&mut self, effects: &mut Effects) {
        if matches!(self.state, State::Closed) {
            return;
        }
        self.state = State::Closed;
        let reason = CloseReason::Superseded;
        effects.push(Effect::Close(CloseRequest {
            reason,
            resume: false,
        }));
    }
}

/// Where the replay starts: per partition what the client named, else the stored cursor. `None`
/// when the client named nothing at all.
fn positions(last: &LastSeen, stored: &Cursors) -> Option<Cursors> {
    if matches!(last, LastSeen::Unknown | LastSeen::Invalid) {
        return None;
    }
    let mut positions = Cursors::from_ids(named(last));
    for &id in stored.ids() {
        if positions.of(id.partition()) == MessageId::ZERO {
            positions.advance(id);
        }
    }
    Some(positions)
}

/// The ids that the client says it has.
const fn named(last: &LastSeen) -> &[MessageId] {
    match last {
        LastSeen::Unknown | LastSeen::Invalid => &[],
        LastSeen::One(id) => std::slice::from_ref(id),
        LastSeen::Many(ids) => ids.as_slice(),
    }
}
