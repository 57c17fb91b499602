//! What an operator can set about hooks.

use std::time::Duration;

use sparkway_metrics::Hook;
use sparkway_outbound::Target;

use crate::Secret;

/// What happens to a client when the backend cannot be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// It is refused for now and may try again.
    #[default]
    Deny,
    /// As if the hook had said yes.
    Allow,
    /// As the backend answered last for the same question, if it lately did; else refused.
    Cached,
}

impl OnError {
    /// All choices.
    pub const ALL: [Self; 3] = [Self::Deny, Self::Allow, Self::Cached];

    /// The word in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Allow => "allow",
            Self::Cached => "cached",
        }
    }
}

/// Where each hook is asked; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookUrls {
    /// Whether somebody may connect, and who he is.
    pub connect: Option<Target>,
    /// Whether a session may subscribe to topics whose namespace says `hook`.
    pub subscribe: Option<Target>,
    /// Whether a session may publish in topics whose namespace says `hook`.
    pub publish: Option<Target>,
    /// For the response to a message of a conversation.
    pub message: Option<Target>,
    /// For the result of a call.
    pub rpc: Option<Target>,
    /// Whether a credential that runs out goes on.
    pub refresh: Option<Target>,
    /// Told what happened.
    pub events: Option<Target>,
}

impl HookUrls {
    /// The URL of a hook.
    #[must_use]
    pub const fn of(&self, hook: Hook) -> Option<&Target> {
        match hook {
            Hook::Connect => self.connect.as_ref(),
            Hook::Subscribe => self.subscribe.as_ref(),
            Hook::Publish => self.publish.as_ref(),
            Hook::Message => self.message.as_ref(),
            Hook::Rpc => self.rpc.as_ref(),
            Hook::Refresh => self.refresh.as_ref(),
            Hook::Events => self.events.as_ref(),
        }
    }

    /// Whether any hook is set.
    #[must_use]
    pub fn any(&self) -> bool {
        Hook::ALL.iter().any(|hook| self.of(*hook).is_some())
    }
}

/// What the application's backends are asked, and how.
#[derive(Clone, Debug)]
pub struct HookSettings {
    /// Where.
    pub urls: HookUrls,
    /// Signs every request. Needed as soon as one URL is set.
    pub secret: Option<Secret>,
    /// Signs every request, too, while the backends learn a new secret. Default none.
    pub previous_secret: Option<Secret>,
    /// How long connect, subscribe, publish and refresh may take. Default 1 s: a client waits.
    pub timeout: Duration,
    /// How long a call may take. Default 5 s.
    pub call_timeout: Duration,
    /// How long the delivery of events may take. Default 5 s.
    pub events_timeout: Duration,
    /// Requests of one hook under way at once on this node. Default 64; others wait, within their
    /// deadline.
    pub concurrency: usize,
    /// What follows when the connect hook cannot be asked. Default deny.
    pub connect_on_error: OnError,
    /// What follows when the subscribe hook cannot be asked. Default deny.
    pub subscribe_on_error: OnError,
    /// What follows when the publish hook cannot be asked. Default deny; `cached` is deny.
    pub publish_on_error: OnError,
    /// How long an answer counts for the policy `cached`. Default 10 min.
    pub cache: Duration,
    /// Headers of the handshake that hooks are shown, lower case. Default none.
    pub transport_headers: Vec<String>,
    /// Headers that a client claims in `ws:connect` and hooks are shown, lower case. Default none.
    pub claimed_headers: Vec<String>,
    /// The events that are told. Default all.
    pub events: Vec<Box<str>>,
    /// How long an event is tried to be delivered. Default 1 h; then it is a dead letter.
    pub events_retry: Duration,
}

impl HookSettings {
    /// Most names in one list of headers.
    pub const HEADERS_MAX: usize = 16;
    /// Longest value of a header that hooks are shown, in bytes; a longer one is left out.
    pub const HEADER_BYTES_MAX: usize = 4096;
    /// The events that there are.
    pub const EVENTS: [&str; 7] = [
        "session.opened",
        "session.closed",
        "session.expired",
        "topic.occupied",
        "topic.vacated",
        "presence.joined",
        "presence.left",
    ];
}

impl Default for HookSettings {
    fn default() -> Self {
        Self {
            urls: HookUrls::default(),
            secret: None,
            previous_secret: None,
            timeout: Duration::from_secs(1),
            call_timeout: Duration::from_secs(5),
            events_timeout: Duration::from_secs(5),
            concurrency: 64,
            connect_on_error: OnError::Deny,
            subscribe_on_error: OnError::Deny,
            publish_on_error: OnError::Deny,
            cache: Duration::from_mins(10),
            transport_headers: Vec::new(),
            claimed_headers: Vec::new(),
            events: Self::EVENTS.map(Box::from).into(),
            events_retry: Duration::from_hours(1),
        }
    }
}
