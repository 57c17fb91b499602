//! What can go wrong with the store, named by what the caller does next.

/// The store did not answer, or refused for a reason of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No connection, no answer in time, loading, read-only, out of memory. Whether a write
    /// happened is unknown: repeat it.
    #[error("store unavailable: {0}")]
    Unavailable(&'static str),
    /// Stored here, but not on enough replicas in time: repeat it.
    #[error("not replicated in time")]
    NotReplicated,
    /// The store holds something this version cannot read: an operator has to look.
    #[error("store data not understood: {0}")]
    Corrupt(&'static str),
    /// The store was laid out with other settings: do not start.
    #[error("layout differs: {0}")]
    Layout(String),
}

/// A write under an epoch failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The session belongs to somebody else now: close this connection, write nothing more.
    #[error("session has another owner")]
    Fenced,
    /// The record is missing (expired, or the store lost it): restore it or connect anew.
    #[error("session record is missing")]
    Gone,
    /// Unknown whether it happened: repeat.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A session could not be claimed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// No such session.
    #[error("no such session")]
    Unknown,
    /// The generation of the token is not a valid one.
    #[error("token generation is not valid")]
    BadGeneration,
    /// Unknown whether it happened: repeat.
    #[error(transparent)]
    Store(#[from] StoreError),
}
