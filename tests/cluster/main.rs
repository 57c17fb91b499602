//! Real nodes, real sockets, a real Redis: what the gateway promises to clients, seen from
//! outside. `tests/README.md` says how to run a part of it.
//!
//! Every test starts its own processes on ports from the operating system and ends them. Nothing
//! waits for time to pass unless time is what the test is about. Without `redis-server` on the
//! path these tests fail.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "this is test code: what fails, panics, and says on which nodes"
)]

mod access;
mod adversary;
mod api;
mod bad_input;
mod chaos;
mod harness;
mod limits;
mod secrets;
mod spark;
mod tls;
mod watching;

mod rows;
