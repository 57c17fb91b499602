//! Signs of life: heartbeats, token rotation, credentials that run out.

use sparkway_protocol::{CloseReason, Code, Event, FrameId, Refused};

use crate::command::refuse;
use crate::effect::{CloseRequest, Counted, Effect};
use crate::input::Surroundings;
use crate::machine::{Effects, Live, Session, State};

/// Heartbeats per interval that are answered (S0-47).
const HEARTBEATS_PER_INTERVAL: u8 = 4;
/// So many wrong tokens in a row close the connection (S0-44).
const BAD_TOKENS: u8 = 2;

impl Session {
    pub(crate) fn heartbeat(
        &mut self,
        id: Option<FrameId>,
        token: &str,
        around: &Surroundings<'_>,
        effects: &mut Effects,
    ) {
        let session = self.id;
        let Some(live) = self.live_mut() else { return };
        let generation = around
            .tokens
            .check(session, live.user.as_ref(), token)
            .filter(|generation| (live.confirmed..=live.generation).contains(generation));
        let Some(generation) = generation else {
            self.wrong_token(id, effects);
            return;
        };
        live.bad_tokens = 0;
        if let Err(wait_ms) = live.within_heartbeat_rate(around) {
            let text = "more than 4 heartbeats per heartbeat_interval";
            let mut refused = Refused::new(Code::RateLimited, text).answering(id);
            refused.retry_after_ms = Some(wait_ms);
            effects.push(Effect::Send(Event::Refused(refused)));
            return;
        }
        live.heartbeat_ms = around.now.mono_ms;
        if generation == live.generation {
            live.confirm(effects);
        }
        let updated_token = live.rotate(session, around, effects);
        let updated_interval_ms =
            (live.interval_ms != live.interval_told_ms).then_some(live.interval_ms);
        live.interval_told_ms = live.interval_ms;
        let changed = updated_token.is_some() || updated_interval_ms.is_some();
        let control = changed.then(|| live.next_control());
        if updated_token.is_some() {
            // Offered again: the ack of any frame that carried it will do.
            live.rotation_control.get_or_insert(live.control);
        }
        effects.push(Effect::Send(Event::HeartbeatAck {
            id,
            control,
            updated_token,
            updated_interval_ms,
        }));
    }

    fn wrong_token(&mut self, id: Option<FrameId>, effects: &mut Effects) {
        let Some(live) = self.live_mut() else { return };
        live.bad_tokens += 1;
        let again = live.bad_tokens >= BAD_TOKENS;
        effects.push(Effect::Count(Counted::BadHeartbeatToken));
        refuse(
            effects,
            Code::BadHeartbeatToken,
            "heartbeat_token: not valid",
            id,
        );
        if again {
            self.close(CloseReason::BadHeartbeatToken, false, effects);
        }
    }

    pub(crate) fn tick(&mut self, around: &Surroundings<'_>, effects: &mut Effects) {
        if around.now.mono_ms < self.deadline(around) {
            return;
        }
        match &mut self.state {
            State::Live(live) => {
                if around.now.mono_ms >= live.heartbeat_deadline(around) {
                    effects.push(Effect::Count(Counted::HeartbeatTimeout));
                    self.close(CloseReason::HeartbeatTimeout, true, effects);
                } else if around.now.mono_ms >= live.ping_deadline(around) {
                    live.pinged_ms = around.now.mono_ms;
                    let control = live.next_control();
                    effects.push(Effect::Send(Event::Ping { control }));
                } else if live.expiry_told_ms.is_none() {
                    live.expiry_told_ms = Some(around.now.mono_ms);
                    let grace_ms = around.settings.expiry_grace_ms;
                    effects.push(Effect::Send(Event::Expiring { grace_ms }));
                } else {
                    self.close(CloseReason::TokenExpired, true, effects);
                }
            }
            State::Waiting { .. }
            | State::Authenticating { .. }
            | State::Opening { .. }
            | State::Claiming { .. } => {
                self.close(CloseReason::ConnectTimeout, false, effects);
            }
            State::Closed => {}
        }
    }

    /// Ends the connection for a reason of the gateway; a session in use is detached (or ended,
    /// where the reason is final for it).
    pub(crate) fn close(&mut self, reason: CloseReason, resume: bool, effects: &mut Effects) {
        let state = std::mem::replace(&mut self.state, State::Closed);
        if let State::Live(live) = state {
            let epoch = live.epoch;
            // Who may not be here any more does not come back with a resume either.
            let is_final = matches!(
                reason,
                CloseReason::Disconnected | CloseReason::Unauthorized
            );
            effects.push(if is_final {
                Effect::End { epoch }
            } else {
                Effect::Detach {
                    epoch,
                    cursors: live.cursors,
                }
            });
        } else if matches!(state, State::Closed) {
            return;
        }
        effects.push(Effect::Close(CloseRequest { reason, resume }));
    }

    pub(crate) fn disconnect(&mut self, reason: CloseReason, effects: &mut Effects) {
        if reason == CloseReason::Superseded {
            self.end_superseded(effects);
            return;
        }
        let is_final = matches!(
            reason,
            CloseReason::Disconnected | CloseReason::Unauthorized
        );
        let resume = self.is_live() && !is_final;
        self.close(reason, resume, effects);
    }

    /// The connection is gone, by the client or the network.
    pub(crate) fn ended(
        &mut self,
        client_code: Option<u16>,
        around: &Surroundings<'_>,
        effects: &mut Effects,
    ) {
        let State::Live(live) = std::mem::replace(&mut self.state, State::Closed) else {
            return;
        };
        let wants_resume = live.leaving.unwrap_or(around.settings.keep_on_close);
        let epoch = live.epoch;
        effects.push(if client_code == Some(1000) && !wants_resume {
            Effect::End { epoch }
        } else {
            Effect::Detach {
                epoch,
                cursors: live.cursors,
            }
        });
    }
}

impl Live {
    fn heartbeat_deadline(&self, around: &Surroundings<'_>) -> u64 {
        let longest = self.interval_ms.max(self.interval_told_ms);
        self.heartbeat_ms
            .saturating_add(longest.saturating_mul(2))
            .saturating_add(around.settings.heartbeat_grace_ms)
    }

    /// When the node asks for a sign of life, in dialects in which it does.
    fn ping_deadline(&self, around: &Surroundings<'_>) -> u64 {
        let interval = around.settings.ping_interval_ms;
        interval.map_or(u64::MAX, |interval| self.pinged_ms.saturating_add(interval))
    }

    pub(crate) fn deadline(&self, around: &Surroundings<'_>) -> u64 {
        let heartbeat = self
            .heartbeat_deadline(around)
            .min(self.ping_deadline(around));
        let Some(expires_at_ms) = self.expires_at_ms else {
            return heartbeat;
        };
        // The grace counts from the moment the client heard of it: a credential that ran out
        // before its session was resumed, or a leap of the wall clock, must not cut it short.
        let expires_in = expires_at_ms.saturating_sub(around.now.unix_ms);
        let expiry = self.expiry_told_ms.map_or_else(
            || around.now.mono_ms.saturating_add(expires_in),
            |told_ms| told_ms.saturating_add(around.settings.expiry_grace_ms),
        );
        heartbeat.min(expiry)
    }

    /// # Errors
    /// Milliseconds until the next heartbeat is answered.
    fn within_heartbeat_rate(&mut self, around: &Surroundings<'_>) -> Result<(), u64> {
        let now = around.now.mono_ms;
        let passed = now.saturating_sub(self.interval_began_ms);
        if passed >= self.interval_ms {
            self.interval_began_ms = now;
            self.heartbeats_in_interval = 0;
        }
        self.heartbeats_in_interval = self.heartbeats_in_interval.saturating_add(1);
        if self.heartbeats_in_interval <= HEARTBEATS_PER_INTERVAL {
            return Ok(());
        }
        Err(self.interval_ms.saturating_sub(passed))
    }

    /// The client has used or acknowledged the newest token: the one before it is void.
    pub(crate) fn confirm(&mut self, effects: &mut Effects) {
        self.rotation_control = None;
        if self.confirmed != self.generation {
            self.confirmed = self.generation;
            effects.push(Effect::RememberGenerations {
                generation: self.generation,
                confirmed: self.confirmed,
            });
        }
    }

    /// A new token when it is time for one. While the client has not confirmed the last one, that
    /// one is offered again.
    fn rotate(
        &mut self,
        session: sparkway_protocol::SessionId,
        around: &Surroundings<'_>,
        effects: &mut Effects,
    ) -> Option<Box<str>> {
        let unconfirmed = self.confirmed != self.generation;
        let due =
            around.now.mono_ms.saturating_sub(self.rotated_ms) >= around.settings.token_rotation_ms;
        if !unconfirmed && !due {
            return None;
        }
        if !unconfirmed {
            self.generation = self.generation.wrapping_add(1);
            self.rotated_ms = around.now.mono_ms;
            effects.push(Effect::RememberGenerations {
                generation: self.generation,
                confirmed: self.confirmed,
            });
        }
        Some(
            around
                .tokens
                .make(session, self.user.as_ref(), self.generation),
        )
    }

    /// Makes the next control id (`c1`, `c2`, …).
    pub(crate) fn next_control(&mut self) -> Box<str> {
        self.control = self.control.wrapping_add(1);
        format!("c{}", self.control).into()
    }

    /// An ack of a control frame; says whether it named one that was sent and not yet acked.
    pub(crate) fn confirm_control(&mut self, control: &str, effects: &mut Effects) -> bool {
        let number = control
            .strip_prefix('c')
            .filter(|digits| digits.bytes().all(|symbol| symbol.is_ascii_digit()))
            .and_then(|digits| digits.parse::<u32>().ok());
        let sent = self.control_acked.saturating_add(1)..=self.control;
        let Some(number) = number.filter(|number| sent.contains(number)) else {
            return false;
        };
        self.control_acked = number;
        // Frames arrive in order: who has a later one has the one with the token too.
        if self
            .rotation_control
            .is_some_and(|rotation| number >= rotation)
        {
            self.confirm(effects);
        }
        true
    }
}
