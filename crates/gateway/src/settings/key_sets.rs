//! The key sets of issuers.

use std::time::Duration;

use sparkway_outbound::Target;

/// Where and how often the keys of issuers are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySetSettings {
    /// One URL for each of `AuthSettings::issuers`, in their order.
    pub targets: Vec<Target>,
    /// How often a set is fetched again. Default 5 min: a withdrawn key counts for no longer.
    pub refresh: Duration,
    /// How long one fetch may take. Default 5 s.
    pub timeout: Duration,
}

impl Default for KeySetSettings {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            refresh: Duration::from_mins(5),
            timeout: Duration::from_secs(5),
        }
    }
}
