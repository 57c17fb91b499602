//! What a connection may send, beyond what its session judges.

use sparkway_dialect::is_deeper;
use sparkway_metrics::RateScope;
use sparkway_protocol::{AckId, CloseReason, Code, Command, Refused, limits};
use sparkway_session::{Effect, Input};
use sparkway_socket::Inbound;

use crate::connection::Connection;

/// Control frames (pings, pongs) per second, and at once; more of them are a flood.
pub(crate) const CONTROL_FRAMES_PER_SECOND: u32 = 50;
pub(crate) const CONTROL_FRAMES_BURST: u32 = 500;

/// Bytes of a message.
pub(crate) fn weight_of(frame: &Inbound) -> u32 {
    let bytes = match frame {
        Inbound::Text(text) => text.len(),
        Inbound::Binary(bytes) => bytes.len(),
        Inbound::Ping | Inbound::Pong => 0,
    };
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Connection {
    /// Whether the client is read now. While not, what it sends waits in the kernel.
    pub(crate) fn wants_frames(&mut self) -> bool {
        let settings = self.worker.shared.manner(self.format);
        let saturated = self.session.is_saturated(settings);
        let wants = self.session.wants_frames(settings);
        if saturated && !self.saturated {
            let limited = &self.worker.shared.metrics.session.rate_limited;
            limited.at(RateScope::Publishes).inc();
        }
        self.saturated = saturated;
        wants && self.entering.is_over() && !self.handle.outbox.is_full()
    }

    /// The pong is queued already; here it is only judged how many come.
    pub(crate) fn control_frame(&mut self, effects: &mut Vec<Effect>) {
        let now_ms = self.worker.shared.clock.mono_ms();
        let (rate, burst) = (CONTROL_FRAMES_PER_SECOND, CONTROL_FRAMES_BURST);
        if self.control.take(1000, rate, burst, now_ms).is_err() {
            let limited = &self.worker.shared.metrics.session.rate_limited;
            limited.at(RateScope::Control).inc();
            self.step(Input::Disconnect(CloseReason::Policy), effects);
        }
    }

    /// What the operator allows beyond the dialect's own rules.
    pub(crate) fn check(&self, command: Command) -> Result<Command, Refused> {
        let levels = self.worker.shared.settings.limits.nesting_depth;
        if levels < limits::PAYLOAD_DEPTH
            && let Command::Publish { id, payload, .. } = &command
            && is_deeper(payload, levels)
        {
            let text = format!("data: nested deeper than {levels} levels");
            return Err(Refused::new(Code::Invalid, text).answering(id.clone()));
        }
        Ok(command)
    }

    /// An ack makes room for more where deliveries are limited to what is acknowledged.
    pub(crate) fn note_ack(&mut self, command: &Command) {
        if let Command::Ack {
            ack: AckId::Message(id),
            ..
        } = command
        {
            let attached = self.attached.as_ref();
            if attached.is_some_and(|attached| attached.seat.acknowledged(*id)) {
                self.handle.room.notify_waiters();
            }
            self.note_arrived(*id);
        }
    }
}
