//! Spark v1 (protocol.md), in JSON text frames and in `MessagePack` binary frames.
//!
//! The contract names fields; this is their exact shape where it leaves room. `testdata/spark`
//! holds a golden example of every frame, in both encodings.
//!
//! # From the client
//! - Operations read their fields from `data`; `topic:publish` reads `topic`, `ephemeral`,
//!   `durability` and `exclude_self` from the frame, because its `data` is the payload.
//! - A field that is null counts as absent, except the payload. An absent payload is null.
//! - A known field that stands twice is refused. Inside a payload the gateway does not look.
//! - Payloads: at most 64 levels of arrays and maps. JSON travels verbatim, with numbers of any
//!   size, but without halves of surrogate pairs. `MessagePack` has string keys only and no
//!   extension types, so that it can be told to JSON clients.
//! - `last_message_id` is never refused here: what is no id becomes a resume that fails with
//!   `bad_message_id`. In the same way a `session_id` that is no UUID is not resumable, and an
//!   `ackId` that names nothing is ignored.
//!
//! # To the client
//! - A frame that answers a frame with an `id` says so as `data.ackId`: `ws:ack`, `ws:error`, and
//!   also `ws:connect_ack`, `ws:resume_ack`, `ws:resume_failed` and `ws:heartbeat_ack`, which
//!   stand in the place of a `ws:ack`.
//! - Message ids are strings. `last_message_id` of a welcome is one string, `"0"` where nothing
//!   was stored yet, or an array of strings with one per partition.
//! - `data.result` of a `ws:ack`, by what was asked (nothing, where there is nothing to say):
//!
//! | asked | result |
//! |---|---|
//! | `topic:publish` | `id` (absent when ephemeral), `duplicate` (true or absent) |
//! | `topic:subscribe` | `topics`: array of {`topic`, `position`, `recovered`}; `rejected`: array of {`topic`, `code`} |
//! | `topic:unsubscribe` | `unsubscribed`: array of names |
//! | `topic:history` | `messages`: array of `topic:message` frames; `complete` |
//! | `topic:presence` | `users`: array of names; `count`, `truncated` |
//! | `ws:refresh` | `expires_at` (Unix ms, or null), `dropped_topics` (absent when empty) |
//! | `rpc:call` | `result`, `encoding` (as on a message) |
//!
//! - Granted topics are an array and no map: a topic may be called `__proto__`, which readers in
//!   JavaScript refuse or misread as a key.
//! - `topic:message` of an ephemeral publish has neither `id` nor `ts`.
//! - To JSON, bytes are told as base64: a payload that is bytes as a whole has
//!   `"encoding":"base64"` beside it; bytes inside a payload have no mark. Infinities and what is
//!   no number become null. To `MessagePack`, whole numbers from -2^63 to 2^64 - 1 stay whole and
//!   all others become doubles.

mod decode;
mod encode;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use decode::decode;
pub(crate) use encode::{encode_json, encode_msgpack};
