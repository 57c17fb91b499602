//! One connection's loop: frames and mail in, the session's step, effects out.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use sparkway_auth::Mode;
use sparkway_dialect::{Wire, WireKind, carries, decode, encode};
use sparkway_protocol::{CloseReason, Event, Format, SessionId};
use sparkway_session::{CloseRequest, Effect, Input, Session};
use sparkway_socket::{Closed, Inbound, Link, LinkEvent, LinkSettings, Stream};
use tokio::sync::oneshot;

use crate::attached::Attached;
use crate::effect::Taken;
use crate::handle::Handle;
use crate::routes::Accepted;
use crate::worker::Worker;

/// How long the close handshake may take before the TCP connection is dropped.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);
/// Control frames (pings, pongs) per data frame or second that are a flood.
const CONTROL_FRAMES_PER_TICK: u64 = 1000;

/// A connection that speaks WebSocket.
#[derive(Debug)]
pub(crate) struct Connection {
    link: Link<Stream>,
    pub(crate) format: Format,
    pub(crate) worker: Arc<Worker>,
    pub(crate) handle: Arc<Handle>,
    pub(crate) session: Session,
    pub(crate) attached: Option<Arc<Attached>>,
    /// Whether a credential is needed here.
    pub(crate) mode: Mode,
    /// What came with the handshake.
    pub(crate) credential: Option<Box<str>>,
    /// The session that a claim took over, until it is attached.
    pub(crate) taken: Option<oneshot::Receiver<Taken>>,
    /// Tells the resume operation that `resume_ack` is queued.
    pub(crate) replay: Option<oneshot::Sender<()>>,
    closing: Option<CloseRequest>,
    /// The unfinished message seen at the last tick: one that takes two ticks takes too long.
    unfinished: Option<u32>,
    control_frames: u64,
}

impl Connection {
    pub(crate) fn new(
        worker: &Arc<Worker>,
        stream: Stream,
        read_ahead: &[u8],
        accepted: Accepted,
    ) -> Self {
        let shared = &worker.shared;
        let settings = LinkSettings {
            message_bytes: shared.settings.limits.message_bytes,
            ..LinkSettings::default()
        };
        let handle = Arc::new(Handle::new(shared.settings.limits.outbox_bytes));
        // A session may be created in the partition of a user who is not known yet: the id is
        // made again then.
        let session =
            SessionId::from_random(rand::random(), sparkway_protocol::Partition::default());
        Self {
            link: Link::new(stream, read_ahead, &settings),
            format: accepted.format,
            worker: Arc::clone(worker),
            handle,
            session: Session::new(session, &shared.around()),
            attached: None,
            mode: accepted.mode,
            credential: accepted.credential,
            taken: None,
            replay: None,
            closing: None,
            unfinished: None,
            control_frames: 0,
        }
    }

    /// Serves the connection until it ends.
    ///
    /// # Cancel safety
    /// Dropped, the session stays attached until the node's lease runs out; only done when the
    /// process ends.
    pub(crate) async fn run(mut self) {
        self.update_deadline();
        self.worker.deadlines().watch(&self.handle);
        let mut effects = Vec::new();
        let client_code = loop {
            let want_read = self.session.wants_frames(&self.worker.shared.around())
                && !self.handle.outbox.is_full();
            let event = poll_fn(|cx| self.link.poll(cx, &self.handle.outbox, want_read)).await;
            match event {
                LinkEvent::Frame(frame) => self.frame(frame, &mut effects),
                LinkEvent::Woken => self.woken(&mut effects),
                LinkEvent::Drained => self.handle.room.notify_waiters(),
                LinkEvent::Closed(closed) => break code_of(&closed),
            }
            if let Some(request) = self.closing.take() {
                self.say_goodbye(request);
                break None;
            }
        };
        self.step(Input::Ended { client_code }, &mut effects);
        if let Some(attached) = self.attached.take() {
            attached.leave();
        }
        self.handle.room.notify_waiters();
        // A peer that does not answer the close frame is dropped.
        drop(tokio::time::timeout(CLOSE_DEADLINE, poll_fn(|cx| self.link.poll_finish(cx))).await);
    }

    fn frame(&mut self, frame: Inbound, effects: &mut Vec<Effect>) {
        let wire = match (&frame, carries(self.format)) {
            (Inbound::Text(text), WireKind::Text) => Wire::Text(text.as_str()),
            (Inbound::Binary(bytes), WireKind::Binary) => Wire::Binary(bytes),
            (Inbound::Text(_), WireKind::Binary) | (Inbound::Binary(_), WireKind::Text) => {
                self.step(Input::Disconnect(CloseReason::UnsupportedData), effects);
                return;
            }
            (Inbound::Ping | Inbound::Pong, _) => {
                self.control_frames += 1;
                return;
            }
        };
        let input = match decode(self.format, wire) {
            Ok(command) => Input::Command(command),
            Err(refused) => Input::Malformed(refused),
        };
        drop(frame);
        self.step(input, effects);
    }

    fn woken(&mut self, effects: &mut Vec<Effect>) {
        for input in self.handle.take_mail() {
            if matches!(input, Input::Tick) {
                self.look_after(effects);
            }
            self.step(input, effects);
        }
        if let Some(attached) = &self.attached
            && let Some(positions) = attached.seat.take_lag()
        {
            attached.feed_from(&positions);
        }
    }

    /// What only time shows: a message that never ends, a flood of control frames.
    fn look_after(&mut self, effects: &mut Vec<Effect>) {
        let unfinished = self.link.unfinished();
        let flood = self.control_frames > CONTROL_FRAMES_PER_TICK;
        if flood || (unfinished.is_some() && unfinished == self.unfinished) {
            self.step(Input::Disconnect(CloseReason::Policy), effects);
        }
        self.control_frames = 0;
        self.unfinished = unfinished;
    }

    /// One step of the session, and everything that follows from it at once.
    pub(crate) fn step(&mut self, input: Input, effects: &mut Vec<Effect>) {
        let worker = Arc::clone(&self.worker);
        let mut next = Some(input);
        while let Some(input) = next.take() {
            self.session.step(input, &worker.shared.around(), effects);
            for effect in effects.drain(..) {
                if let Some(answer) = self.carry_out(effect) {
                    next = Some(answer);
                }
            }
        }
        self.update_deadline();
    }

    fn update_deadline(&self) {
        let deadline = self.session.deadline(&self.worker.shared.around());
        self.handle.set_deadline(deadline);
    }

    /// Tells the client in its own form.
    pub(crate) fn tell(&self, event: &Event) {
        if let Some(frame) = encode(self.format, event) {
            self.handle.outbox.push_control(frame);
        }
    }

    pub(crate) const fn close(&mut self, request: CloseRequest) {
        if self.closing.is_none() {
            self.closing = Some(request);
        }
    }

    fn say_goodbye(&mut self, request: CloseRequest) {
        let CloseRequest { reason, resume } = request;
        self.tell(&Event::Closing {
            reason,
            resume,
            retry_after_ms: None,
        });
        let code = match reason {
            CloseReason::Drain if self.format.dialect() != "spark" => 1001,
            other => other.code(),
        };
        self.link
            .start_close(&self.handle.outbox, code, reason.text());
    }
}

const fn code_of(closed: &Closed) -> Option<u16> {
    match closed {
        Closed::Peer { code, .. } => *code,
        Closed::Violation(_) | Closed::Gone(_) => None,
    }
}
