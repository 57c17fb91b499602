//! What a refusal of Redis means for the caller.

use redis::{RedisError, Value};

use crate::StoreError;

/// Why a call did not succeed, by what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The script cache was emptied: load and repeat. It did not run.
    NoScript,
    /// The slot lives on another master: learn which and repeat. It did not run.
    Moved,
    /// This server is no master any more: leave it, find the master and repeat. It did not run.
    NotMaster(&'static str),
    /// The server cannot do it now: repeat a little later. It did not run.
    Busy(&'static str),
    /// The connection broke or nothing came in time: unknown whether it ran.
    Lost(&'static str),
    /// The server refused for good; a repeat answers the same.
    Refused(StoreError),
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoScript => Self::Unavailable("scripts are not loaded"),
            Fault::Moved => Self::Unavailable("slot moved"),
            Fault::NotMaster(why) | Fault::Busy(why) | Fault::Lost(why) => Self::Unavailable(why),
            Fault::Refused(error) => error,
        }
    }
}

/// Codes of the server, and what they mean.
const CODES: [(&str, Fault); 17] = [
    ("NOSCRIPT", Fault::NoScript),
    ("MOVED", Fault::Moved),
    ("READONLY", Fault::NotMaster("server is read-only")),
    ("MASTERDOWN", Fault::NotMaster("replica without a master")),
    ("UNBLOCKED", Fault::NotMaster("server changed its role")),
    ("ASK", Fault::Busy("slot is moving")),
    ("TRYAGAIN", Fault::Busy("slot is moving")),
    ("CLUSTERDOWN", Fault::Busy("cluster is down")),
    ("LOADING", Fault::Busy("server is loading")),
    ("BUSY", Fault::Busy("server runs a long script")),
    ("NOREPLICAS", Fault::Busy("not enough replicas")),
    (
        "OOM",
        Fault::Refused(StoreError::Unavailable("server is out of memory")),
    ),
    (
        "MISCONF",
        Fault::Refused(StoreError::Unavailable("server cannot persist")),
    ),
    (
        "NOPERM",
        Fault::Refused(StoreError::Unavailable("permission denied")),
    ),
    (
        "NOAUTH",
        Fault::Refused(StoreError::Unavailable("login refused")),
    ),
    (
        "WRONGPASS",
        Fault::Refused(StoreError::Unavailable("login refused")),
    ),
    (
        "WRONGTYPE",
        Fault::Refused(StoreError::Corrupt("a key has another type")),
    ),
];

/// What an error text of the server means. Scripts repeat the code of a command that failed inside
/// them, on older servers in the middle of the text.
pub(super) fn of_text(code: &str, details: &str) -> Fault {
    // What a script may not do is told without a code.
    let code = if details.contains("user executing the script can't") {
        "NOPERM"
    } else {
        code
    };
    let named = |name: &str| code == name || details.contains(&format!("-{name} "));
    if let Some((_, fault)) = CODES.iter().find(|(name, _)| named(name)) {
        return fault.clone();
    }
    tracing::error!(code, details, "store refused a call");
    Fault::Refused(StoreError::Corrupt("unexpected refusal"))
}

/// What an error of the client library means.
pub(super) fn of_error(error: &RedisError) -> Fault {
    if let Some(code) = error.code() {
        return of_text(code, error.detail().unwrap_or_default());
    }
    if error.is_timeout() {
        return Fault::Lost("no answer in time");
    }
    tracing::debug!(%error, "connection to the store failed");
    Fault::Lost("connection lost")
}

/// The answers of a pipeline, or the first refusal among them that matters for all.
pub(super) fn checked(answers: Vec<Value>) -> Result<Vec<Value>, Fault> {
    for answer in &answers {
        if let Value::ServerError(error) = answer {
            return Err(of_text(error.code(), error.details().unwrap_or_default()));
        }
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_inside_scripts_are_recognised_on_old_and_new_servers() {
        let new = of_text("OOM", "command not allowed when used memory > 'maxmemory'.");
        let old = of_text(
            "ERR",
            "Error running script (call to f_1): @user_script:3: @user_script: 3: -OOM command not allowed",
        );
        assert_eq!(new, old);
        assert_eq!(of_text("MOVED", "512 127.0.0.1:7001"), Fault::Moved);
        let denied =
            "The user executing the script can't run this command or subcommand script: f_1";
        assert_eq!(of_text("ERR", denied), of_text("NOPERM", "no permissions"));
    }
}
