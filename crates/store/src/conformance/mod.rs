//! One check per guarantee of [`Store`](crate::Store), for every backend.
//!
//! A test target makes the suite its own with `sparkway_store::conformance_suite!(fixture)`, where
//! `fixture` is an expression (it may await) that makes a [`Fixture`] of a new, empty store. The
//! macro and the checks come from one list below; a check that is not in the list is dead code,
//! which does not compile.

#![warn(dead_code, reason = "a check that is not registered would never run")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is test code: a failed check panics"
)]

mod append;
mod fixture;
mod sample;

pub use fixture::Fixture;

/// Declares the public checks and the macro that registers them, from one list.
macro_rules! suite {
    ($d:tt $($area:ident { $($name:ident,)* })*) => {
        $($(
            #[doc = concat!("Checks that `", stringify!($name), "`.")]
            pub async fn $name(fixture: &dyn Fixture) {
                Box::pin($area::$name(fixture)).await;
            }
        )*)*

        /// Makes a test of every check of the suite. The argument is an expression that makes a
        /// [`Fixture`](crate::conformance::Fixture) of a new, empty store; it may await.
        #[macro_export]
        macro_rules! conformance_suite {
            ($d fixture:expr) => {
                $($(
                    #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $name() {
                        let fixture = $d fixture;
                        ::sparkway_store::conformance::$name(&fixture).await;
                    }
                )*)*
            };
        }
    };
}

suite! { $
    append {
        ids_rise_over_all_topics_of_a_partition,
        back_link_names_the_entry_before,
        repeat_is_stored_once_and_answers_the_first_id,
    }
}
