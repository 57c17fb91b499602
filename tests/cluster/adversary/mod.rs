//! Clients that mean harm, and what those notice that do not.

mod crowd;
mod pulse;
mod theft;
