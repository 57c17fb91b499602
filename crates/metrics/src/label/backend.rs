//! Labels of what the application's backends are asked.

use super::Label;

labels! {
    /// What a backend is asked.
    Hook "hook" {
        /// Whether somebody may connect.
        Connect = "connect",
        /// Whether a session may subscribe.
        Subscribe = "subscribe",
        /// Whether a session may publish.
        Publish = "publish",
        /// For the response to a message.
        Message = "message",
        /// For the result of a call.
        Rpc = "rpc",
        /// Whether a credential that runs out goes on.
        Refresh = "refresh",
        /// Nothing: it is told what happened.
        Events = "events",
    }
    /// How a question to a backend ended.
    HookResult "result" {
        /// Answered.
        Ok = "ok",
        /// Answered with no.
        Denied = "denied",
        /// Not answered in time.
        Timeout = "timeout",
        /// Not reached, or answered with an error.
        Error = "error",
        /// Answered with something that is no answer.
        Invalid = "invalid",
        /// Not asked: it failed too often lately.
        CircuitOpen = "circuit_open",
        /// Not asked: too many others waited for an answer.
        Busy = "busy",
    }
    /// How the keys of an issuer were fetched.
    FetchResult "result" {
        /// They are known now.
        Ok = "ok",
        /// What was known stays.
        Failed = "failed",
    }
}
