//! What can go wrong in the chat, named by what the client is told.

use sparkway_store::{StoreError, WriteError};

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// The store does not answer: the same request is safe to repeat.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The connection belongs to nobody any more: the user has another one.
    #[error("the user has a newer connection")]
    Replaced,
    /// What is kept is not understood: an operator has to look.
    #[error("{0} is not understood")]
    Corrupt(&'static str),
    /// Too many did the same at once.
    #[error("too busy")]
    Busy,
    /// It took longer than it may, and is left to the next time.
    #[error("it takes too long")]
    Late,
}

impl From<WriteError> for ChatError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Store(error) => Self::Store(error),
            WriteError::Fenced | WriteError::Gone => Self::Replaced,
        }
    }
}
