//! Requests under way: each keeps its frame, and so its id, until it is answered for good.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::Error;
use crate::wire::RawMessage;

/// What may be done with a request whose answer was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Stored once per session however often it is sent.
    Publish,
    /// The same however often it is sent.
    Repeatable,
    /// Never sent twice.
    Once,
    /// Follows these topics.
    Subscribe(Vec<Arc<str>>),
    /// Leaves these topics.
    Unsubscribe(Vec<Arc<str>>),
}

/// A request, encoded once.
#[derive(Debug)]
pub(crate) struct Request {
    /// Its frame id.
    pub(crate) id: Box<str>,
    /// Its frame.
    pub(crate) frame: RawMessage,
    /// What may be done with it.
    pub(crate) kind: Kind,
    /// Who waits for the result, if anybody.
    pub(crate) reply: Option<oneshot::Sender<Result<Value, Error>>>,
}

impl Request {
    /// Answers whoever waits. He may be gone: then nobody needs the answer.
    pub(crate) fn answer(self, result: Result<Value, Error>) {
        if let Some(reply) = self.reply {
            let _ = reply.send(result);
        }
    }

    fn is_forsaken(&self) -> bool {
        self.reply.as_ref().is_some_and(oneshot::Sender::is_closed)
    }
}

/// A request and how often it was tried.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) request: Request,
    pub(crate) is_sent: bool,
    pub(crate) attempt: u32,
    retry_at: Option<Instant>,
}

/// A request to be written now.
#[derive(Debug)]
pub(crate) struct Ready<'a> {
    pub(crate) frame: RawMessage,
    /// Whether it was written before.
    pub(crate) is_repeated: bool,
    /// The topics it asks for.
    pub(crate) topics: &'a [Arc<str>],
}

/// All requests under way, in the order they were made.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    all: BTreeMap<u64, Pending>,
    place: HashMap<Box<str>, u64>,
    ready: VecDeque<u64>,
    last: u64,
}

impl Requests {
    /// How many are under way.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Takes a request on; it is ready to be sent.
    pub(crate) fn add(&mut self, request: Request) {
        self.last += 1;
        if let Some(old) = self.place.insert(request.id.clone(), self.last)
            && let Some(old) = self.all.remove(&old)
        {
            old.request.answer(Err(Error::Invalid(
                "the frame id is in use by a later request".into(),
            )));
        }
        self.ready.push_back(self.last);
        self.all.insert(
            self.last,
            Pending {
                request,
                is_sent: false,
                attempt: 0,
                retry_at: None,
            },
        );
    }

    /// The next request to send.
    pub(crate) fn pop_ready(&mut self) -> Option<Ready<'_>> {
        let place = loop {
            let place = self.ready.pop_front()?;
            let Some(pending) = self.all.get(&place) else {
                continue;
            };
            if !pending.request.is_forsaken() {
                break place;
            }
            if let Some(gone) = self.all.remove(&place) {
                self.place.remove(&gone.request.id);
            }
        };
        let pending = self.all.get_mut(&place)?;
        let is_repeated = pending.is_sent || pending.attempt > 0;
        pending.is_sent = true;
        pending.retry_at = None;
        let topics = match &pending.request.kind {
            Kind::Subscribe(topics) => topics.as_slice(),
            Kind::Publish | Kind::Repeatable | Kind::Once | Kind::Unsubscribe(_) => &[],
        };
        Some(Ready {
            frame: pending.request.frame.clone(),
            is_repeated,
            topics,
        })
    }

    /// Ends the request with this id.
    pub(crate) fn take(&mut self, id: &str) -> Option<Pending> {
        self.all.remove(&self.place.remove(id)?)
    }

    /// Keeps a request for another try at `at`.
    pub(crate) fn later(&mut self, mut pending: Pending, at: Instant) {
        pending.attempt += 1;
        pending.is_sent = false;
        pending.retry_at = Some(at);
        self.last += 1;
        self.place.insert(pending.request.id.clone(), self.last);
        self.all.insert(self.last, pending);
    }

    /// When the next retry is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.all
            .values()
            .filter_map(|pending| pending.retry_at)
            .min()
    }

    /// Makes ready what is due.
    pub(crate) fn wake(&mut self, now: Instant) {
        for (place, pending) in &mut self.all {
            if pending.retry_at.is_some_and(|at| at <= now) {
                pending.retry_at = None;
                self.ready.push_back(*place);
            }
        }
    }

    /// The session goes on over a new connection: what is unanswered is sent again under the same
    /// ids. Requests that must not be sent twice end.
    pub(crate) fn resumed(&mut self) {
        self.restart(|pending| !(pending.is_sent && pending.request.kind == Kind::Once));
    }

    /// The session is a new one: ids sent in the old one mean nothing in it. Requests whose
    /// repetition could act twice end.
    pub(crate) fn begun_anew(&mut self) {
        self.restart(|pending| {
            let may_act_twice = matches!(pending.request.kind, Kind::Publish | Kind::Once);
            !(may_act_twice && (pending.is_sent || pending.attempt > 0))
        });
    }

    fn restart(&mut self, keeps: impl Fn(&Pending) -> bool) {
        self.ready.clear();
        for (place, pending) in std::mem::take(&mut self.all) {
            if keeps(&pending) {
                self.ready.push_back(place);
                self.all.insert(place, pending);
            } else {
                self.place.remove(&pending.request.id);
                pending.request.answer(Err(Error::Uncertain));
            }
        }
    }

    /// Ends every request.
    pub(crate) fn fail_all(&mut self, error: &Error) {
        self.place.clear();
        self.ready.clear();
        for (_, pending) in std::mem::take(&mut self.all) {
            pending.request.answer(Err(error.clone()));
        }
    }
}
