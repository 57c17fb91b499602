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

mod admin;
mod appender;
mod attached;
mod catchup;
mod clock;
mod connection;
mod control;
mod deadlines;
mod drain;
mod effect;
mod entering;
mod feed;
mod handle;
mod lease;
mod listeners;
mod manner;
mod missed;
mod node;
mod reads;
mod registry;
mod routes;
pub mod settings;
mod shared;
mod tasks;
mod threads;
mod worker;

pub use drain::Phase;
pub use node::{Node, StartError};
