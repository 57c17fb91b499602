//! Labels whose values a node knows only when it starts: its namespaces, shards and threads.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use prometheus::{
    Counter as FloatCounter, CounterVec, Gauge as FloatGauge, GaugeVec, Histogram, HistogramOpts,
    HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
};

use crate::family::{Builder, Counters, valid};
use crate::{Kind, Label};

/// Namespaces with series of their own; topics of further ones count as `other`.
pub const NAMESPACES_MAX: usize = 8;
/// Shards with series of their own: as many as a layout can have.
const SHARDS_MAX: usize = 16;
/// Threads with series of their own; further ones share the last.
const THREADS_MAX: usize = 32;
/// Topics without a namespace in the configuration.
const DEFAULT: &str = "default";
const OTHER: &str = "other";

/// What of a node's configuration decides how many series it has. Never what clients do.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Configured namespaces.
    pub namespaces: Vec<Box<str>>,
    /// Partitions of the store.
    pub shards: usize,
    /// Threads that serve connections.
    pub workers: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            shards: 1,
            workers: 1,
        }
    }
}

/// A label and its values.
#[derive(Clone, Debug)]
pub(crate) struct Dimension {
    name: &'static str,
    values: Vec<Box<str>>,
}

impl Dimension {
    pub(crate) fn namespaces(shape: &Shape) -> Self {
        let named = shape.namespaces.iter().take(NAMESPACES_MAX).cloned();
        Self {
            name: "topic_ns",
            values: std::iter::once(DEFAULT.into())
                .chain(named)
                .chain([OTHER.into()])
                .collect(),
        }
    }

    pub(crate) fn shards(shape: &Shape) -> Self {
        let shards = shape.shards.clamp(1, SHARDS_MAX);
        Self {
            name: "shard",
            values: (0..shards).map(|at| at.to_string().into()).collect(),
        }
    }

    /// The workers, and the thread of the internal listener as the last one.
    pub(crate) fn threads(shape: &Shape) -> Self {
        let workers = shape.workers.clamp(1, THREADS_MAX);
        Self {
            name: "worker",
            values: (0..workers)
                .map(|at| at.to_string().into())
                .chain(["internal".into()])
                .collect(),
        }
    }
}

/// Where the series of a namespace stand in a [`Spread`].
#[derive(Clone, Debug)]
pub struct Slots(Arc<HashMap<Box<str>, usize>>);

impl Slots {
    pub(crate) fn of(shape: &Shape) -> Self {
        let names = shape.namespaces.iter().cloned();
        // 0 is the default; what is beyond the last one is taken for the last one: "other".
        Self(Arc::new(names.zip(1..).collect()))
    }

    /// The place of a namespace; 0 for one that is not configured.
    #[must_use]
    pub fn slot(&self, namespace: &str) -> usize {
        if self.0.is_empty() {
            return 0;
        }
        self.0.get(namespace).copied().unwrap_or(0)
    }
}

/// One of something per value of a label.
pub struct Spread<S>(Arc<[S]>);

impl<S> Spread<S> {
    fn new(series: Vec<S>) -> Self {
        assert!(!series.is_empty(), "a label has values");
        Self(series.into())
    }

    /// That of the value at this place; the last one for a place beyond it.
    #[expect(
        clippy::indexing_slicing,
        reason = "never empty, and bounded one line above"
    )]
    #[inline]
    #[must_use]
    pub fn of(&self, place: usize) -> &S {
        let place = place.min(self.0.len() - 1);
        &self.0[place]
    }

    /// The last one.
    #[must_use]
    pub fn last(&self) -> &S {
        self.of(usize::MAX)
    }
}

impl Spread<IntGauge> {
    /// Sets the values that are named and zeroes the others. Places beyond the last one add up in
    /// it.
    pub fn set_all(&self, values: &HashMap<usize, i64>) {
        let mut sums = vec![0; self.0.len()];
        let last = sums.len() - 1;
        for (&place, value) in values {
            if let Some(sum) = sums.get_mut(place.min(last)) {
                *sum += value;
            }
        }
        for (gauge, sum) in self.0.iter().zip(sums) {
            gauge.set(sum);
        }
    }
}

impl<S> Clone for Spread<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for Spread<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Spread of {}", self.0.len())
    }
}

impl Builder {
    fn describe_spread(
        &mut self,
        kind: Kind,
        (name, help): (&str, &'static str),
        over: &Dimension,
    ) -> &mut crate::Family {
        let family = self.describe(kind, name, help);
        family.labels.push((over.name, Vec::new()));
        family.combinations = over.values.len();
        family
    }

    pub(crate) fn counters_by<L: Label>(
        &mut self,
        name: &str,
        over: &Dimension,
        help: &'static str,
    ) -> Spread<Counters<L>> {
        let family = self.describe_labelled::<L>(Kind::Counter, name, help);
        family.labels.insert(0, (over.name, Vec::new()));
        family.combinations *= over.values.len();
        let names = [vec![over.name], L::names()].concat();
        let series = valid(IntCounterVec::new(Opts::new(name, help), &names));
        self.register(series.clone());
        let of = |value: &str| {
            Counters::<L>::from_rows(|row| {
                let values = [&[value], row].concat();
                valid(series.get_metric_with_label_values(&values))
            })
        };
        Spread::new(over.values.iter().map(|value| of(value)).collect())
    }

    pub(crate) fn gauges_by(
        &mut self,
        name: &str,
        over: &Dimension,
        help: &'static str,
    ) -> Spread<IntGauge> {
        self.describe_spread(Kind::Gauge, (name, help), over);
        let series = valid(IntGaugeVec::new(Opts::new(name, help), &[over.name]));
        self.register(series.clone());
        let of = |value: &str| valid(series.get_metric_with_label_values(&[value]));
        Spread::new(over.values.iter().map(|value| of(value)).collect())
    }

    pub(crate) fn float_gauges_by(
        &mut self,
        name: &str,
        over: &Dimension,
        help: &'static str,
    ) -> Spread<FloatGauge> {
        self.describe_spread(Kind::Gauge, (name, help), over);
        let series = valid(GaugeVec::new(Opts::new(name, help), &[over.name]));
        self.register(series.clone());
        let of = |value: &str| valid(series.get_metric_with_label_values(&[value]));
        Spread::new(over.values.iter().map(|value| of(value)).collect())
    }

    pub(crate) fn float_counters_by(
        &mut self,
        name: &str,
        over: &Dimension,
        help: &'static str,
    ) -> Spread<FloatCounter> {
        self.describe_spread(Kind::Counter, (name, help), over);
        let series = valid(CounterVec::new(Opts::new(name, help), &[over.name]));
        self.register(series.clone());
        let of = |value: &str| valid(series.get_metric_with_label_values(&[value]));
        Spread::new(over.values.iter().map(|value| of(value)).collect())
    }

    pub(crate) fn histograms_by(
        &mut self,
        name: &str,
        buckets: &'static [f64],
        over: &Dimension,
        help: &'static str,
    ) -> Spread<Histogram> {
        self.describe_spread(Kind::Histogram, (name, help), over)
            .buckets = buckets;
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let series = valid(HistogramVec::new(options, &[over.name]));
        self.register(series.clone());
        let of = |value: &str| valid(series.get_metric_with_label_values(&[value]));
        Spread::new(over.values.iter().map(|value| of(value)).collect())
    }
}
