//! One node: carries out what sessions decide.
//!
//! *In*: connections from the public listener, entries from the store's feeds, words from other
//! nodes. *Out*: frames in outboxes, entries in the store.
//!
//! A node is a few threads. Each worker thread runs its own runtime with its own connections and
//! its own hub, so that a delivery wakes no other core; one reader per partition feeds all hubs
//! in id order; the internal listener has a thread of its own.
//!
//! *Guarantees*: nothing is acknowledged that is not stored; a reader that ends, ends the node;
//! every wait on something outside has a deadline; every queue is bounded.
//!
//! Lock order, where two are held: a worker's hub, then a partition's log or a session's
//! subscriptions. No lock is held across an await.
//!
//! *Next*: `sparkway-session`, which decides; `sparkway-store`, which keeps.

mod address;
mod admin;
mod appender;
pub mod application;
mod asking;
mod attached;
mod canary;
mod catchup;
mod certificates;
mod clock;
mod connection;
mod control;
mod deadlines;
mod deliver;
mod descriptors;
pub mod desk;
mod drain;
mod effect;
mod ending;
mod entering;
mod feed;
mod gauges;
mod guests;
mod handle;
mod invariant;
mod key_sets;
mod lease;
mod limiting;
mod listeners;
mod looks;
mod manner;
mod missed;
mod node;
mod opening;
mod outcome;
mod ownership;
pub mod pace;
mod parts;
mod presence;
mod rates;
mod reads;
mod rebalance;
mod receipt;
mod registry;
mod revoking;
mod routes;
pub mod settings;
mod shared;
pub mod simulated;
pub mod site;
pub mod sizes;
mod takeovers;
mod tally;
mod taps;
mod tasks;
mod telling;
mod threads;
pub mod trace;
mod unfinished;
mod worker;

pub use drain::Phase;
pub use node::{Node, StartError};
pub use sparkway_auth::{Revocation, Revoked};
pub use sparkway_store::{Marked, StoreError};
