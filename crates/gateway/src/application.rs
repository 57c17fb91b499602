//! An application of the gateway: the other side of a dialect whose frames are calls, such as the
//! chat. The gateway keeps connections, sessions, logs and presence; the application says who may
//! come in and what a call does.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use sparkway_auth::{Admission, AuthError, Mode};
pub use sparkway_frame::Framed;
pub use sparkway_metrics::RateScope;
use sparkway_protocol::{
    CloseReason, Ephemeral, Epoch, MessageId, Payload, PresenceChange, SessionId, TopicName, UserId,
};
use sparkway_socket::RequestHead;
use sparkway_store::{BoxFuture, SharedStore, StoreError};

use crate::address;
use crate::attached::Attached;
use crate::drain::Phase;
use crate::guests::network_of;
use crate::settings::Settings;
use crate::shared::Shared;

/// What an application decides. All methods may be called from any thread; what waits has a
/// deadline of its own.
pub trait Application: fmt::Debug + Send + Sync + 'static {
    /// The node has started and serves this application from now on.
    fn begin(&self, host: Host);

    /// Who wants in with this credential, or why the connection is closed.
    fn admit<'a>(&'a self, token: Option<&'a str>)
    -> BoxFuture<'a, Result<Admission, CloseReason>>;

    /// The visitor's session is registered; nothing was told yet, and no frame of his is taken
    /// before this is answered: with the place in his inbox topic from which he is given what it
    /// holds, or why the connection is closed.
    fn welcome(&self, visitor: Visitor) -> BoxFuture<'_, Result<MessageId, CloseReason>>;

    /// A frame of the visitor; those of one visitor come one after the other.
    fn call(&self, visitor: Visitor, method: Box<str>, params: Payload) -> BoxFuture<'_, ()>;

    /// Everything of his inbox up to this entry is written to the visitor's connection.
    fn written(&self, visitor: Visitor, up_to: MessageId) -> BoxFuture<'_, ()>;

    /// A client of the native dialect that is given the visitor's inbox from `from` on has
    /// acknowledged it up to this entry.
    fn acknowledged(
        &self,
        visitor: Visitor,
        from: MessageId,
        up_to: MessageId,
    ) -> BoxFuture<'_, ()>;

    /// The connection is gone.
    fn gone(&self, visitor: &Visitor);

    /// Somebody came online anywhere, or went offline. Does not wait.
    fn changed(&self, change: &PresenceChange);
}

/// What an application asks of its node.
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
}

impl fmt::Debug for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Host")
            .field("node", &self.shared.id)
            .finish_non_exhaustive()
    }
}

impl Host {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
        }
    }

    /// What holds on this node.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The store of the cluster.
    #[must_use]
    pub fn store(&self) -> &SharedStore {
        &self.shared.store
    }

    /// The present in Unix milliseconds.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.shared.clock.unix_ms()
    }

    /// Milliseconds since the node was started: they go on whatever happens to the clock.
    #[must_use]
    pub fn mono_ms(&self) -> u64 {
        self.shared.clock.mono_ms()
    }

    /// Where a request comes from, as far as trusted proxies say: of IPv6 the network of 64 bits,
    /// since whoever has one of its addresses has all of them.
    #[must_use]
    pub fn network_of(&self, head: &RequestHead<'_>) -> IpAddr {
        let trusted = &self.shared.settings.server.trusted_proxies;
        network_of(address::of_client(head, trusted))
    }

    /// Counts a request that was turned away for being one too many.
    pub fn count_limited(&self, scope: RateScope) {
        let session = &self.shared.metrics.session;
        session.rate_limited.at(scope).inc();
    }

    /// Checks a token against the keys and the revocations of the node.
    ///
    /// # Errors
    /// [`AuthError`]: turn the client away.
    pub fn admit(&self, token: &str) -> Result<Admission, AuthError> {
        self.shared.admit(Some(token), Mode::Required)
    }

    /// Whether what a token says who he is was revoked.
    #[must_use]
    pub fn is_revoked(&self, admission: &Admission) -> bool {
        let mark = admission.pass().mark;
        self.shared.covers(admission.user(), &mark)
    }

    /// Tells everybody who has this user's inbox open something that is not kept.
    ///
    /// # Errors
    /// [`StoreError`]: it may or may not have been told.
    ///
    /// # Cancel safety
    /// Dropped, it may or may not have been told.
    pub async fn tell(&self, user: &UserId, payload: Payload) -> Result<(), StoreError> {
        let Some(topic) = inbox(user) else {
            return Ok(());
        };
        let message = Ephemeral {
            topic,
            from: None,
            origin: None,
            exclude_origin: false,
            payload,
        };
        self.shared.store.announce(message).await
    }

    /// Runs something beside, among the tasks of the node.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.shared.tasks.spawn(task);
    }

    /// Runs something beside until the node has closed its connections: what never ends by itself
    /// would be waited for in vain then.
    ///
    /// # Cancel safety
    /// The task is dropped at whatever it waits for.
    pub fn spawn_while_serving(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut phase = self.shared.phase.subscribe();
        self.spawn(async move {
            tokio::select! {
                () = task => {}
                _ = phase.wait_for(|phase| *phase >= Phase::Flushing) => {}
            }
        });
    }
}

/// A connection of the application's dialect.
#[derive(Clone)]
pub struct Visitor {
    attached: Arc<Attached>,
    user: UserId,
}

impl fmt::Debug for Visitor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = out.debug_struct("Visitor");
        out.field("user", &self.user)
            .field("session", &self.attached.session);
        out.finish_non_exhaustive()
    }
}

impl Visitor {
    /// The visitor on a connection; `None` where nobody said who he is.
    pub(crate) fn of(attached: &Arc<Attached>) -> Option<Self> {
        Some(Self {
            user: attached.user.clone()?,
            attached: Arc::clone(attached),
        })
    }

    /// Who he is.
    #[must_use]
    pub const fn user(&self) -> &UserId {
        &self.user
    }

    /// His session; another connection of his is another one.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.attached.session
    }

    /// Under which epoch he writes.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.attached.epoch()
    }

    /// Tells him something on this connection. What finds no room is dropped with the connection.
    pub fn tell(&self, frame: Framed) {
        self.attached.handle.outbox.push_control(frame);
    }

    /// His session has another owner: ends the connection.
    pub fn replaced(&self) {
        let epoch = Epoch(u64::MAX);
        self.attached
            .handle
            .post(sparkway_session::Input::Superseded { epoch });
    }

    /// Whether the connection is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.attached.is_over()
    }
}

/// The topic in which a user is told what he must not miss; `None` where his id is no part of a
/// topic's name.
#[must_use]
pub fn inbox(user: &UserId) -> Option<TopicName> {
    TopicName::parse(&format!("$user:{user}")).ok()
}

/// The topic whose members are the visitors of all nodes.
#[must_use]
pub fn lobby() -> Option<TopicName> {
    TopicName::parse("$chat").ok()
}
