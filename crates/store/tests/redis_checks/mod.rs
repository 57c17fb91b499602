//! What is particular to Redis.

mod faults;
mod loss;
mod settings;
