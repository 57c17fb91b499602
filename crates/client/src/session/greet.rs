//! From a URL to a live session: opening, resuming, beginning anew.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sparkway_protocol::close::Next;
use tokio::time::{Instant, sleep_until, timeout};

use super::Status;
use super::hear::{ErrorFields, Welcome};
use super::machine::Ending;
use super::run::{Order, Task};
use crate::Error;
use crate::error::OpenError;
use crate::frame::{FrameType, ServerFrame};
use crate::observe::Step;
use crate::wire::Wire;

impl Task {
    /// Opens a socket to the next node of the list.
    pub(super) async fn open(&mut self) -> Result<Wire, Order> {
        let urls = Arc::clone(&self.urls);
        let options = Arc::clone(&self.machine.options);
        let url = urls
            .get(self.node % urls.len().max(1))
            .map_or("", |url| &**url);
        self.node = self.node.wrapping_add(1);
        let opening = Wire::open(url, &options.dial);
        tokio::pin!(opening);
        let opened = loop {
            tokio::select! {
                opened = &mut opening => break opened,
                control = self.queues.control.recv() => match self.controlled(control) {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(order) => return Err(order),
                },
            }
        };
        let wire = match opened {
            Ok(wire) => wire,
            Err(error) => {
                self.why = format!("{url}: {error}").into();
                return Err(not_open(url, &error, self.connection > 0).into());
            }
        };
        self.connection += 1;
        self.machine.tally.connections.one();
        self.machine.connection_began();
        self.observe(Step::Opened { url });
        Ok(wire)
    }

    /// Resumes the session, or begins one.
    pub(super) async fn greet(&mut self, wire: &mut Wire) -> Result<(), Order> {
        if !self.machine.options.resume {
            self.machine.session_lost();
        }
        if let Some(ticket) = self.machine.ticket.clone() {
            let settled = self.machine.settled();
            self.machine.is_overlapping = settled != self.machine.positions;
            self.machine.say(
                "ws:resume",
                &json!({
                    "session_id": ticket.session,
                    "heartbeat_token": ticket.token,
                    "last_message_id": settled.wire(),
                }),
            );
            if self.greeted(wire, true).await? {
                return Ok(());
            }
            self.machine.session_lost();
        }
        let source = self.machine.options.token.clone();
        let token = timeout(self.machine.options.silence_within, source.token())
            .await
            .map_err(|_| Ending::again(Next::Backoff))?
            .map_err(|why| Ending::Stop(Error::Auth(why.into())))?;
        match token {
            Some(token) => self.machine.say("ws:connect", &json!({ "token": token })),
            None => self.machine.say("ws:connect", &json!({})),
        }
        self.greeted(wire, false).await.map(|_| ())
    }

    /// Waits for the answer to the first frame. `false`: the session cannot be resumed.
    async fn greeted(&mut self, wire: &mut Wire, is_resume: bool) -> Result<bool, Order> {
        // Requests wait until the session is up.
        while let Some(raw) = self.machine.outgoing.pop_front() {
            self.observe(Step::Sent(&raw));
            self.send(wire, raw).await?;
        }
        let until = Instant::now() + self.machine.options.silence_within;
        loop {
            let incoming = tokio::select! {
                incoming = wire.next() => incoming,
                control = self.queues.control.recv() => match self.controlled(control) {
                    ControlFlow::Continue(()) => continue,
                    ControlFlow::Break(order) => return Err(order),
                },
                () = sleep_until(until) => return Err(Ending::again(Next::Backoff).into()),
            };
            let frame = self.received(incoming)?;
            let Some(frame) = frame else { continue };
            match frame.kind {
                FrameType::ConnectAck | FrameType::ResumeAck => {
                    self.welcome(&frame, is_resume)?;
                    return Ok(true);
                }
                FrameType::ResumeFailed => {
                    if frame.field("reason").as_str() == Some("unavailable") {
                        return Err(Ending::again(Next::Backoff).into());
                    }
                    return Ok(false);
                }
                FrameType::Error => {
                    self.why = frame.data_text().into();
                    return Err(turned_away(&frame).into());
                }
                _ => self.machine.hear(frame, Instant::now()),
            }
        }
    }

    fn welcome(&mut self, frame: &ServerFrame, is_resume: bool) -> Result<(), Order> {
        let welcome: Welcome = frame
            .body
            .parse()
            .map_err(|_| Ending::again(Next::Backoff))?;
        let (session, node) = (welcome.session(), welcome.node());
        self.machine.acknowledge_control(frame);
        self.machine.welcomed(welcome, is_resume, Instant::now());
        self.status.send_replace(Status::Online {
            connection: self.connection,
            session,
            node,
            resumed: is_resume,
        });
        Ok(())
    }
}

/// What a failed opening means. A refused credential or a wrong path stays wrong, but where a
/// node was reached before, it is the network's or a proxy's mistake, and passes.
fn not_open(url: &str, error: &OpenError, was_open: bool) -> Ending {
    match error {
        OpenError::Url(_) => Ending::Stop(Error::Invalid(error.to_string().into())),
        OpenError::Http {
            status: 401 | 403, ..
        } if !was_open => Ending::Stop(Error::Auth(format!("{url}: {error}").into())),
        OpenError::Http {
            status: 400 | 404 | 426,
            ..
        } if !was_open => Ending::Stop(Error::Invalid(format!("{url}: {error}").into())),
        OpenError::Http { retry_after, .. } => Ending::Again {
            next: Next::Backoff,
            wait: retry_after.unwrap_or_default(),
        },
        OpenError::Io(_) | OpenError::Tls(_) | OpenError::Handshake(_) | OpenError::TimedOut(_) => {
            Ending::again(Next::Backoff)
        }
    }
}

/// The gateway refused the first frame.
fn turned_away(frame: &ServerFrame) -> Ending {
    let fields: ErrorFields = frame.body.parse().unwrap_or_default();
    if fields.retryable {
        return Ending::Again {
            next: Next::Backoff,
            wait: Duration::from_millis(fields.retry_after.unwrap_or(0)),
        };
    }
    Ending::Stop(match &*fields.code {
        "unauthorized" | "token_expired" => Error::Auth(fields.message),
        _ => fields.error(),
    })
}
