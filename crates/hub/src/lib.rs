//! Fan-out on this node: from a partition's entries to the outboxes of the connections that want
//! them.
//!
//! *In*: [`Batch`]es of entries in id order, from the one reader of each partition. *Out*: frames
//! in outboxes.
//!
//! There is one [`Hub`] per worker thread, touched by that thread only: a delivery wakes no other
//! core. The reader of a partition and all workers share the partition's [`PartitionLog`]: which
//! topics are live, and the ring of each.
//!
//! *Guarantees*: a message is encoded once per format for the whole node; every seat sees each
//! partition in id order; a seat whose outbox is full is unhooked with its exact position and
//! costs nothing more until it has caught up.
//!
//! *Never*: waits for a connection, reads the store.
//!
//! *Next*: `sparkway-socket`, whose outbox writes the frames.

pub mod batch;
pub mod fanout;
pub mod log;
pub mod seat;

pub use batch::{Batch, BatchBuilder};
pub use fanout::{Delivered, Hub, Slot};
pub use log::{Coverage, LogBounds, PartitionLog};
pub use seat::{Positions, Seat};
