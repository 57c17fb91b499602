//! Who may come in, for how long, and how much of everything.

mod example;
mod hooks;
mod keys;
mod names;
mod revocation;
