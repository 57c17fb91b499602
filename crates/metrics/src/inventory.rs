//! What there is to be scraped, for the reference page.

use std::fmt::Write as _;

use crate::{Metrics, NAMESPACES_MAX, Shape};

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises; use `rate()`.
    Counter,
    /// Rises and falls.
    Gauge,
    /// A distribution; use `histogram_quantile()`.
    Histogram,
}

impl Kind {
    /// The word in the text format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One family of series.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its full name.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// Its labels, each with all its values; no values where they come from the build.
    pub labels: Vec<(&'static str, Vec<&'static str>)>,
    /// How many combinations of label values there are.
    pub combinations: usize,
    /// Upper bounds of the buckets of a histogram, without the last, infinite one.
    pub buckets: &'static [f64],
    /// What it says and how to read it.
    pub help: &'static str,
}

impl Family {
    /// How many series a scrape holds of it.
    #[must_use]
    pub fn series(&self) -> usize {
        match self.kind {
            Kind::Counter | Kind::Gauge => self.combinations,
            // one per bucket, the infinite bucket, the sum, the count
            Kind::Histogram => self.combinations * (self.buckets.len() + 3),
        }
    }
}

/// The families that the operating system's view of the process adds, without a prefix.
pub(crate) const PROCESS: [(&str, Kind, &str); 7] = [
    (
        "process_cpu_seconds_total",
        Kind::Counter,
        "CPU time of the process; `rate()` is the number of cores in use.",
    ),
    (
        "process_open_fds",
        Kind::Gauge,
        "Open file descriptors; one per connection and a few more.",
    ),
    (
        "process_max_fds",
        Kind::Gauge,
        "Limit of open file descriptors.",
    ),
    (
        "process_resident_memory_bytes",
        Kind::Gauge,
        "Memory in RAM; divide by connections.",
    ),
    (
        "process_virtual_memory_bytes",
        Kind::Gauge,
        "Address space; says little.",
    ),
    (
        "process_start_time_seconds",
        Kind::Gauge,
        "Unix time of the start; a change is a restart.",
    ),
    ("process_threads", Kind::Gauge, "Threads of the process."),
];

/// All families with the prefix `sparkway_`, in the order of the data's path.
#[must_use]
pub fn inventory() -> Vec<Family> {
    inventory_of(&Shape::default())
}

/// As [`inventory`], of a node of this shape.
pub(crate) fn inventory_of(shape: &Shape) -> Vec<Family> {
    Metrics::with_families(shape).1
}

/// The reference page of all families, in Markdown.
#[must_use]
pub fn docs_markdown() -> String {
    let families = inventory();
    let series: usize = families.iter().map(Family::series).sum();
    let mut page = format!(
        "# Metrics\n\n\
         Generated from `crates/metrics`; do not edit. The internal listener serves them at \
         `/metrics` in the Prometheus text format 0.0.4.\n\n\
         {} families, {series} series per node, whatever clients do: labels have closed sets of \
         values, never a topic, user, session or address. Every series exists from the start with \
         the value 0. Times are in seconds, sizes in bytes. `topic_ns` is `default`, one of the first \
         {NAMESPACES_MAX} namespaces of the configuration, or `other`; `shard` a partition of the store; `worker` a \
         thread: 0, 1, … or `internal`. Counted above is a node of one worker and one partition without \
         namespaces.\n\n\
         | family | type | labels | meaning |\n|---|---|---|---|\n",
        families.len(),
    );
    for family in &families {
        row(&mut page, family);
    }
    page.push_str(
        "\n## Process\n\nWithout prefix, so that common dashboards find them.\n\n\
         | family | type | meaning |\n|---|---|---|\n",
    );
    for (name, kind, help) in PROCESS {
        append(
            &mut page,
            format_args!("| `{name}` | {} | {help} |\n", kind.as_str()),
        );
    }
    page.push_str("\n## Values of labels\n\n| label | of | values |\n|---|---|---|\n");
    for family in &families {
        for (label, values) in &family.labels {
            if !values.is_empty() {
                let name = &family.name;
                let values = values.join("`, `");
                append(
                    &mut page,
                    format_args!("| `{label}` | `{name}` | `{values}` |\n"),
                );
            }
        }
    }
    page.push_str("\n## Buckets\n\n| family | upper bounds |\n|---|---|\n");
    for family in families
        .iter()
        .filter(|family| family.kind == Kind::Histogram)
    {
        let bounds: Vec<String> = family.buckets.iter().map(ToString::to_string).collect();
        append(
            &mut page,
            format_args!("| `{}` | {} |\n", family.name, bounds.join(", ")),
        );
    }
    page
}

fn row(page: &mut String, family: &Family) {
    let labels: Vec<String> = family
        .labels
        .iter()
        .map(|(label, _)| format!("`{label}`"))
        .collect();
    let (name, kind, help) = (&family.name, family.kind.as_str(), family.help);
    let labels = labels.join(", ");
    append(
        page,
        format_args!("| `{name}` | {kind} | {labels} | {help} |\n"),
    );
}

fn append(page: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = page.write_fmt(line);
}
