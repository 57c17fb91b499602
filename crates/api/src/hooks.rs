//! The application's backends, as the node that answers sees them.

use sparkway_gateway::desk::HookState;

use crate::answer::{Answered, Reply};
use crate::call::Call;
use crate::shape::shapes;

shapes! {
    /// The hooks of the node that answers.
    Hooks {
        /// Those that are set.
        items: Vec<HookReport>,
        /// Events that wait to be delivered; only the node that delivers knows it.
        events_waiting: u64,
    }

    /// A hook, since the node started.
    HookReport {
        /// Its name.
        hook: String,
        /// Questions by how they ended.
        results: Vec<HookCount>,
        /// Mean time to an answer, in milliseconds. None before the first.
        mean_ms: Option<f64>,
        /// Whether it failed too often lately and is left alone for up to 30 s.
        left_alone: bool,
    }

    /// How many questions ended in one way.
    HookCount {
        /// `ok`, `denied`, `timeout`, `error`, `invalid`, `circuit_open` or `busy`.
        result: String,
        /// How many.
        count: u64,
    }
}

/// `GET /v1/hooks`.
pub(crate) fn list(call: &Call) -> Answered {
    Reply::ok(&Hooks {
        items: call.desk.hooks().into_iter().map(report).collect(),
        events_waiting: call.desk.events_waiting(),
    })
}

fn report(state: HookState) -> HookReport {
    let results = state.results.into_iter().map(|(result, count)| HookCount {
        result: result.to_owned(),
        count,
    });
    let mean_ms = state.seconds * 1000.0 / state.answers as f64;
    HookReport {
        hook: state.name.to_owned(),
        results: results.collect(),
        mean_ms: (state.answers > 0).then_some(mean_ms),
        left_alone: state.left_alone,
    }
}
