//! The Redis backend keeps every promise of the trait, on servers that are started here. Without
//! `redis-server` on the path these tests fail.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is test code: what fails, panics"
)]

mod redis_checks;
mod redis_support;

mod one_redis {
    use super::redis_support::fixture::OneRedis;

    sparkway_store::conformance_suite!(OneRedis::start());
}
