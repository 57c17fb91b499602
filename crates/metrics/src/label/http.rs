//! Labels of the HTTP API.

use super::Label;

labels! {
    /// The pattern of a path; several operations share it.
    HttpRoute "route" {
        /// Publish one message.
        Publish = "/v1/publish",
        /// Publish several.
        PublishBatch = "/v1/publish/batch",
        /// Publish the same in several topics.
        Broadcast = "/v1/broadcast",
        /// List topics.
        Topics = "/v1/topics",
        /// One topic.
        Topic = "/v1/topics/{topic}",
        /// The log of a topic.
        History = "/v1/topics/{topic}/history",
        /// Who is in a topic.
        Presence = "/v1/topics/{topic}/presence",
        /// List sessions.
        Sessions = "/v1/sessions",
        /// One session, and what is done to it.
        Session = "/v1/sessions/{session}",
        /// All sessions of a user.
        User = "/v1/users/{user}",
        /// Revoke tokens.
        Revoke = "/v1/tokens/revoke",
        /// List nodes.
        Nodes = "/v1/nodes",
        /// Drain a node.
        Drain = "/v1/nodes/{node}/drain",
        /// What this node is, and its configuration.
        Info = "/v1/info",
        /// What is traced in any case.
        Trace = "/v1/trace",
        /// The live tail.
        Events = "/v1/events",
        /// Everything else, such as paths that there are not.
        Other = "other",
    }
    /// What a request was answered.
    HttpStatus "status" {
        /// Done.
        Success = "2xx",
        /// No such path, topic, session or node.
        NotFound = "404",
        /// No key, or not the scope.
        Auth = "401",
        /// Too many or too fast.
        Limit = "429",
        /// Any other fault of the caller.
        Client = "4xx",
        /// A fault of this side; most are worth a repetition.
        Server = "5xx",
    }
}

impl HttpStatus {
    /// The class of a status code; 403 counts as 401.
    #[must_use]
    pub const fn of(status: u16) -> Self {
        match status {
            404 => Self::NotFound,
            401 | 403 => Self::Auth,
            429 => Self::Limit,
            400..500 => Self::Client,
            500.. => Self::Server,
            _ => Self::Success,
        }
    }
}
