//! How connections are spread over nodes.

use std::time::Duration;

use super::{MINUTE, Section, count, flag, optional_time, ratio};
use crate::key::{Key, Kind};

pub(super) const REBALANCE: Section = Section {
    name: "rebalance",
    doc: "How native clients are spread over the nodes of a cluster, behind a balancer that does not count connections.",
    keys: &[
        Key {
            name: "rebalance.enabled",
            doc: "Whether nodes with more than their share send clients to the others.",
            secret: false,
            kind: Kind::Flag(|draft, _, value| draft.settings.rebalance.enabled = value),
            get: |draft, _| flag(draft.settings.rebalance.enabled),
        },
        Key {
            name: "rebalance.threshold",
            doc: "How far any node may be from the mean before anything is done, as a part of the mean.",
            secret: false,
            kind: Kind::Ratio(|draft, _, value| draft.settings.rebalance.threshold = value),
            get: |draft, _| ratio(draft.settings.rebalance.threshold),
        },
        Key {
            name: "rebalance.rate",
            doc: "Share of its connections that a node above the mean sends away per second.",
            secret: false,
            kind: Kind::Ratio(|draft, _, value| draft.settings.rebalance.rate = value),
            get: |draft, _| ratio(draft.settings.rebalance.rate),
        },
        Key {
            name: "rebalance.min_connections",
            doc: "Mean of connections per node below which nothing is done.",
            secret: false,
            kind: Kind::Count {
                min: 1,
                max: 1_000_000_000,
                set: |draft, _, value| draft.settings.rebalance.min_connections = value,
            },
            get: |draft, _| count(draft.settings.rebalance.min_connections),
        },
        Key {
            name: "rebalance.max_connection_age",
            doc: "After how long a native client is sent to wherever the balancer likes, give or take a fifth. Empty: never.",
            secret: false,
            kind: Kind::OptionalTime {
                min: MINUTE,
                max: Duration::from_hours(24 * 30),
                set: |draft, _, value| draft.settings.rebalance.max_connection_age = value,
            },
            get: |draft, _| optional_time(draft.settings.rebalance.max_connection_age),
        },
    ],
};
