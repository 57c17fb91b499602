//! Which test shows which row.
