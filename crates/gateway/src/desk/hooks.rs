//! How the application's backends are doing, as this node sees them.

use sparkway_metrics::{Hook, HookResult};

use super::Desk;

/// One hook that is set.
#[derive(Clone, Debug)]
pub struct HookState {
    /// Its name, as in `hooks.*`.
    pub name: &'static str,
    /// Questions since the node started, by how they ended: those that ended so at least once.
    pub results: Vec<(&'static str, u64)>,
    /// Seconds that all answers took together.
    pub seconds: f64,
    /// Answers, also failed ones.
    pub answers: u64,
    /// Whether it failed too often lately and is left alone.
    pub left_alone: bool,
}

impl Desk {
    /// The hooks that are set.
    #[must_use]
    pub fn hooks(&self) -> Vec<HookState> {
        let Some(backends) = &self.shared.backends else {
            return Vec::new();
        };
        let metrics = &self.shared.metrics.backend;
        let set = Hook::ALL.iter().filter(|hook| backends.has(**hook));
        let state = |&hook: &Hook| {
            let count = |result: &HookResult| {
                let count = metrics.hook_requests.at((hook, *result)).get();
                (result.as_str(), count)
            };
            let results = HookResult::ALL.iter().map(count);
            let taken = metrics.hook_duration.at(hook);
            HookState {
                name: hook.as_str(),
                results: results.filter(|(_, count)| *count > 0).collect(),
                seconds: taken.get_sample_sum(),
                answers: taken.get_sample_count(),
                left_alone: backends.is_left_alone(hook),
            }
        };
        set.map(state).collect()
    }

    /// Events that wait to be delivered, as the node sees them that delivers.
    #[must_use]
    pub fn events_waiting(&self) -> u64 {
        let waiting = self.shared.metrics.backend.hook_queue_length.get();
        u64::try_from(waiting).unwrap_or(0)
    }
}
