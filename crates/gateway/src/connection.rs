//! One connection's loop: frames and mail in, the session's step, effects out.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sparkway_auth::Mode;
use sparkway_dialect::conversation::Conversation;
use sparkway_dialect::{Talk, Wire, WireKind, carries, closing};
use sparkway_metrics::Initiator;
use sparkway_protocol::{CloseReason, Code, Event, Format, FrameId, Payload, Refused, SessionId};
use sparkway_session::{Bucket, CloseRequest, Effect, Input, Session, Surroundings};
use sparkway_socket::{
    Closed, Deflate, Inbound, Link, LinkEvent, LinkSettings, Stream, Traffic, Violation,
};
use tokio::sync::oneshot;

use crate::attached::Attached;
use crate::catchup::{Gathered, Lane};
use crate::effect::{Taken, Visit};
use crate::ending::End;
use crate::entering::{Entering, RoomPlace};
use crate::guests::Place;
use crate::handle::Handle;
use crate::limiting::{CONTROL_FRAMES_BURST, weight_of};
use crate::manner;
use crate::outcome::Resume;
use crate::receipt::Receipt;
use crate::routes::Accepted;
use crate::trace::Begun;
use crate::unfinished::Unfinished;
use crate::worker::Worker;

/// How long the close handshake may take before the TCP connection is dropped.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// The first pieces of a replay, and what is counted of the resume.
pub(crate) type Missed = (Vec<(Lane, Gathered)>, Option<Resume>);

/// A connection that speaks WebSocket.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) link: Link<Stream>,
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
    /// The first pieces of what a resumed session missed, until `resume_ack` is queued.
    pub(crate) replay: Option<oneshot::Receiver<Missed>>,
    /// What the dialect remembers between frames.
    pub(crate) talk: Talk,
    /// Messages that are being stored, in dialects in which somebody answers them.
    pub(crate) unanswered: Vec<(FrameId, Payload)>,
    /// How far the client has read, in dialects in which it does not say so.
    pub(crate) receipt: Receipt,
    /// The room to join, until it is asked for.
    pub(crate) room: Option<RoomPlace>,
    pub(crate) entering: Entering,
    /// The visit of an application, in the dialect that has one.
    pub(crate) visit: Visit,
    closing: Option<CloseRequest>,
    /// The message that has not arrived as a whole.
    unfinished: Unfinished,
    pub(crate) control: Bucket,
    /// Whether too many of its requests wait for their answer.
    pub(crate) saturated: bool,
    /// Its place among those of its address.
    _place: Place,
    pub(crate) began: Instant,
    /// When the TCP connection was accepted.
    pub(crate) since: Instant,
    /// When it is to go for its age.
    pub(crate) last_ms: Option<u64>,
    /// What is recorded of the opening, until it is over.
    pub(crate) opening: Option<Box<Begun>>,
    /// What of the link's traffic is counted already.
    pub(crate) counted: Traffic,
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
            deflate: accepted.deflate.is_some(),
            fragments: shared.settings.limits.fragments_per_message,
            ..LinkSettings::default()
        };
        let deflates = accepted.deflate.is_some_and(Deflate::sends);
        let handle = Arc::new(Handle::new(shared.settings.limits.outbox_bytes, deflates));
        // A session may be created in the partition of a user who is not known yet: the id is
        // made again then.
        let name = shared.tasks.any_name();
        let session = SessionId::from_random(name, sparkway_protocol::Partition::default());
        let talk = match &accepted.room {
            Some(place) => Talk::Room(place.topic.clone()),
            None if accepted.format == Format::Conversation => Talk::Conversation(Conversation {
                versions: shared.settings.conversation.versions.clone(),
                ..Conversation::default()
            }),
            None => Talk::Plain,
        };
        if let Some(shown) = accepted.shown {
            // It is new: nobody has set it.
            drop(handle.shown.set(shown));
        }
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
            unanswered: Vec::new(),
            receipt: Receipt::default(),
            room: accepted.room,
            entering: Entering::default(),
            visit: Visit::default(),
            closing: None,
            unfinished: Unfinished::since(shared.clock.mono_ms()),
            saturated: false,
            _place: accepted.place,
            control: Bucket::full(CONTROL_FRAMES_BURST, shared.clock.mono_ms()),
            began: Instant::now(),
            since: Instant::now(),
            last_ms: Self::last_ms(shared, accepted.format),
            opening: None,
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
        let mut effects = self.worker.take_effects();
        self.enter(&mut effects);
        self.worker.keep_effects(effects);
        let end = loop {
            // Also before the first event: a token in the URL may be refused already.
            if let Some(request) = self.closing.take() {
                let code = self.say_goodbye(request);
                break End {
                    initiator: Initiator::Server,
                    code,
                };
            }
            let want_read = self.wants_frames();
            if !want_read {
                self.unfinished.pause();
            }
            let event = poll_fn(|cx| {
                let event = self.link.poll(cx, &self.handle.outbox, want_read);
                if event.is_pending() {
                    self.note_written();
                    self.note_traffic();
                    if self.link.unfinished().is_some() {
                        self.update_deadline();
                    }
                }
                event
            });
            let event = event.await;
            let mut effects = self.worker.take_effects();
            match event {
                LinkEvent::Frame(frame) => self.frame(frame, &mut effects),
                LinkEvent::Woken => self.woken(&mut effects),
                LinkEvent::Drained => self.handle.room.notify_waiters(),
                LinkEvent::Closed(Closed::Violation(violation)) => {
                    break self.refuse(violation);
                }
                LinkEvent::Closed(closed) => break End::of(&closed),
            }
            self.worker.keep_effects(effects);
        };
        if end.initiator == Initiator::Client {
            self.note_farewell();
        }
        let client_code = (end.initiator == Initiator::Client).then_some(end.code);
        let mut effects = self.worker.take_effects();
        self.step(Input::Ended { client_code }, &mut effects);
        self.worker.keep_effects(effects);
        self.say_gone();
        self.clear_up();
        self.handle.room.notify_waiters();
        self.count_end(end);
        if end.initiator == Initiator::Server && end.code == End::CUT {
            return;
        }
        // A peer that does not answer the close frame is dropped.
        drop(tokio::time::timeout(CLOSE_DEADLINE, poll_fn(|cx| self.link.poll_finish(cx))).await);
    }

    fn frame(&mut self, frame: Inbound, effects: &mut Vec<Effect>) {
        if manner::any_frame_is_alive(self.format) {
            self.step(Input::Alive, effects);
        }
        self.note_alive();
        let wire = match (&frame, carries(self.format)) {
            (Inbound::Binary(bytes), _) if self.relays_binary() => Wire::Binary(bytes),
            (Inbound::Text(text), WireKind::Text) => Wire::Text(text.as_str()),
            (Inbound::Binary(bytes), WireKind::Binary) => Wire::Binary(bytes),
            (Inbound::Text(_), WireKind::Binary) | (Inbound::Binary(_), WireKind::Text) => {
                if let Some(reason) = manner::wrong_kind(self.format, &frame) {
                    self.step(Input::Disconnect(reason), effects);
                } else {
                    self.session.weigh(weight_of(&frame));
                    self.step(Input::Ignored, effects);
                }
                self.count_frame(&frame);
                return;
            }
            (Inbound::Ping | Inbound::Pong, _) => {
                self.control_frame(effects);
                return;
            }
        };
        self.session.weigh(weight_of(&frame));
        let decoded = self.talk.decode(self.format, wire);
        let decoded = decoded.and_then(|command| self.check(command));
        self.count_frame(&frame);
        drop(frame);
        match decoded {
            Ok(command) => {
                self.note_ack(&command);
                if let Some(command) = self.meant(command, effects) {
                    self.step(Input::Command(command), effects);
                }
            }
            Err(refused) if self.is_unsupported(&refused) => {
                self.tell(&Event::Refused(refused));
                self.step(Input::Disconnect(CloseReason::UnsupportedVersion), effects);
            }
            Err(refused) => {
                if refused.code == Code::Forbidden {
                    let session = self.session.id();
                    tracing::info!(%session, "a message in the name of another client was refused");
                }
                self.step(Input::Malformed(refused), effects);
            }
        }
    }

    fn woken(&mut self, effects: &mut Vec<Effect>) {
        for input in self.handle.take_mail() {
            let failed = self.joined(&input).or_else(|| self.confirmed(&input));
            self.ask_for_response(&input);
            self.count_opening(&input);
            self.trace_opening(&input);
            self.admitted(effects);
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

    /// What only time shows: a message that never ends.
    fn look_after(&mut self, effects: &mut Vec<Effect>) {
        let now_ms = self.shared().clock.mono_ms();
        if self.unfinished.is_late(self.link.unfinished(), now_ms) {
            self.step(Input::Disconnect(CloseReason::Policy), effects);
        }
        self.look_at_age();
        self.count_traffic();
    }

    /// One step of the session, and everything that follows from it at once.
    pub(crate) fn step(&mut self, input: Input, effects: &mut Vec<Effect>) {
        let worker = Arc::clone(&self.worker);
        // One moment for all of it.
        let around = worker.shared.around(self.format);
        let mut next = Some(input);
        while let Some(input) = next.take().or_else(|| self.follow_up()) {
            self.session.step(input, &around, effects);
            for effect in effects.drain(..) {
                if let Some(answer) = self.carry_out(effect) {
                    next = Some(answer);
                }
            }
        }
        if self.link.unfinished().is_none() && self.unfinished.rests(around.now.mono_ms) {
            self.count_traffic();
        }
        self.keep_deadline(&around);
    }

    fn update_deadline(&self) {
        self.keep_deadline(&self.worker.shared.around(self.format));
    }

    fn keep_deadline(&self, around: &Surroundings<'_>) {
        let look_ms = self.unfinished.look_at_ms(self.link.unfinished().is_some());
        let last_ms = self.last_ms.unwrap_or(u64::MAX);
        let deadline_ms = self.session.deadline(around).min(look_ms).min(last_ms);
        self.handle.set_deadline(deadline_ms);
        if deadline_ms < self.handle.watched_ms() {
            self.worker.deadlines().watch(&self.handle);
        }
    }

    /// Tells the client in its own form.
    pub(crate) fn tell(&self, event: &Event) {
        let unix_ms = self.worker.shared.clock.unix_ms();
        if let Some(frame) = self.talk.encode(self.format, event, unix_ms) {
            self.handle.outbox.push_control(frame);
        }
        // Where the answer to a resume has no place for what is gone, it is told apart.
        if let (Format::Conversation, Event::Resumed { gaps, .. }) = (self.format, event) {
            for gap in gaps {
                self.tell(&Event::Gap(gap.clone()));
            }
        }
    }

    /// A client of a version that is not served (S2-03).
    fn is_unsupported(&self, refused: &Refused) -> bool {
        self.format == Format::Conversation
            && self.session.is_waiting()
            && refused.code == Code::Unsupported
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

    /// The client broke the framing: it is told in its own form, then with the close code.
    fn refuse(&mut self, violation: Violation) -> End {
        self.tell(&Event::Closing {
            reason: violation.reason,
            resume: self.attached.is_some(),
            retry_after_ms: None,
        });
        let (code, _) = closing(self.format, violation.reason);
        self.link
            .start_close(&self.handle.outbox, code, violation.detail);
        End {
            initiator: Initiator::Server,
            code,
        }
    }

    fn say_goodbye(&mut self, request: CloseRequest) -> u16 {
        let CloseRequest { reason, resume } = request;
        if manner::cuts(self.format, reason) {
            return End::CUT;
        }
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
