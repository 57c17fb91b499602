use sparkway_protocol::Partitions;

use super::*;

#[test]
fn every_event_that_is_kept_can_be_asked_for() {
    let kept = sparkway_store::Happened::ALL.map(sparkway_store::Happened::as_str);
    assert_eq!(kept, HookSettings::EVENTS);
}

#[test]
fn namespace_settings_hold_for_its_topics_only() {
    let mut settings = Settings::default();
    let own = TopicSettings {
        history_entries: 5,
        ..TopicSettings::default()
    };
    settings.namespaces.insert("room".into(), own);
    let entries = |name| {
        let topic = TopicName::parse(name).unwrap();
        settings.topic(&topic).history_entries
    };
    assert_eq!(entries("room:1"), 5);
    assert_eq!(entries("room"), 5);
    assert_eq!(entries("rooms:1"), 1000);
}

#[test]
fn address_range_holds_its_network_only() {
    for (range, address, inside) in [
        ("10.0.0.0/8", "10.255.1.2", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("10.0.0.0/8", "::ffff:10.1.1.1", true),
        ("127.0.0.1", "127.0.0.1", true),
        ("127.0.0.1", "127.0.0.2", false),
        ("0.0.0.0/0", "8.8.8.8", true),
        ("0.0.0.0/0", "::1", false),
        ("fd00::/8", "fd12::1", true),
        ("fd00::/8", "fe80::1", false),
        ("::/0", "::1", true),
    ] {
        let range = AddressRange::parse(range).unwrap();
        assert_eq!(
            range.contains(address.parse().unwrap()),
            inside,
            "{address}"
        );
    }
    for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "a/8", "10.0.0.1/"] {
        assert_eq!(AddressRange::parse(bad), None, "{bad}");
    }
}

#[test]
fn layout_follows_the_kind_of_store_unless_it_is_set() {
    let layout = |url: &str, partitions| {
        let url = SecretString::from(url);
        StoreSettings {
            url,
            partitions,
            ..StoreSettings::default()
        }
        .layout()
        .count()
    };
    assert_eq!(layout("memory:", None), 1);
    assert_eq!(layout("redis://h", None), 1);
    assert_eq!(layout("redis+cluster://a,b", None), 16);
    assert_eq!(layout("redis+cluster://a,b", Partitions::new(4)), 4);
}

#[test]
fn defaults_agree_with_each_other() {
    let settings = Settings::default();
    assert!(settings.topics.history_age > settings.session.resume_window);
    assert!(settings.limits.outbox_bytes >= settings.limits.message_bytes);
    assert!(settings.internal.listen.ip().is_loopback());
}
