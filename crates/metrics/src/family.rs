//! A family of series as an array indexed by its labels.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{
    Gauge as FloatGauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::{Family, Kind, Label};

/// Buckets of what happens inside a node, in seconds.
pub(crate) const FAST: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
    5.0,
];
/// Buckets of what crosses the network, in seconds.
pub(crate) const NETWORK: &[f64] = &[
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Names, labels and buckets are constants of this crate, so building them either always works or
/// never does.
#[expect(
    clippy::expect_used,
    reason = "depends on constants of this crate only, and every test builds all of them"
)]
pub(crate) fn valid<T>(built: Result<T, prometheus::Error>) -> T {
    built.expect("families have valid and different names")
}

macro_rules! indexed {
    ($(#[$doc:meta])* $name:ident, $series:ty) => {
        $(#[$doc])*
        pub struct $name<L> {
            series: Arc<[$series]>,
            label: PhantomData<fn(L)>,
        }

        impl<L: Label> $name<L> {
            pub(crate) fn from_rows(make: impl Fn(&[&str]) -> $series) -> Self {
                Self {
                    series: L::rows().iter().map(|row| make(row)).collect(),
                    label: PhantomData,
                }
            }

            /// The series of this label: an array access. Clone it to keep it.
            #[expect(
                clippy::indexing_slicing,
                reason = "a label's index is below its count, and there are that many series"
            )]
            #[inline]
            pub fn at(&self, label: L) -> &$series {
                &self.series[label.index()]
            }
        }

        impl<L> Clone for $name<L> {
            fn clone(&self) -> Self {
                Self { series: Arc::clone(&self.series), label: PhantomData }
            }
        }

        impl<L> fmt::Debug for $name<L> {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{} of {} series", stringify!($name), self.series.len())
            }
        }
    };
}

indexed!(
    /// Numbers that only rise, one per value of the label.
    Counters,
    IntCounter
);
indexed!(
    /// Whole numbers that rise and fall, one per value of the label.
    Gauges,
    IntGauge
);
indexed!(
    /// Distributions, one per value of the label.
    Histograms,
    Histogram
);

/// Registers families and remembers what they are for the inventory.
pub(crate) struct Builder {
    prefix: &'static str,
    registry: Registry,
    families: Vec<Family>,
}

impl Builder {
    pub(crate) fn new(prefix: &'static str) -> Self {
        let registry = valid(Registry::new_custom(Some(prefix.to_owned()), None));
        Self {
            prefix,
            registry,
            families: Vec::new(),
        }
    }

    pub(crate) fn finish(self) -> (Registry, Vec<Family>) {
        (self.registry, self.families)
    }

    pub(crate) fn describe(&mut self, kind: Kind, name: &str, help: &'static str) -> &mut Family {
        self.families.push(Family {
            name: format!("{}_{name}", self.prefix),
            kind,
            labels: Vec::new(),
            combinations: 1,
            buckets: &[],
            help,
        });
        let last = self.families.len() - 1;
        #[expect(clippy::indexing_slicing, reason = "pushed one line above")]
        &mut self.families[last]
    }

    pub(crate) fn describe_labelled<L: Label>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &'static str,
    ) -> &mut Family {
        let family = self.describe(kind, name, help);
        let rows = L::rows();
        family.combinations = rows.len();
        family.labels = L::names()
            .into_iter()
            .enumerate()
            .map(|(at, name)| {
                let mut values: Vec<&'static str> =
                    rows.iter().filter_map(|row| row.get(at).copied()).collect();
                let mut seen = Vec::new();
                values.retain(|value| {
                    !seen.contains(value) && {
                        seen.push(*value);
                        true
                    }
                });
                (name, values)
            })
            .collect();
        family
    }

    pub(crate) fn register(&self, collector: impl Collector + Clone + 'static) {
        valid(self.registry.register(Box::new(collector)));
    }

    pub(crate) fn counter(&mut self, name: &str, help: &'static str) -> IntCounter {
        self.describe(Kind::Counter, name, help);
        let counter = valid(IntCounter::new(name, help));
        self.register(counter.clone());
        counter
    }

    pub(crate) fn gauge(&mut self, name: &str, help: &'static str) -> IntGauge {
        self.describe(Kind::Gauge, name, help);
        let gauge = valid(IntGauge::new(name, help));
        self.register(gauge.clone());
        gauge
    }

    pub(crate) fn float_gauge(&mut self, name: &str, help: &'static str) -> FloatGauge {
        self.describe(Kind::Gauge, name, help);
        let gauge = valid(FloatGauge::new(name, help));
        self.register(gauge.clone());
        gauge
    }

    pub(crate) fn histogram(
        &mut self,
        name: &str,
        buckets: &'static [f64],
        help: &'static str,
    ) -> Histogram {
        self.describe(Kind::Histogram, name, help).buckets = buckets;
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let histogram = valid(Histogram::with_opts(options));
        self.register(histogram.clone());
        histogram
    }

    pub(crate) fn counters<L: Label>(&mut self, name: &str, help: &'static str) -> Counters<L> {
        self.describe_labelled::<L>(Kind::Counter, name, help);
        let family = valid(IntCounterVec::new(Opts::new(name, help), &L::names()));
        self.register(family.clone());
        Counters::from_rows(|values| valid(family.get_metric_with_label_values(values)))
    }

    pub(crate) fn gauges<L: Label>(&mut self, name: &str, help: &'static str) -> Gauges<L> {
        self.describe_labelled::<L>(Kind::Gauge, name, help);
        let family = valid(IntGaugeVec::new(Opts::new(name, help), &L::names()));
        self.register(family.clone());
        Gauges::from_rows(|values| valid(family.get_metric_with_label_values(values)))
    }

    pub(crate) fn histograms<L: Label>(
        &mut self,
        name: &str,
        buckets: &'static [f64],
        help: &'static str,
    ) -> Histograms<L> {
        self.describe_labelled::<L>(Kind::Histogram, name, help)
            .buckets = buckets;
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let family = valid(HistogramVec::new(options, &L::names()));
        self.register(family.clone());
        Histograms::from_rows(|values| valid(family.get_metric_with_label_values(values)))
    }

    /// A gauge that is always 1 and carries facts of the build as label values.
    pub(crate) fn facts(&mut self, name: &str, help: &'static str, facts: &[(&'static str, &str)]) {
        let names: Vec<&'static str> = facts.iter().map(|fact| fact.0).collect();
        let values: Vec<&str> = facts.iter().map(|fact| fact.1).collect();
        let family = valid(IntGaugeVec::new(Opts::new(name, help), &names));
        self.register(family.clone());
        valid(family.get_metric_with_label_values(&values)).set(1);
        self.describe(Kind::Gauge, name, help).labels =
            names.into_iter().map(|name| (name, Vec::new())).collect();
    }
}
