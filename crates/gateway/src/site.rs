//! Plain HTTP beside what the node answers itself: pages and interfaces that whoever composes the
//! node adds to its listeners.

use std::fmt;
use std::sync::Arc;

use crate::application::Application;
use crate::trace::Spans;

pub use sparkway_socket::{
    BodyError, Decision, Receive, RequestHead, Response, ResponseFuture, Serve, Streamed,
    decode_segment, retry_later, text_response,
};

use crate::desk::Desk;
use crate::shared::Shared;

/// Answers requests that the node itself has no answer for. Asked on an accepting thread: nothing
/// here blocks; what takes time goes into the future of [`Answer::Serve`], with a deadline of its
/// own.
pub trait Site: fmt::Debug + Send + Sync + 'static {
    /// Called once, before the node listens: from here on the site may ask the node for what it
    /// can do.
    fn open(&self, desk: &Desk) {
        let _ = desk;
    }

    /// The answer to a request, or `None` when its path is not of this site.
    fn answer(&self, head: &RequestHead<'_>) -> Option<Answer>;
}

/// How a request is answered.
pub enum Answer {
    /// At once, without reading a body.
    Now(Response),
    /// By a future, once the whole body is there (bounded in bytes and in time by the listener).
    Serve(Serve),
    /// As `Serve`, with a bound of its own, and told when there is no body.
    Receive(Receive),
    /// By something that goes on.
    Stream(Streamed),
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(response) => write!(f, "Now({})", response.status()),
            Self::Serve(_) => f.write_str("Serve"),
            Self::Receive(receive) => receive.fmt(f),
            Self::Stream(streamed) => write!(f, "Stream({})", streamed.head.status()),
        }
    }
}

/// What whoever composes a node adds to it. Sites are asked in order; the first answer counts.
#[derive(Clone, Debug, Default)]
pub struct Sites {
    /// On the public listener, for paths that are no WebSocket route.
    pub public: Vec<Arc<dyn Site>>,
    /// On the internal listener.
    pub internal: Vec<Arc<dyn Site>>,
    /// What answers the calls of the chat dialect.
    pub chat: Option<Arc<dyn Application>>,
    /// Where finished spans go; `None`: nothing is traced.
    pub spans: Option<Arc<dyn Spans>>,
}

/// The first answer among `sites`.
pub(crate) fn ask<A>(sites: &[Arc<dyn Site>], head: &RequestHead<'_>) -> Option<Decision<A>> {
    sites
        .iter()
        .find_map(|site| site.answer(head))
        .map(|answer| match answer {
            Answer::Now(response) => Decision::Respond(response),
            Answer::Serve(serve) => Decision::Serve(serve),
            Answer::Receive(receive) => Decision::Receive(receive),
            Answer::Stream(streamed) => Decision::Stream(streamed),
        })
}

impl Shared {
    /// Tells every site of its node.
    pub(crate) fn open_sites(self: &Arc<Self>) {
        let desk = Desk::new(self);
        for site in self.sites.internal.iter().chain(&self.sites.public) {
            site.open(&desk);
        }
    }
}
