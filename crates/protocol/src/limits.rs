//! Every fixed bound of the protocol, with its unit. Configurable ones are defaults here.

/// Longest topic name, in bytes (protocol.md).
pub const TOPIC_NAME_BYTES: usize = 255;
/// Longest user id, in bytes.
pub const USER_ID_BYTES: usize = 128;
/// Longest node id, in bytes.
pub const NODE_ID_BYTES: usize = 128;
/// Longest `id` of a client frame, in bytes (protocol.md).
pub const FRAME_ID_BYTES: usize = 64;
/// Most topics in one subscribe request (protocol.md).
pub const TOPICS_PER_REQUEST: usize = 100;
/// Most topics of one session, by default (interfaces.md `limits.topics_per_session`).
pub const TOPICS_PER_SESSION: usize = 128;
/// Longest message, in bytes, by default (interfaces.md `limits.message_bytes`).
pub const MESSAGE_BYTES: usize = 64 * 1024;
/// Deepest nesting of a payload: a deeper one would be a poison message for some client's parser.
pub const PAYLOAD_DEPTH: usize = 64;
/// Most entries of one history page (protocol.md).
pub const HISTORY_PAGE: usize = 1000;
/// Most users that one answer to `topic:presence` names.
pub const PRESENCE_USERS: usize = 1000;
/// Most entries a `rewind` may ask for.
pub const REWIND_ENTRIES: usize = 1000;
/// Longest token, in bytes: refused before any decoding.
pub const TOKEN_BYTES: usize = 8 * 1024;
/// How far ahead of the node's clock a client's message id may lie, in milliseconds (protocol.md).
pub const ID_AHEAD_MS: u64 = 3_600_000;
/// Outbox bound of one connection, in bytes, by default (interfaces.md `limits.outbox_bytes`).
pub const OUTBOX_BYTES: usize = 256 * 1024;
/// Publishes of one connection that wait for the store at once.
pub const PUBLISHES_IN_FLIGHT: usize = 256;
/// Most messages of one append call to the store.
pub const APPEND_BATCH: usize = 64;
/// Most payload bytes of one append call to the store.
pub const APPEND_BATCH_BYTES: usize = 256 * 1024;

const _: () = assert!(TOPICS_PER_REQUEST <= TOPICS_PER_SESSION);
const _: () = assert!(MESSAGE_BYTES <= APPEND_BATCH_BYTES);
const _: () = assert!(MESSAGE_BYTES <= OUTBOX_BYTES);
