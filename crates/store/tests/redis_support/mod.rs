//! Redis servers for tests: started on free ports in directories of their own, killed by handle.

#![expect(dead_code, reason = "each test target uses a part of it")]

pub(crate) mod cluster;
pub(crate) mod fixture;
pub(crate) mod reader;
pub(crate) mod rights;
pub(crate) mod sentinel;
pub(crate) mod server;
