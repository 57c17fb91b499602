//! The dialects beside Spark, as their own clients see them: real nodes, real sockets. `rows.rs`
//! says which test shows which row of the contract. Without `redis-server` on the path a part of
//! these tests fails.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is test code: what fails, panics"
)]

mod chat;
mod conversation;
mod crossing;
mod harness;
mod room;
mod rows;
mod topics;
