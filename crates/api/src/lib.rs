//! HTTP for backends and operators: publish, look, end, drain.
//!
//! *In*: requests on a node's internal listener, each with an API key.
//! *Out*: what a [`Desk`](sparkway_gateway::desk::Desk) can do, as JSON; errors as RFC 9457 problems
//! from the one table of codes in `sparkway-protocol`.
//!
//! *Guarantees*: one table of routes drives dispatch, `OpenAPI` and the reference page, so they
//! cannot differ. GET changes nothing. A repeated `Idempotency-Key` publishes once. Every request
//! has a deadline, every body a bound. A key is compared in constant time and is never read from
//! a query.
//!
//! *Never*: answers a page of another origin; keeps a message that the store has not.
//!
//! *Next*: `sparkway-auth`, for those who come as clients.

mod answer;
mod call;
mod enlist;
mod events;
mod hooks;
mod keys;
mod nodes;
mod openapi;
mod pages;
mod problem;
mod publish;
mod reference;
mod routes;
mod sessions;
mod shape;
mod site;
mod tokens;
mod topics;
mod trace;

pub use nodes::Setting;
pub use openapi::document;
pub use reference::reference_markdown;
pub use site::Api;
