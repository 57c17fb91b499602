//! Judges what the clients of a cluster sent and saw while it was broken.
//!
//! Nothing here, nor in the command beside it, imports a line of the gateway: what is judged is the
//! protocol as a stranger would speak it.

pub mod checker;
