//! One connection's loop: frames and mail in, the session's step, effects out.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sparkway_auth::Mode;
use sparkway_dialect::{Talk, Wire, WireKind, carries, closing, encode};
use sparkway_metrics::{CloseCode, Direction, Initiator, Opcode};
use sparkway_protocol::{CloseReason, Event, Format, SessionId};
use sparkway_session::{Bucket, CloseRequest, Effect, Input, Session};
use sparkway_socket::{Closed, Inbound, Link, LinkEvent, LinkSettings, Stream, Traffic};
use tokio::sync::oneshot;

use crate::attached::Attached;
use crate::effect::Taken;
use crate::entering::{Entering, RoomPlace};
use crate::handle::Handle;
use crate::manner;
use crate::routes::Accepted;
use crate::shared::Shared;
use crate::worker::Worker;

/// How long the close handshake may take before the TCP connection is dropped.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);
/// Longest time between two looks at a connection: a message may take twice as long to arrive.
const LOOK_MS: u64 = 10_000;
/// Control frames (pings, pongs) per second, and at once; more of them are a flood.
const CONTROL_FRAMES_PER_SECOND: u32 = 50;
const CONTROL_FRAMES_BURST: u32 = 500;

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
    /// What the dialect remembers between frames.
    talk: Talk,
    /// The room to join, until it is asked for.
    pub(crate) room: Option<RoomPlace>,
    pub(crate) entering: Entering,
    closing: Option<CloseRequest>,
    /// The unfinished message seen at the last tick: one that takes two ticks takes too long.
    unfinished: Option<u32>,
    control: Bucket,
    began: Instant,
    /// What of the link's traffic is counted already.
    counted: Traffic,
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
        let talk = match &accepted.room {
            Some(place) => Talk::Room(place.topic.clone()),
            None => Talk::Plain,
        };
        Self {
            link: Link::new(stream, read_ahead, &settings),
            format: accepted.format,
            worker: Arc::clone(worker),
            handle,
            session: Session::new(session, &shared.around(accepted.format)),
            attached: None,
            mode: accepted.mode,
            credential: accepted.credential,
            taken: None,
            replay: None,
            talk,
            room: accepted.room,
            entering: Entering::default(),
            closing: None,
            unfinished: None,
            control: Bucket::full(CONTROL_FRAMES_BURST, shared.clock.mono_ms()),
            began: Instant::now(),
            counted: Traffic::default(),
        }
    }

    /// Serves the connection until it ends.
    ///
    /// # Cancel safety
    /// Dropped, the session stays attached until the node's lease runs out; only done when the
    /// process ends.
    pub(crate) async fn run(&mut self) {
        self.shared()
            .metrics
            .socket
            .connections
            .at(self.format)
            .inc();
        self.update_deadline();
        let mut effects = Vec::new();
        self.enter(&mut effects);
        let end = loop {
            let around = self.worker.shared.around(self.format);
            let want_read = self.session.wants_frames(&around)
                && self.entering.is_over()
                && !self.handle.outbox.is_full();
            let event = poll_fn(|cx| self.link.poll(cx, &self.handle.outbox, want_read)).await;
            match event {
                LinkEvent::Frame(frame) => self.frame(frame, &mut effects),
                LinkEvent::Woken => self.woken(&mut effects),
                LinkEvent::Drained => self.handle.room.notify_waiters(),
                LinkEvent::Closed(closed) => break End::of(&closed),
            }
            if let Some(request) = self.closing.take() {
                let code = self.say_goodbye(request);
                break End {
                    initiator: Initiator::Server,
                    code,
                };
            }
        };
        let client_code = (end.initiator == Initiator::Client).then_some(end.code);
        self.step(Input::Ended { client_code }, &mut effects);
        self.clear_up();
        self.handle.room.notify_waiters();
        self.count_end(end);
        // A peer that does not answer the close frame is dropped.
        drop(tokio::time::timeout(CLOSE_DEADLINE, poll_fn(|cx| self.link.poll_finish(cx))).await);
    }

    fn frame(&mut self, frame: Inbound, effects: &mut Vec<Effect>) {
        if manner::any_frame_is_alive(self.format) {
            self.step(Input::Alive, effects);
        }
        let wire = match (&frame, carries(self.format)) {
            (Inbound::Binary(bytes), _) if self.relays_binary() => Wire::Binary(bytes),
            (Inbound::Text(text), WireKind::Text) => Wire::Text(text.as_str()),
            (Inbound::Binary(bytes), WireKind::Binary) => Wire::Binary(bytes),
            (Inbound::Text(_), WireKind::Binary) | (Inbound::Binary(_), WireKind::Text) => {
                if let Some(reason) = manner::wrong_kind(self.format, &frame) {
                    self.step(Input::Disconnect(reason), effects);
                }
                self.count_frame(&frame);
                return;
            }
            (Inbound::Ping | Inbound::Pong, _) => {
                self.control_frame(effects);
                return;
            }
        };
        let decoded = self.talk.decode(self.format, wire);
        self.count_frame(&frame);
        drop(frame);
        match decoded {
            Ok(command) => {
                if let Some(command) = self.meant(command, effects) {
                    self.step(Input::Command(command), effects);
                }
            }
            Err(refused) => self.step(Input::Malformed(refused), effects),
        }
    }

    fn woken(&mut self, effects: &mut Vec<Effect>) {
        for input in self.handle.take_mail() {
            let failed = self.joined(&input);
            if matches!(input, Input::Tick) {
                self.look_after(effects);
                self.tick(effects);
            } else {
                self.step(input, effects);
            }
            if let Some(reason) = failed {
                self.step(Input::Disconnect(reason), effects);
            }
        }
        if let Some(attached) = &self.attached
            && let Some(positions) = attached.seat.take_lag()
        {
            attached.feed_from(&positions);
        }
    }

    /// The pong is queued already; here it is only judged how many come.
    fn control_frame(&mut self, effects: &mut Vec<Effect>) {
        let now_ms = self.worker.shared.clock.mono_ms();
        let (rate, burst) = (CONTROL_FRAMES_PER_SECOND, CONTROL_FRAMES_BURST);
        if self.control.take(1000, rate, burst, now_ms).is_err() {
            self.step(Input::Disconnect(CloseReason::Policy), effects);
        }
    }

    /// What only time shows: a message that never ends.
    fn look_after(&mut self, effects: &mut Vec<Effect>) {
        let unfinished = self.link.unfinished();
        if unfinished.is_some() && unfinished == self.unfinished {
            self.step(Input::Disconnect(CloseReason::Policy), effects);
        }
        self.unfinished = unfinished;
        self.count_traffic();
    }

    /// One step of the session, and everything that follows from it at once.
    pub(crate) fn step(&mut self, input: Input, effects: &mut Vec<Effect>) {
        let worker = Arc::clone(&self.worker);
        let mut next = Some(input);
        while let Some(input) = next.take().or_else(|| self.follow_up()) {
            let around = worker.shared.around(self.format);
            self.session.step(input, &around, effects);
            for effect in effects.drain(..) {
                if let Some(answer) = self.carry_out(effect) {
                    next = Some(answer);
                }
            }
        }
        self.update_deadline();
    }

    fn update_deadline(&self) {
        let around = self.worker.shared.around(self.format);
        let look_ms = around.now.mono_ms + LOOK_MS;
        let deadline_ms = self.session.deadline(&around).min(look_ms);
        self.handle.set_deadline(deadline_ms);
        if deadline_ms < self.handle.watched_ms() {
            self.worker.deadlines().watch(&self.handle);
        }
    }

    /// Tells the client in its own form.
    pub(crate) fn tell(&self, event: &Event) {
        if let Some(frame) = encode(self.format, event) {
            self.handle.outbox.push_control(frame);
        }
    }

    pub(crate) fn close(&mut self, request: CloseRequest) {
        if let Some(attached) = &self.attached
            && request.reason == CloseReason::Superseded
        {
            attached.release();
        }
        if self.closing.is_none() {
            self.closing = Some(request);
        }
    }

    fn say_goodbye(&mut self, request: CloseRequest) -> u16 {
        let CloseRequest { reason, resume } = request;
        self.tell(&Event::Closing {
            reason,
            resume,
            retry_after_ms: None,
        });
        let (code, text) = closing(self.format, reason);
        self.link.start_close(&self.handle.outbox, code, text);
        code
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug)]
struct End {
    initiator: Initiator,
    code: u16,
}

impl End {
    const fn of(closed: &Closed) -> Self {
        match closed {
            Closed::Peer { code, .. } => {
                let code = match code {
                    Some(code) => *code,
                    None => 1005,
                };
                Self {
                    initiator: Initiator::Client,
                    code,
                }
            }
            Closed::Violation(violation) => Self {
                initiator: Initiator::Server,
                code: violation.reason.code(),
            },
            Closed::Gone(_) => Self {
                initiator: Initiator::Network,
                code: 1006,
            },
        }
    }
}

impl Connection {
    fn shared(&self) -> &Shared {
        &self.worker.shared
    }

    fn count_frame(&self, frame: &Inbound) {
        let metrics = &self.shared().metrics.socket;
        let (opcode, bytes) = match frame {
            Inbound::Text(text) => (Opcode::Text, text.len()),
            Inbound::Binary(bytes) => (Opcode::Binary, bytes.len()),
            Inbound::Ping | Inbound::Pong => return,
        };
        metrics.frames.at((Direction::In, opcode)).inc();
        metrics.messages.at((Direction::In, self.format)).inc();
        metrics.message_size.at(Direction::In).observe(bytes as f64);
    }

    fn count_traffic(&mut self) {
        let traffic = self.link.traffic();
        let bytes = &self.shared().metrics.socket.bytes;
        bytes
            .at(Direction::In)
            .inc_by(traffic.bytes_read - self.counted.bytes_read);
        bytes
            .at(Direction::Out)
            .inc_by(traffic.bytes_written - self.counted.bytes_written);
        self.counted = traffic;
    }

    fn count_end(&mut self, end: End) {
        self.count_traffic();
        let metrics = &self.shared().metrics.socket;
        metrics.connections.at(self.format).dec();
        metrics
            .connections_closed
            .at((end.initiator, CloseCode::of(end.code)))
            .inc();
        metrics
            .connection_duration
            .observe(self.began.elapsed().as_secs_f64());
    }
}
