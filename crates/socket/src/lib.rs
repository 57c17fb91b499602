//! One connection, from the accept to the last byte: frames in, framed bytes out.
//!
//! *In*: TCP or TLS bytes; [`Framed`](sparkway_frame::Framed) messages through an [`Outbox`].
//! *Out*: [`LinkEvent`]s to the one task that owns the [`Link`].
//!
//! *Guarantees*: frames are written whole and in order; a full [`Outbox`] says so and never
//! waits; every broken rule of RFC 6455 ends with the right close code; whatever a client sends,
//! work and memory are bounded.
//!
//! *Never*: sessions, topics, credentials; metrics (facts are returned, the gateway counts them).
//!
//! *Next*: `sparkway-frame`.

mod accept;
mod egress;
mod extension;
mod head;
mod inflate;
mod link;
mod listen;
pub mod origin;
mod outbox;
mod query;
mod queue;
mod scanner;
mod settings;
mod stream;
mod tls;
mod upgrade;
mod violation;

pub use accept::{
    AcceptEvent, Acceptor, AnswerBody, BodyError, Decision, Receive, ResponseFuture, Routes, Serve,
    Spawn, Streamed, Upgraded,
};
pub use extension::Deflate;
pub use head::RequestHead;
pub use link::{Closed, Inbound, Link, LinkEvent, Traffic};
pub use listen::{BACKLOG, listen};
pub use outbox::{Outbox, Push};
pub use query::decode_segment;
pub use settings::{AcceptSettings, LinkSettings};
pub use stream::{LinkStream, Stream};
pub use tls::{Tls, TlsError, TlsFiles, TlsVersion};
pub use tokio_tungstenite::tungstenite::Utf8Bytes;
pub use upgrade::{Response, retry_later, text_response};
pub use violation::Violation;
