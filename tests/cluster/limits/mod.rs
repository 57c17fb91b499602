//! Bounds on what clients may use, each with its answer and its metric.

mod connections;
mod descriptors;
mod traffic;

use crate::harness::node::Process;

/// How often something was refused for this reason.
async fn limited(node: &Process, scope: &str) -> u64 {
    let series = format!("sparkway_rate_limited_total{{scope=\"{scope}\"}}");
    node.metric(&series).await
}
