//! What a client has seen so far.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        /// Totals of one client since it was made.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts { $($(#[$doc])* pub $name: u64,)* }

        #[derive(Debug, Default)]
        pub(crate) struct Tally { $(pub(crate) $name: Count,)* }

        impl Tally {
            /// The totals now.
            pub(crate) fn read(&self) -> Counts {
                Counts { $($name: self.$name.get(),)* }
            }
        }

        impl std::ops::AddAssign for Counts {
            fn add_assign(&mut self, other: Self) { $(self.$name += other.$name;)* }
        }
    };
}

counts! {
    /// Messages handed to the application.
    delivered;
    /// Of those, how many came during a replay.
    replayed;
    /// Messages that came a second time: dropped here, and a defect of the gateway unless it runs
    /// several partitions and the client resumed with one id.
    duplicates;
    /// Messages that came after a newer one of their topic, for the first time: handed on, and
    /// always a defect of the gateway.
    reordered;
    /// Losses that were told, by the gateway or by this client.
    losses;
    /// Connections opened.
    connections;
    /// Sessions resumed.
    resumes;
    /// Sessions that could not be resumed and were begun anew.
    sessions_lost;
    /// Publishes answered with success.
    published;
    /// Of those, how many the gateway knew already (an earlier answer was lost).
    publish_duplicates;
    /// Requests sent again, after a lost connection or a retryable refusal.
    retries;
    /// Heartbeats sent.
    heartbeats;
    /// Heartbeat tokens replaced.
    rotations;
    /// Drains obeyed.
    drains;
    /// Topics left for a while because the application did not read.
    pauses;
    /// WebSocket messages that were no frame of Spark, and refusals that named no frame.
    oddities;
}

/// One total.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
