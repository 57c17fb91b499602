//! What is traced in any case.

use sparkway_gateway::Marked;
use sparkway_protocol::SessionId;

use crate::answer::{Answered, Reply};
use crate::call::Call;
use crate::problem::Problem;
use crate::publish::topic;
use crate::shape::shapes;

/// Longest time that something is marked, and the usual one, in seconds: a forgotten mark ends.
const SECONDS_MAX: u16 = 600;

shapes! {
    /// Whose publishes to trace: exactly one of `topic` and `session`.
    Trace {
        /// Those into this topic, whoever makes them.
        topic: Option<String>,
        /// Those of this session.
        session: Option<String>,
        /// For how long, 0 to 600; 600 unless said. 0 ends it.
        seconds: Option<u64>,
    }

    /// What is traced.
    Traced {
        /// When it ends, in Unix milliseconds.
        until: u64,
        /// Whether the node that answers exports traces at all.
        exported: bool,
    }
}

/// `POST /v1/trace`.
pub(crate) async fn mark(call: Call) -> Answered {
    let Trace {
        topic: name,
        session,
        seconds,
    } = call.json()?;
    let what = match (name, session) {
        (Some(name), None) => Marked::Topic(topic(&name, "/topic")?),
        (None, Some(id)) => {
            let session = SessionId::parse(&id);
            Marked::Session(session.ok_or_else(|| Problem::at("/session", "is no session id"))?)
        }
        _ => {
            return Err(Problem::invalid(
                "exactly one of topic and session is needed",
            ));
        }
    };
    let seconds = u16::try_from(seconds.unwrap_or(SECONDS_MAX.into()));
    let seconds = seconds.ok().filter(|seconds| *seconds <= SECONDS_MAX);
    let seconds = seconds.ok_or_else(|| Problem::at("/seconds", "is not 0 to 600"))?;
    call.desk.mark(what, seconds).await?;
    Reply::ok(&Traced {
        until: call.desk.now_ms() + u64::from(seconds) * 1000,
        exported: call.desk.traces(),
    })
}
