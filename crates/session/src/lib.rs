//! The life of one session as a function: (state, input, now) -> effects.
//!
//! *In*: [`Input`]: what the client asks, what the store answered, what the node wants.
//! *Out*: [`Effect`]: what the gateway is to carry out. Each is answered by the input it names.
//!
//! *Guarantees*: every client frame that carries an id is answered exactly once; nothing is
//! delivered before `connect_ack`; a fenced session asks for nothing more; a cursor never moves
//! beyond what the client acknowledged or named; the newest heartbeat token becomes the only valid
//! one when the client has used or acknowledged it, not before.
//!
//! *Never*: I/O, clocks, randomness (what is random comes in with the inputs).
//!
//! *Next*: `sparkway-topic`.

pub mod cursor;
pub mod digest;
pub mod effect;
pub mod input;
pub mod machine;
pub mod rate;
pub mod settings;
pub mod token;

mod command;
mod connect;
mod heartbeat;
mod publish;
mod resume;
mod subscribe;
#[cfg(test)]
mod tests;

pub use cursor::Cursors;
pub use effect::{
    AppendRequest, AttachRequest, CloseRequest, Counted, Effect, HistoryRequest, OpenRequest,
    SubscribeRequest,
};
pub use input::{
    AuthFailure, Claimed, Identity, Input, Now, Opened, Restored, StoreFailure, StoredSession,
    SubscribeOutcome, Surroundings,
};
pub use machine::Session;
pub use rate::Bucket;
pub use settings::SessionSettings;
pub use token::{TokenKey, Tokens};
