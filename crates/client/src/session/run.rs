//! The task: opens sockets, keeps them for as long as they last, and lets the machine decide.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use sparkway_protocol::close::Next;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::machine::{Ending, Machine};
use super::{Control, Cut, Queues, Status};
use crate::Error;
use crate::counts::Tally;
use crate::frame::ServerFrame;
use crate::handle::FrameIds;
use crate::observe::Step;
use crate::options::Options;
use crate::wire::{Closed, Incoming, RawMessage, Wire};

/// Whether the backoff starts over after a connection that lived this long: a line that breaks
/// must have held for 1 s, a gateway that turns the client away must have borne it for 5 s.
fn is_fresh_start(order: &Order, lived: Duration) -> bool {
    match order {
        Order::Ended(Ending::Again {
            next: Next::Resume, ..
        }) => lived >= Duration::from_secs(1),
        Order::Ended(_) => lived >= Duration::from_secs(5),
        Order::Cut { .. } | Order::Close(_) | Order::Abandon(_) => true,
    }
}

/// Starts the task of a client. It ends when the client is closed, or refused for good.
pub(crate) fn spawn(
    urls: Arc<[Box<str>]>,
    options: Arc<Options>,
    tally: Arc<Tally>,
    ids: FrameIds,
    ends: (Queues, watch::Sender<Status>),
) {
    let (queues, status) = ends;
    let mut machine = Machine::new(options, tally, ids);
    let node = machine.first_node(urls.len());
    let task = Task {
        machine,
        queues,
        status,
        urls,
        node,
        connection: 0,
        attempt: 0,
        why: "".into(),
        held: None,
        takes_requests: true,
    };
    drop(tokio::spawn(task.run()));
}

/// The task's state: the machine, and everything that the machine must not know.
pub(super) struct Task {
    pub(super) machine: Machine,
    pub(super) queues: Queues,
    pub(super) status: watch::Sender<Status>,
    pub(super) urls: Arc<[Box<str>]>,
    /// Which URL is next.
    pub(super) node: usize,
    pub(super) connection: u64,
    /// Attempts since the last live connection.
    attempt: u32,
    /// Why the last connection ended, for people.
    pub(super) why: Arc<str>,
    /// A socket that a test left half-open.
    held: Option<Wire>,
    /// Whether somebody can still make requests.
    takes_requests: bool,
}

/// What ends the work on a connection, or on having one.
pub(super) enum Order {
    Ended(Ending),
    Cut {
        cut: Cut,
        away: Duration,
        done: oneshot::Sender<()>,
    },
    /// End the session; nobody may wait for it.
    Close(Option<oneshot::Sender<()>>),
    Abandon(oneshot::Sender<()>),
}

impl From<Ending> for Order {
    fn from(ending: Ending) -> Self {
        Self::Ended(ending)
    }
}

impl Task {
    async fn run(mut self) {
        let mut wait = Duration::ZERO;
        let error = loop {
            let order = match self.stay_away(wait).await {
                ControlFlow::Continue(()) => Box::pin(self.one_connection()).await,
                ControlFlow::Break(order) => order,
            };
            match order {
                Order::Ended(Ending::Again { next, wait: hint }) => {
                    wait = self.machine.delay(next, self.attempt, hint);
                    self.attempt = self.attempt.saturating_add(1);
                    self.tell_away();
                }
                Order::Ended(Ending::Stop(error)) => break error,
                Order::Cut { away, done, .. } => {
                    wait = away;
                    self.tell_away();
                    let _ = done.send(());
                }
                Order::Close(done) => {
                    if let Some(done) = done {
                        let _ = done.send(());
                    }
                    break closed_here();
                }
                Order::Abandon(done) => {
                    let _ = done.send(());
                    break closed_here();
                }
            }
        };
        self.machine.requests.fail_all(&error);
        self.queues.control.close();
        self.queues.requests.close();
        self.status.send_replace(Status::Closed(error.clone()));
        while let Some(request) = self.queues.requests.recv().await {
            request.answer(Err(error.clone()));
        }
    }

    fn tell_away(&self) {
        self.status.send_replace(Status::Away {
            attempt: self.attempt,
            why: Arc::clone(&self.why),
        });
    }

    /// Waits between two connections; what the handle asks meanwhile is kept for the next one.
    async fn stay_away(&mut self, wait: Duration) -> ControlFlow<Order> {
        let until = Instant::now() + wait;
        if wait.is_zero() {
            return ControlFlow::Continue(());
        }
        loop {
            tokio::select! {
                () = sleep_until(until) => return ControlFlow::Continue(()),
                control = self.queues.control.recv() => self.controlled(control)?,
            }
        }
    }

    pub(super) fn controlled(&mut self, control: Option<Control>) -> ControlFlow<Order> {
        match control {
            None => ControlFlow::Break(Order::Close(None)),
            Some(Control::Close { done }) => ControlFlow::Break(Order::Close(Some(done))),
            Some(Control::Abandon { done }) => ControlFlow::Break(Order::Abandon(done)),
            Some(Control::Cut { cut, away, done }) => {
                ControlFlow::Break(Order::Cut { cut, away, done })
            }
            Some(other) => {
                self.machine.follow(other);
                ControlFlow::Continue(())
            }
        }
    }

    /// One connection from its opening to its end.
    async fn one_connection(&mut self) -> Order {
        let mut wire = match self.open().await {
            Ok(wire) => wire,
            Err(order) => return order,
        };
        let order = match self.greet(&mut wire).await {
            Ok(()) => {
                let began = Instant::now();
                let order = self.live(&mut wire).await;
                if is_fresh_start(&order, began.elapsed()) {
                    self.attempt = 0;
                }
                order
            }
            Err(order) => order,
        };
        self.leave(wire, &order).await;
        order
    }

    /// A live session, until something ends it.
    async fn live(&mut self, wire: &mut Wire) -> Order {
        match self.live_until_ended(wire).await {
            Ok(never) => match never {},
            Err(order) => order,
        }
    }

    async fn live_until_ended(&mut self, wire: &mut Wire) -> Result<Infallible, Order> {
        let wake = sleep_until(self.machine.next_wake());
        tokio::pin!(wake);
        loop {
            self.flush(wire).await?;
            let next = self.machine.next_wake();
            if wake.deadline() != next {
                wake.as_mut().reset(next);
            }
            let has_room = self.machine.requests.len() < self.machine.options.requests_max;
            // No order between the arms: each makes progress, and none can starve the others.
            tokio::select! {
                incoming = wire.next() => {
                    if let Some(frame) = self.received(incoming)? {
                        self.machine.hear(frame, Instant::now());
                    }
                }
                control = self.queues.control.recv() => match self.controlled(control) {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(order) => return Err(order),
                },
                request = self.queues.requests.recv(), if has_room && self.takes_requests => {
                    match request {
                        Some(request) => self.machine.requests.add(request),
                        None => self.takes_requests = false,
                    }
                }
                () = &mut wake => self.machine.tick(Instant::now())?,
            }
        }
    }

    /// Looks at what came: a frame, nothing of interest, or the end.
    pub(super) fn received(&mut self, incoming: Incoming) -> Result<Option<ServerFrame>, Ending> {
        self.observe(Step::Received(&incoming));
        match incoming {
            Incoming::Frame(frame) => Ok(Some(frame)),
            Incoming::Other(_) => {
                self.machine.tally.oddities.one();
                Ok(None)
            }
            Incoming::Closed(closed) => {
                self.observe(Step::Closed(&closed));
                self.why = closed.to_string().into();
                Err(self.machine.after(&closed))
            }
        }
    }

    /// Writes everything that waits. A line that takes nothing for too long is dead.
    async fn flush(&mut self, wire: &mut Wire) -> Result<(), Ending> {
        while let Some(raw) = self.machine.next_outgoing() {
            self.observe(Step::Sent(&raw));
            self.send(wire, raw).await?;
        }
        Ok(())
    }

    pub(super) async fn send(&self, wire: &mut Wire, raw: RawMessage) -> Result<(), Ending> {
        match timeout(self.machine.options.silence_within, wire.send_raw(raw)).await {
            // After a failed write, what the node said before it closed is read first.
            Ok(Ok(()) | Err(_)) => Ok(()),
            Err(_) => Err(Ending::again(Next::Resume)),
        }
    }

    /// Ends a connection as the order asks.
    async fn leave(&mut self, mut wire: Wire, order: &Order) {
        match order {
            Order::Close(_) => {
                // The node's own close is not awaited for long: it knows that the session is over.
                let _ = timeout(Duration::from_secs(2), async {
                    if wire.close(1000, "").await.is_ok() {
                        while !matches!(wire.next().await, Incoming::Closed(_)) {}
                    }
                })
                .await;
            }
            Order::Cut { cut, .. } => {
                self.observe(Step::Cut);
                match cut {
                    Cut::Reset => wire.cut(),
                    Cut::Fin => drop(wire),
                    Cut::HalfOpen => self.held = Some(wire),
                }
            }
            Order::Abandon(_) => {
                self.observe(Step::Cut);
                wire.cut();
            }
            // Never 1000, which would end the session.
            Order::Ended(_) => {
                let _ = timeout(
                    Duration::from_millis(200),
                    wire.close(1001, "resumes elsewhere"),
                )
                .await;
            }
        }
    }

    pub(super) fn observe(&self, step: Step<'_>) {
        if let Some(observer) = &self.machine.options.observer {
            observer.tell(self.connection, step);
        }
    }
}

fn closed_here() -> Error {
    let closed = Closed {
        code: Some(1000),
        reason: "closed by this client".to_owned(),
    };
    Error::Closed {
        code: closed.code,
        reason: closed.reason.into(),
    }
}
