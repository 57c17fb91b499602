//! Defects that can be planted into a node, so that it can be seen that the chaos run finds each of
//! them (`make chaos-selftest`).
//!
//! *In*: the name of one defect in the environment, `SPARKWAY_PLANTED`. *Out*: whether the code
//! that asks is to be wrong. *Guarantees*: only with the feature `planted`, which nothing that is
//! shipped has (`tests/architecture.rs`); without it every answer is no when the code is compiled.

/// What is wrong with the node. Each is one rule of the design that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// A resumed session is live before what it missed has been read.
    NoGate,
    /// A push is lost now and then, and nobody looks whether an entry continues the one before.
    NoBackLink,
    /// A publish counts as stored although the store did not answer.
    EarlyAck,
    /// Publishes carry no epoch, and who lost a session is not told: nothing fences it.
    NoFence,
    /// What was published while the subscriber connection was gone is not read.
    NoRepair,
    /// The tip of a topic is read before its subscription holds.
    NoBarrier,
    /// What was handed to the socket counts as received by the client.
    DeliveryCursor,
    /// A repeated publish is a new one.
    NoIdempotency,
    /// A server that came back without its newest writes is not noticed.
    NoGeneration,
    /// What a session missed comes topic by topic instead of in the order of ids.
    NoMerge,
    /// What came between the last read for a resumed session and its going live is not for it.
    JoinAfterRead,
    /// What is read for a resumed session is given up to the log's end, not to the worker's position.
    ReadWithoutBound,
    /// A new topic is used before it is live on the node.
    NewTopicUnawaited,
    /// A resumed session is not spared live what it has already.
    NoResumeFilter,
    /// After a reconnect other topics go on before what was missed has been read.
    RepairGoesOn,
}

impl Defect {
    /// The name in the environment.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoGate => "no-gate",
            Self::NoBackLink => "no-back-link",
            Self::EarlyAck => "early-ack",
            Self::NoFence => "no-fence",
            Self::NoRepair => "no-repair",
            Self::NoBarrier => "no-barrier",
            Self::DeliveryCursor => "delivery-cursor",
            Self::NoIdempotency => "no-idempotency",
            Self::NoGeneration => "no-generation",
            Self::NoMerge => "no-merge",
            Self::JoinAfterRead => "join-after-read",
            Self::ReadWithoutBound => "read-without-bound",
            Self::NewTopicUnawaited => "new-topic-unawaited",
            Self::NoResumeFilter => "no-resume-filter",
            Self::RepairGoesOn => "repair-goes-on",
        }
    }

    /// Whether it was planted.
    #[cfg(feature = "planted")]
    #[must_use]
    pub fn is_planted(self) -> bool {
        static PLANTED: std::sync::LazyLock<Option<String>> =
            std::sync::LazyLock::new(|| std::env::var("SPARKWAY_PLANTED").ok());
        PLANTED.as_deref() == Some(self.name())
    }

    /// Whether it was planted: never.
    #[cfg(not(feature = "planted"))]
    #[must_use]
    pub const fn is_planted(self) -> bool {
        false
    }

    /// Whether the back link is not looked at: planted by itself, and with the missing barrier,
    /// which it would make good for with the topic's next message.
    #[must_use]
    pub fn ignores_holes() -> bool {
        Self::NoBackLink.is_planted() || Self::NoBarrier.is_planted()
    }

    /// Whether it was planted and shows this time, once in so many.
    #[must_use]
    pub fn shows(self, once_in: u32) -> bool {
        self.is_planted() && rand::random_ratio(1, once_in)
    }
}
