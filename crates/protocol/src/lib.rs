//! The vocabulary of Sparkway: what a client may ask, what it may be told, and what is kept.
//!
//! *In / Out*: nothing flows through this crate; every station of the path speaks its types.
//!
//! *Guarantees*: plain data and total conversions. A [`MessageId`] is below 2^53, a [`TopicName`]
//! obeys the naming rule, a [`SessionId`] names its partition.
//!
//! *Never*: I/O, clocks, randomness, serialisation of any wire format.
//!
//! *Next*: `sparkway-socket`, the first station.

pub mod close;
pub mod code;
pub mod command;
pub mod entry;
pub mod event;
pub mod id;
pub mod limits;
pub mod name;
pub mod presence;
pub mod reference;
pub mod time;
pub mod trace;

pub use close::{CloseReason, Next};
pub use code::{Code, Refused, Retry};
pub use command::{AckId, Command, Durability, LastSeen, Since, Subscribe};
pub use entry::{Encoding, Entry, Ephemeral, Payload};
pub use event::{Event, Format, Gap, GapReason, Outcome};
pub use id::{Epoch, MessageId, Partition, Partitions, SessionId};
pub use name::{FrameId, NodeId, TopicName, UserId};
pub use presence::PresenceChange;
pub use time::iso8601;
pub use trace::TraceContext;
