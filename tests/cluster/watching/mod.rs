//! What operators see: every measurement moves when what it measures happens.

mod metrics;
