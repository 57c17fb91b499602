use std::collections::BTreeSet;
use std::path::Path;

use sparkway_protocol::{CloseReason, Format};

use super::*;
use crate::inventory::PROCESS;

/// The families of a scrape: name and type.
fn scraped(text: &str) -> BTreeSet<(String, String)> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect()
}

#[test]
fn scrape_holds_every_family_from_the_start_and_no_other() {
    let mut expected: BTreeSet<_> = inventory()
        .into_iter()
        .map(|family| (family.name, family.kind.as_str().to_owned()))
        .collect();
    assert_eq!(expected.len(), inventory().len(), "names differ");
    for (name, kind, _) in PROCESS {
        expected.insert((name.to_owned(), kind.as_str().to_owned()));
    }
    assert_eq!(scraped(&Metrics::new().render()), expected);
}

#[test]
fn scrape_has_exactly_the_series_of_the_inventory_and_fewer_than_2000() {
    let text = Metrics::new().render();
    let found = text
        .lines()
        .filter(|line| line.starts_with("sparkway_"))
        .count();
    let expected: usize = inventory().iter().map(Family::series).sum();
    assert_eq!(found, expected);
    assert!(found < 2000, "{found}");
    assert!(text.len() < 400_000, "{}", text.len());
}

#[test]
fn names_have_the_prefix_and_say_their_unit() {
    const UNITLESS: [&str; 2] = ["sparkway_fanout_size", "sparkway_resume_replayed_messages"];
    for family in inventory() {
        let name = family.name.as_str();
        assert!(name.starts_with("sparkway_"), "{name}");
        let plain = name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        assert!(plain && !name.contains("__"), "{name}");
        assert_eq!(
            name.ends_with("_total"),
            family.kind == Kind::Counter,
            "{name}: counters, and only they, end in _total"
        );
        let has_unit = name.ends_with("_seconds") || name.ends_with("_bytes");
        assert!(
            family.kind != Kind::Histogram || has_unit || UNITLESS.contains(&name),
            "{name}: a distribution has a unit"
        );
        assert!(
            family.help.ends_with('.') && family.help.len() > 20,
            "{name}: {}",
            family.help
        );
        assert!(
            family.buckets.windows(2).all(|pair| pair[0] < pair[1]),
            "{name}: buckets rise"
        );
        for (label, _) in &family.labels {
            let taken = [
                "job",
                "instance",
                "namespace",
                "pod",
                "node",
                "le",
                "quantile",
            ];
            assert!(
                !taken.contains(label),
                "{name}: {label} belongs to the scrape"
            );
        }
    }
}

#[test]
fn counting_touches_exactly_the_named_series() {
    let metrics = Metrics::new();
    metrics
        .session
        .publishes
        .of(0)
        .at((Origin::Http, PublishResult::TooLarge))
        .inc_by(7);
    metrics.socket.connections.at(Format::SparkMsgPack).add(3);
    metrics
        .socket
        .connections_closed
        .at((Initiator::Server, CloseCode::of(4009)))
        .inc();
    metrics
        .hub
        .delivery_latency
        .at(DeliverySource::Repair)
        .observe(0.03);
    let text = metrics.render();
    for line in [
        r#"sparkway_publishes_total{origin="http",result="too_large",topic_ns="default"} 7"#,
        r#"sparkway_connections{dialect="spark",encoding="msgpack"} 3"#,
        r#"sparkway_connections_closed_total{code="4009",initiator="server"} 1"#,
        r#"sparkway_delivery_latency_seconds_count{source="repair"} 1"#,
        r#"sparkway_delivery_latency_seconds_bucket{source="repair",le="0.05"} 1"#,
        r#"sparkway_delivery_latency_seconds_bucket{source="repair",le="0.025"} 0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
    let raised = text
        .lines()
        .filter(|line| line.contains("_total{") && !line.ends_with(" 0"))
        .count();
    assert_eq!(raised, 2);
}

#[test]
fn every_value_of_every_label_has_its_own_series() {
    fn check<L: Label>(all: &[L]) {
        let rows = L::rows();
        assert_eq!(rows.len(), L::COUNT);
        assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), L::COUNT);
        assert!(rows.iter().all(|row| row.len() == L::names().len()));
        for (at, label) in all.iter().enumerate() {
            assert_eq!(label.index(), at);
        }
        assert_eq!(all.len(), L::COUNT);
    }
    check(&Format::ALL);
    check(CloseCode::ALL);
    check(RedisOp::ALL);
    let pairs: Vec<_> = Initiator::ALL
        .iter()
        .flat_map(|&one| CloseCode::ALL.iter().map(move |&two| (one, two)))
        .collect();
    check(&pairs);
}

#[test]
fn every_close_reason_has_a_code_of_its_own_and_foreign_codes_share_one() {
    for reason in CloseReason::ALL {
        assert_ne!(CloseCode::of(reason.code()), CloseCode::Other, "{reason:?}");
    }
    for foreign in [0, 999, 1005, 1014, 3000, 3999, 4006, 4999, u16::MAX] {
        assert_eq!(CloseCode::of(foreign), CloseCode::Other, "{foreign}");
    }
}

#[test]
fn exactly_one_state_of_the_node_is_one() {
    let metrics = Metrics::new();
    let ones = || {
        let text = metrics.render();
        text.lines()
            .filter(|line| line.starts_with("sparkway_node_state{") && line.ends_with(" 1"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(ones(), [r#"sparkway_node_state{state="starting"} 1"#]);
    metrics.node.set_state(NodeState::Draining);
    assert_eq!(ones(), [r#"sparkway_node_state{state="draining"} 1"#]);
}

#[test]
fn two_nodes_of_one_process_count_apart() {
    let (one, two) = (Metrics::new(), Metrics::new());
    one.hub.topics.of(0).set(5);
    assert!(
        one.render()
            .contains(r#"sparkway_topics{topic_ns="default"} 5"#)
    );
    assert!(
        two.render()
            .contains(r#"sparkway_topics{topic_ns="default"} 0"#)
    );
}

#[test]
fn reference_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
    let page = docs_markdown();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == page,
        "docs/reference/metrics.md is out of date: run UPDATE=1 cargo test -p sparkway-metrics"
    );
}

#[test]
fn a_node_of_four_shards_has_fewer_than_2000_series_however_many_namespaces_it_has() {
    let shape = Shape {
        namespaces: (0..200).map(|at| format!("space-{at}").into()).collect(),
        shards: 4,
        workers: 8,
    };
    let metrics = Metrics::of(&shape, None);
    let count = |text: &str| {
        text.lines()
            .filter(|line| line.starts_with("sparkway_"))
            .count()
    };
    let before = count(&metrics.render());
    let expected: usize = inventory::inventory_of(&shape)
        .iter()
        .map(Family::series)
        .sum();
    assert_eq!(before, expected);
    assert!(before < 2000, "{before}");
    for at in 0..200 {
        let slot = metrics.namespaces.slot(&format!("space-{at}"));
        metrics
            .session
            .publishes
            .of(slot)
            .at((Origin::Client, PublishResult::Ok))
            .inc();
    }
    let text = metrics.render();
    assert_eq!(count(&text), before);
    for (space, times) in [
        ("default", 0),
        ("space-0", 1),
        ("space-7", 1),
        ("other", 192),
    ] {
        let line = format!(
            r#"sparkway_publishes_total{{origin="client",result="ok",topic_ns="{space}"}} {times}"#
        );
        assert!(text.contains(&line), "{line}");
    }
}

/// What a client can send that comes near a label: names of topics, close codes, paths, words.
#[test]
fn a_hundred_thousand_random_topics_and_codes_add_no_series() {
    let metrics = Metrics::of(
        &Shape {
            namespaces: vec!["chat".into(), "orders".into()],
            ..Shape::default()
        },
        None,
    );
    let names = |text: &str| -> BTreeSet<String> {
        let named = |line: &str| line.rsplit_once(' ').map(|(series, _)| series.to_owned());
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(named)
            .collect()
    };
    let before = names(&metrics.render());
    // xorshift64*: no dependency, the same on every machine.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    for _ in 0..100_000 {
        let [low, high, ..] = random().to_le_bytes();
        let topic = format!("{:x}:\"{}\n", random(), char::from(low));
        let slot = metrics
            .namespaces
            .slot(topic.split(':').next().unwrap_or_default());
        metrics
            .session
            .publishes
            .of(slot)
            .at((Origin::Client, PublishResult::Ok))
            .inc();
        metrics
            .hub
            .deliveries
            .of(usize::from(low))
            .at(Delivery::Queued)
            .inc();
        metrics
            .store
            .bus_lag
            .of(usize::from(low))
            .observe(random() as f64);
        let code = CloseCode::of(u16::from_le_bytes([low, high]));
        metrics
            .socket
            .connections_closed
            .at((Initiator::Client, code))
            .inc();
    }
    assert_eq!(names(&metrics.render()), before);
}
