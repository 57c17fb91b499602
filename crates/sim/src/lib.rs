//! Whole nodes in one thread, over a store and a network that fail, in a time that nobody waits for.
//!
//! *In*: a [`plan::Plan`], drawn from a seed: nodes, clients, what they do and when, what breaks.
//! *Out*: what the clients sent and saw, judged by the checker of `tests/chaos`, which knows
//! nothing of the gateway.
//!
//! *Guarantees*: the nodes run the code that is shipped, from the bytes of a connection to the
//! calls of the store; the same plan gives the same history, however often it is run; a plan that
//! breaks a promise is made smaller before it is shown.
//!
//! *Never*: waits for real time, opens a socket, is shipped.
//!
//! *Next*: nothing; it stands outside of the path and looks at it.

pub mod client;
pub mod cluster;
pub mod dice;
pub mod lag;
pub mod line;
pub mod plan;
pub mod run;
pub mod settings;
pub mod shrink;
pub mod signal;
pub mod store;
pub mod weather;

mod relay;
