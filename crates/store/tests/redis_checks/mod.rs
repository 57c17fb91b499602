//! What is particular to Redis.

mod cluster;
mod cluster_conformance;
mod faults;
mod loss;
mod sentinel;
mod settings;
mod tls;
