//! What a topic log promises a node: order, no holes, and exact words for what is gone.
//!
//! *In*: entries as a feed or a log page brings them. *Out*: a [`Verdict`] per entry, the entries
//! that a session missed in the one right order ([`replay::merge`]), and the gaps among them.
//!
//! *Guarantees*: a hole is noticed by the back link of the first entry behind it, never guessed
//! from counters; entries of one partition come out of a merge in id order, each once, and never
//! beyond the bound up to which all pages are known to be whole.
//!
//! *Never*: reads a store or a clock.
//!
//! *Next*: `sparkway-store` on the way in, `sparkway-hub` on the way out.

pub mod gap;
pub mod presence;
pub mod replay;
pub mod ring;
pub mod sequencer;

pub use gap::{Window, missing_before};
pub use presence::PresenceDiff;
pub use replay::{Merged, Part, merge};
pub use ring::{Ring, RingBounds};
pub use sequencer::{Verdict, judge};
