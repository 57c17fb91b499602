//! Every rule of Spark v1, with its literal answer, in JSON and in `MessagePack`.

mod acks;
mod auth;
mod connect;
mod grants;
mod heartbeat;
mod http;
mod messages;
mod presence;
mod replay;
mod resume;
mod rotation;
mod topics;
