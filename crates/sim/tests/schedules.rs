//! A few schedules of each kind, those that once found something, and that a seed says it all.
//! Many more: `make sim N=100000`.

use sparkway_metrics::Metrics;
use sparkway_sim::plan::Plan;
use sparkway_sim::run::run;

/// The first that found something, and what that was.
const FOUND: &[(u64, &str)] = &[
    (481, "a ring with a hole in it served whoever resumed"),
    (1094, "a ring with a hole in it served whoever resumed"),
    (668, "a message came after its topic had been left"),
    (
        1107,
        "an answer named a position before an earlier subscription",
    ),
    (
        1582,
        "a subscription on a node that was behind began before what its client had named",
    ),
    (
        5102,
        "a subscription on a node that was behind began before what its client had named",
    ),
    (
        1622,
        "an answer named a position beyond what the worker had handed out",
    ),
    (
        379,
        "a subscription began earlier in its record than its client was told",
    ),
    (3447, "what the store had lost was told to be trimmed"),
    (
        13272,
        "an entry was handed on although the store had lost it and the one before",
    ),
];

#[test]
fn schedules_that_once_broke_a_promise_keep_it() {
    let metrics = Metrics::new();
    for (seed, found) in FOUND {
        let outcome = run(&Plan::of(*seed), &metrics).unwrap();
        assert!(
            outcome.violations.is_empty(),
            "{seed} ({found}): {:#?}",
            outcome.violations
        );
    }
}

#[test]
fn schedules_keep_every_promise_and_a_seed_says_all() {
    let metrics = Metrics::new();
    for seed in 200_000..200_300 {
        let plan = Plan::of(seed);
        let outcome = run(&plan, &metrics).unwrap();
        assert!(
            outcome.violations.is_empty(),
            "{seed}: {:#?}",
            outcome.violations
        );
        let again = run(&plan, &metrics).unwrap();
        assert_eq!(
            outcome.fingerprint(),
            again.fingerprint(),
            "{seed} was another run"
        );
    }
}

#[test]
fn schedules_are_not_idle() {
    let metrics = Metrics::new();
    let mut sum = sparkway_sim::run::Counts::default();
    for seed in 300_000..300_100 {
        sum.add(run(&Plan::of(seed), &metrics).unwrap().counts());
    }
    assert!(
        sum.delivered > 3000 && sum.resumes > 300 && sum.gaps > 0,
        "{sum:?}"
    );
}
