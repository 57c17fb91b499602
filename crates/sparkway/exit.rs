//! How the process ends, for scripts.

use std::fmt;
use std::io;
use std::process::ExitCode;

use sparkway_client::Error;

/// Exit codes of every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// It did not work.
    Failed = 1,
    /// The command line or an argument is wrong.
    Usage = 2,
    /// Nobody answers at the address.
    Unreachable = 3,
    /// The credential is missing, wrong or not enough.
    Auth = 4,
    /// No answer in time.
    Timeout = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::Auth => 4,
            Exit::Timeout => 5,
        })
    }
}

/// Why a command ends early.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
        }
    }

    /// An argument that breaks a rule.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// It did not work.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match &error {
            _ if error.is_auth() => Exit::Auth,
            Error::Unreachable(_) => Exit::Unreachable,
            Error::TimedOut(_) => Exit::Timeout,
            Error::Invalid(_) | Error::Encode(_) | Error::AlreadySubscribed(_) => Exit::Usage,
            Error::Refused { .. } | Error::Uncertain | Error::Closed { .. } | Error::Auth(_) => {
                Exit::Failed
            }
        };
        Self::new(exit, error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::failed(error)
    }
}

/// What a command returns.
pub(crate) type Outcome = Result<Exit, Failure>;
