//! The chat dialect and its application.

use std::time::Duration;

/// Who is told that a user came online or went offline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PresenceScope {
    /// Everybody.
    #[default]
    All,
    /// Users who have a conversation with him.
    Contacts,
}

impl PresenceScope {
    /// All choices.
    pub const ALL: [Self; 2] = [Self::All, Self::Contacts];

    /// The word in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Contacts => "contacts",
        }
    }
}

/// Which users exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChatUsers {
    /// Those who registered.
    #[default]
    Registered,
    /// Everybody with a valid token: it says who he is (`sub`, `username`, `avatar`).
    Claims,
}

impl ChatUsers {
    /// All choices.
    pub const ALL: [Self; 2] = [Self::Registered, Self::Claims];

    /// The word in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Claims => "claims",
        }
    }
}

/// When a message counts as delivered to a client of the native dialect. In the chat dialect it
/// does when it is written: that has no acks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeliveredOn {
    /// Never: only what is written to a chat connection counts.
    #[default]
    Written,
    /// When it acknowledges the message in the user's inbox topic.
    Ack,
}

impl DeliveredOn {
    /// All choices.
    pub const ALL: [Self; 2] = [Self::Written, Self::Ack];

    /// The word in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Ack => "ack",
        }
    }
}

/// What the chat does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatSettings {
    /// Time between two pings of the node. Default 30 s, as in source 4. A connection from which
    /// nothing comes for twice this is dropped.
    pub ping_interval: Duration,
    /// How long a user without connection is still online. Default 5 s: a page that is loaded again
    /// makes nobody go and come.
    pub presence_grace: Duration,
    /// Who is told of whom. Default `all`, as in source 4.
    pub presence_scope: PresenceScope,
    /// Up to so many users online everybody is sent the whole list when somebody went. Default 200:
    /// beyond it, changes are told once per second and without the list.
    pub online_users_broadcast_limit: u64,
    /// Whether what was sent to a user while he was offline is sent when he connects. Default yes.
    pub deliver_pending: bool,
    /// What counts as delivered beside a write to a chat connection. Default nothing.
    pub delivered_on: DeliveredOn,
    /// Which users exist. Default `registered`.
    pub users: ChatUsers,
    /// Newest messages that a conversation keeps. Default none: all of them.
    pub history_entries: Option<u32>,
    /// How long a conversation keeps messages. Default none: for ever.
    pub history_age: Option<Duration>,
    /// How long a token lasts that the chat gives out. Default 24 h.
    pub token_lifetime: Duration,
    /// Registrations from one address in a minute, per node. Default 20: an office behind one
    /// address, and not a machine that fills the list of users.
    pub registrations_per_address: Option<u32>,
    /// Logins from one address in a minute, per node. Default 60.
    pub logins_per_address: Option<u32>,
    /// Failed logins to one account in a minute, per node. Default 10: who knows the password is
    /// kept out for seconds only, and who guesses it has no chance.
    pub failed_logins_per_account: Option<u32>,
}

impl Default for ChatSettings {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(30),
            presence_grace: Duration::from_secs(5),
            presence_scope: PresenceScope::default(),
            online_users_broadcast_limit: 200,
            deliver_pending: true,
            delivered_on: DeliveredOn::default(),
            users: ChatUsers::default(),
            history_entries: None,
            history_age: None,
            token_lifetime: Duration::from_hours(24),
            registrations_per_address: Some(20),
            logins_per_address: Some(60),
            failed_logins_per_account: Some(10),
        }
    }
}
