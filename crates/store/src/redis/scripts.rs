//! The scripts that run inside Redis, each a file that names its KEYS and ARGV, some with another
//! in front.

use std::sync::LazyLock;

use redis::{Cmd, Pipeline, cmd};

/// A script and its name on the server.
#[derive(Debug)]
pub(super) struct Script {
    text: &'static str,
    digest: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self {
            text,
            digest: redis::Script::new(text).get_hash().to_owned(),
        }
    }

    /// The text, for a connection that runs it once.
    pub(super) const fn text(&self) -> &'static str {
        self.text
    }

    /// A call with these keys; arguments are added by the caller.
    pub(super) fn call(&self, keys: &[String]) -> Cmd {
        let mut call = cmd("EVALSHA");
        call.arg(&self.digest).arg(keys.len()).arg(keys);
        call
    }
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $($file:literal)+;)*) => {
        $($(#[$doc])* pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!($(include_str!(concat!("scripts/", $file))),+))
        });)*

        /// Loads all scripts: EVALSHA in a pipeline has no fallback.
        pub(super) fn load_all() -> Pipeline {
            let mut pipeline = redis::pipe();
            $(pipeline.cmd("SCRIPT").arg("LOAD").arg($name.text);)*
            pipeline
        }
    };
}

scripts! {
    /// Stores and announces messages.
    APPEND = "append.lua";
    /// Notes a new server process.
    GENERATION = "generation.lua";
    /// Notes a new server process that has everything.
    INHERIT = "inherit.lua";
    /// Creates a session.
    OPEN = "open.lua";
    /// Takes a session over.
    CLAIM = "claim.lua";
    /// Changes a session under its epoch.
    REMEMBER = "remember.lua";
    /// Writes a lost session again.
    RESTORE = "restore.lua";
    /// Marks a session as without a connection.
    DETACH = "detach.lua";
    /// Removes a session.
    END = "end.lua";
    /// Removes a session against its owner's will.
    REMOVE = "remove.lua";
    /// Detaches sessions of dead nodes, removes expired ones.
    SWEEP = "sweep.lua";
    /// Moves members of topics.
    PRESENCE = "happened.lua" "presence.lua";
    /// Takes out members whose time is over.
    ABSENT = "happened.lua" "absent.lua";
    /// Writes a record of an application.
    PUT = "put.lua";
    /// Renews or gives up a lease.
    LEASE = "lease.lua";
    /// Lists the leases that hold.
    NODES = "nodes.lua";
    /// Revokes tokens.
    REVOKE = "revoke.lua";
    /// Hands out events.
    TAKE_EVENTS = "take_events.lua";
    /// Forgets events.
    SETTLE_EVENTS = "settle_events.lua";
}
