//! The HTTP API, as a backend sees it: every answer is held against the document.

mod commands;
mod draining;
mod enlisting;
mod keys;
mod looking;
mod managing;
mod publishing;
mod refusals;
mod watching;

use crate::harness::cluster::Cluster;
use crate::harness::operations::{Backend, KEY};

/// Settings of a node whose API has one key with all scopes.
const KEYED: &[(&str, &str)] = &[("api.keys", KEY)];

/// Two nodes over Redis, and a backend at each.
async fn two_nodes() -> (Cluster, Backend, Backend) {
    let cluster = Cluster::redis(KEYED).await;
    let [one, two] = [0, 1].map(|at: usize| cluster.processes[at].internal[0]);
    let first = Backend::new(one, Some(KEY)).await;
    let second = Backend::new(two, Some(KEY)).await;
    (cluster, first, second)
}

/// One node with the embedded store, and a backend.
async fn one_node() -> (Cluster, Backend) {
    let cluster = Cluster::memory(KEYED).await;
    let backend = Backend::new(cluster.processes[0].internal[0], Some(KEY)).await;
    (cluster, backend)
}

#[test]
fn the_reference_page_is_that_of_the_routes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/http-api.md");
    let generated = sparkway_api::reference_markdown();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &generated).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == generated,
        "docs/reference/http-api.md differs: UPDATE=1 cargo test --test cluster reference_page"
    );
}
