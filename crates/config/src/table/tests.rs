use std::collections::BTreeSet;

use super::*;
use crate::draft::Draft;
use crate::path::Path;
use crate::settings::Settings;
use crate::show::SHORT_FORMS;

/// A value for every key but `routes` that is not its default.
const VALUES: &[(&str, &str)] = &[
    ("server.listen", "[::]:9"),
    ("server.node_id", "n1"),
    ("server.tls.cert", "/c"),
    ("server.tls.key", "/k"),
    ("server.tls.min_version", "1.3"),
    ("server.allowed_origins", "https://a.example,*"),
    ("server.compression", "deflate"),
    ("server.trusted_proxies", "10.0.0.0/8"),
    ("internal.listen", "127.0.0.1:1"),
    ("store.url", "redis://h"),
    ("store.key_prefix", "x"),
    ("store.partitions", "16"),
    ("store.replicas", "2"),
    ("store.ca_file", "/ca"),
    ("routes.*", "spark"),
    ("routes.*.dialect", "room"),
    ("routes.*.auth", "off"),
    ("routes.*.reject", "http"),
    ("auth.mode", "off"),
    ("auth.hs256_secret", "0123456789abcdef0123456789abcdef"),
    ("auth.public_key", "-----BEGIN"),
    ("auth.public_key_algorithm", "PS256"),
    ("auth.keys.*.algorithm", "HS512"),
    ("auth.keys.*.secret", "s"),
    ("auth.keys.*.public_key", "p"),
    ("auth.jwks_url", "https://id.example/jwks"),
    ("auth.jwks_refresh", "1h"),
    ("auth.jwks_timeout", "2s"),
    ("auth.issuers.*.issuer", "https://id.example"),
    ("auth.issuers.*.jwks_url", "https://id.example/jwks"),
    ("auth.issuers.*.audience", "a,b"),
    ("hooks.connect", "https://app.example/connect"),
    ("hooks.subscribe", "https://app.example/subscribe"),
    ("hooks.publish", "https://app.example/publish"),
    ("hooks.message", "https://app.example/message"),
    ("hooks.rpc", "https://app.example/rpc"),
    ("hooks.refresh", "https://app.example/refresh"),
    ("hooks.events", "https://app.example/events"),
    ("hooks.secret", "0123456789abcdef01234567"),
    ("hooks.previous_secret", "0123456789abcdef01234567"),
    ("hooks.timeout", "2s"),
    ("hooks.call_timeout", "2s"),
    ("hooks.events_timeout", "2s"),
    ("hooks.concurrency", "7"),
    ("hooks.connect_on_error", "cached"),
    ("hooks.subscribe_on_error", "allow"),
    ("hooks.publish_on_error", "allow"),
    ("hooks.cache", "1h"),
    ("hooks.transport_headers", "x-request-id"),
    ("hooks.claimed_headers", "x-device"),
    ("hooks.events_retry", "2h"),
    ("hooks.event_types", "session.expired"),
    ("outbound.allow", "10.0.0.0/8"),
    ("outbound.ca_file", "/ca"),
    ("outbound.connect_timeout", "2s"),
    ("auth.issuer", "i"),
    ("auth.audience", "a,b"),
    ("auth.leeway", "0s"),
    ("auth.lifetime_max", "1d"),
    ("auth.token_bytes_max", "4KiB"),
    ("auth.required_claims", "exp,jti"),
    ("auth.default_subscribe", "room:*"),
    ("auth.default_publish", "room:*"),
    ("auth.anonymous_subscribe", "*"),
    ("auth.anonymous_publish", "*"),
    ("auth.revocation_keep", "30d"),
    ("auth.cookie_name", "sid"),
    ("session.heartbeat_interval", "20s"),
    ("session.resume_window", "10m"),
    ("session.connect_timeout", "1s"),
    ("session.token_rotation", "1h"),
    ("session.per_user", "1"),
    ("session.expiry_grace", "0s"),
    ("session.keep_on_close", "true"),
    ("session.max_unacked", "100"),
    ("topics.history_entries", "0"),
    ("topics.history_age", "1d"),
    ("topics.presence", "true"),
    ("topics.ephemeral", "true"),
    ("topics.durability", "replicated"),
    ("topics.publish", "nobody"),
    ("topics.subscribe", "everyone"),
    ("namespaces.*.history_entries", "1"),
    ("namespaces.*.history_age", "2d"),
    ("namespaces.*.presence", "true"),
    ("namespaces.*.ephemeral", "true"),
    ("namespaces.*.durability", "replicated"),
    ("namespaces.*.publish", "everyone"),
    ("namespaces.*.subscribe", "nobody"),
    ("presence.grace", "5s"),
    ("room.ping_interval", "5s"),
    ("room.echo", "self"),
    ("room.relay_binary", "true"),
    ("conversation.versions", "1,3"),
    ("conversation.response_timeout", "5s"),
    ("conversation.responder", "echo"),
    ("conversation.require_tls", "true"),
    ("chat.ping_interval", "5s"),
    ("chat.presence_grace", "0s"),
    ("chat.presence_scope", "contacts"),
    ("chat.online_users_broadcast_limit", "7"),
    ("chat.deliver_pending", "false"),
    ("chat.delivered_on", "ack"),
    ("chat.users", "claims"),
    ("chat.history_entries", "100"),
    ("chat.history_age", "30d"),
    ("chat.token_lifetime", "1h"),
    ("chat.registrations_per_address", "3"),
    ("chat.logins_per_address", "4"),
    ("chat.failed_logins_per_account", "5"),
    ("limits.message_bytes", "256KiB"),
    ("limits.connections", "1000"),
    ("limits.connections_per_address", "50"),
    ("limits.connections_per_user", "5"),
    ("limits.handshake_timeout", "2s"),
    ("limits.handshakes_per_second", "10"),
    ("limits.handshakes_per_address", "3"),
    ("limits.bytes_per_second", "100000"),
    ("limits.publishes_in_flight", "16"),
    ("limits.nesting_depth", "8"),
    ("limits.fragments_per_message", "16"),
    ("limits.frames_per_second", "0"),
    ("limits.frames_burst", "7"),
    ("limits.topics_per_session", "5"),
    ("limits.outbox_bytes", "1MiB"),
    ("drain.readiness_delay", "0s"),
    ("drain.duration", "1h"),
    ("drain.max_rate", "9"),
    ("api.keys", "swk_ops_0123456789abcdefghij:read"),
    ("log.level", "debug,a=trace"),
    ("log.format", "json"),
    ("rebalance.enabled", "false"),
    ("rebalance.threshold", "0.25"),
    ("rebalance.rate", "0.004"),
    ("rebalance.min_connections", "50"),
    ("rebalance.max_connection_age", "2h"),
    ("tracing.otlp_endpoint", "http://collector:4318"),
    ("tracing.service_name", "edge"),
    ("tracing.sample_ratio", "0.5"),
    ("tracing.connection_ratio", "1"),
    ("tracing.slow", "1s"),
    ("tracing.record_topic", "true"),
];

fn example(key: &Key) -> &'static str {
    match key.name.split('.').next() {
        Some("routes") => "/ws/chat",
        Some("namespaces" | "auth") if key.name.contains('*') => "name",
        _ => "",
    }
}

#[test]
fn names_are_different_lower_case_and_lie_in_their_section() {
    let names: BTreeSet<_> = keys().map(|key| key.name).collect();
    assert_eq!(names.len(), keys().count());
    for section in SECTIONS {
        for key in section.keys {
            let in_section = key.name == section.name
                || key
                    .name
                    .strip_prefix(section.name)
                    .is_some_and(|rest| rest.starts_with('.'));
            assert!(in_section, "{}", key.name);
            let is_plain = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.*".contains(&byte)
            };
            assert!(key.name.bytes().all(is_plain), "{}", key.name);
            assert!(
                !key.name.split('.').any(|part| part == "file"),
                "`…__FILE` would be taken for a file"
            );
            assert!(
                key.doc.ends_with('.') || key.doc.ends_with('`'),
                "{}",
                key.doc
            );
        }
    }
}

/// What a key shows as its default can be written into a file and changes nothing: so the table and
/// the settings cannot differ, and `config show` is a valid file.
#[test]
fn shown_default_of_every_key_is_accepted_and_is_the_default() {
    let before = format!("{:?}", Settings::default());
    for key in keys() {
        let mut draft = Draft::default();
        let name = example(key);
        let shown = (key.get)(&draft, name);
        if SHORT_FORMS.contains(&key.name) && shown == Raw::List(Vec::new()) {
            continue;
        }
        key.kind
            .apply(&mut draft, name, &shown)
            .unwrap_or_else(|problem| panic!("{}: {problem}", key.name));
        assert_eq!((key.get)(&draft, name), shown, "{}", key.name);
        draft.settings.namespaces.clear();
        assert_eq!(format!("{:?}", draft.settings), before, "{}", key.name);
    }
}

#[test]
fn every_key_takes_another_value_than_its_default() {
    for &(key, value) in VALUES {
        let known = keys()
            .find(|known| known.name == key)
            .unwrap_or_else(|| panic!("{key}"));
        let name = example(known);
        let mut draft = Draft::default();
        let default = (known.get)(&draft, name);
        known
            .kind
            .apply(&mut draft, name, &Raw::Text(value.to_owned()))
            .unwrap_or_else(|problem| panic!("{key}: {problem}"));
        let shown = (known.get)(&draft, name);
        assert_ne!(shown, default, "{key}");
        if !known.secret {
            let normal = |text: &str| text.replace("24h", "1d");
            assert_eq!(normal(&shown.plain()), normal(value), "{key}");
        }
    }
    let names: BTreeSet<_> = VALUES
        .iter()
        .map(|(key, _)| *key)
        .chain(["routes"])
        .collect();
    assert_eq!(names, keys().map(|key| key.name).collect());
}

#[test]
fn bounds_are_enforced_at_both_ends() {
    for (key, good, bad) in [
        (
            "session.heartbeat_interval",
            ["50ms", "10m"],
            ["49ms", "601s"],
        ),
        (
            "topics.history_entries",
            ["0", "1000000"],
            ["-1", "1000001"],
        ),
        ("limits.message_bytes", ["1KiB", "16MiB"], ["1023", "17MiB"]),
        ("store.partitions", ["1", "16"], ["0", "17"]),
        ("session.per_user", ["1", ""], ["0", "2"]),
        ("auth.lifetime_max", ["1s", ""], ["999ms", "4000d"]),
        ("session.keep_on_close", ["true", "false"], ["1", "yes"]),
        ("auth.mode", ["off", "optional"], ["", "OFF"]),
        (
            "api.keys",
            ["", "swk_a_0123456789abcdefghij:publish+read"],
            ["swk_a_short", "swk_a_0123456789abcdefghij:root"],
        ),
        (
            "server.allowed_origins",
            ["*", "https://*.example:8443"],
            ["example", "https://"],
        ),
        ("auth.cookie_name", ["a", "a-b_c.d"], ["", "a b"]),
        ("log.level", ["warn", "info,hyper=off"], ["", "loud"]),
    ] {
        let known = keys().find(|known| known.name == key).unwrap();
        let apply = |value: &str| {
            known
                .kind
                .apply(&mut Draft::default(), "", &Raw::Text(value.to_owned()))
        };
        for value in good {
            assert_eq!(apply(value), Ok(()), "{key} {value}");
        }
        for value in bad {
            assert!(apply(value).is_err(), "{key} {value}");
        }
    }
}

#[test]
fn every_name_reads_back_as_a_path_and_a_variable() {
    for key in keys() {
        let path = Path::parse(key.name).unwrap();
        assert_eq!(path.to_string(), key.name);
        let variable = path.variable();
        let rest = variable.strip_prefix("SPARKWAY__").unwrap();
        assert_eq!(Path::of_variable(rest), path);
    }
}
