use std::fs;

use secrecy::ExposeSecret;

use super::*;
use crate::settings::{Access, Algorithm, Dialect, Mode, Scope};
use crate::{docs_markdown, env_listing};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Sources without a file, with a token secret unless `environment` says otherwise.
fn sources(environment: &[(&str, &str)], options: &[&str]) -> Sources {
    let own = environment
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()));
    let default = [("SPARKWAY__AUTH__HS256_SECRET".to_owned(), SECRET.to_owned())];
    let mentions_auth = environment
        .iter()
        .any(|(name, _)| name.contains("__AUTH__"));
    Sources {
        environment: default
            .into_iter()
            .filter(|_| !mentions_auth)
            .chain(own)
            .collect(),
        options: options.iter().map(|&option| option.to_owned()).collect(),
        ..Sources::default()
    }
}

fn with_file(directory: &tempfile::TempDir, text: &str) -> Sources {
    let path = directory.path().join("sparkway.toml");
    fs::write(&path, text).unwrap();
    Sources {
        file: Some(path),
        ..sources(&[], &[])
    }
}

fn loaded(sources: &Sources) -> Loaded {
    load(sources).unwrap_or_else(|errors| panic!("{errors}"))
}

fn refused(sources: &Sources) -> Vec<ConfigError> {
    load(sources).unwrap_err().0
}

fn origin(loaded: &Loaded, key: &str) -> String {
    let shown = loaded.values.iter().find(|shown| shown.key == key).unwrap();
    shown.origin.to_string()
}

#[test]
fn each_source_wins_over_the_ones_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let text = "[session]\nheartbeat_interval = \"20s\"\nresume_window = \"1m\"\nconnect_timeout = \"5s\"\n";
    let mut sources = with_file(&directory, text);
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    sources
        .environment
        .push(set("SPARKWAY__SESSION__RESUME_WINDOW", "2m"));
    sources
        .environment
        .push(set("SPARKWAY__SESSION__CONNECT_TIMEOUT", "6s"));
    sources
        .options
        .push("session.connect_timeout=7s".to_owned());
    let loaded = loaded(&sources);
    let session = &loaded.settings.session;
    assert_eq!(session.token_rotation.as_secs(), 600);
    assert_eq!(session.heartbeat_interval.as_secs(), 20);
    assert_eq!(session.resume_window.as_secs(), 120);
    assert_eq!(session.connect_timeout.as_secs(), 7);
    assert_eq!(origin(&loaded, "session.token_rotation"), "default");
    assert!(origin(&loaded, "session.heartbeat_interval").ends_with("sparkway.toml:2"));
    assert_eq!(
        origin(&loaded, "session.resume_window"),
        "SPARKWAY__SESSION__RESUME_WINDOW"
    );
    assert_eq!(origin(&loaded, "session.connect_timeout"), "--set");
}

#[test]
fn file_of_the_option_wins_over_the_variable_and_that_over_the_usual_places() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, level: &str| {
        let path = directory.path().join(name);
        fs::write(&path, format!("log.level = \"{level}\"")).unwrap();
        path
    };
    let (option, variable, usual) = (file("a", "error"), file("b", "warn"), file("c", "debug"));
    let mut sources = sources(&[], &[]);
    sources.search = vec![directory.path().join("missing"), usual];
    assert_eq!(loaded(&sources).settings.log.level, "debug");
    let name = variable.display().to_string();
    sources
        .environment
        .push(("SPARKWAY_CONFIG".to_owned(), name));
    assert_eq!(loaded(&sources).settings.log.level, "warn");
    sources.file = Some(option.clone());
    let found = loaded(&sources);
    assert_eq!(
        (found.settings.log.level.as_str(), found.file),
        ("error", Some(option))
    );
    sources.file = Some(directory.path().join("missing"));
    let errors = refused(&sources);
    assert!(errors[0].problem.contains("cannot be read"), "{errors:?}");
}

#[test]
fn node_runs_without_a_file_and_foreign_variables_are_ignored() {
    let foreign = [
        ("PATH", "/bin"),
        ("SPARKWAY_SERVICE_HOST", "10.0.0.1"),
        ("SPARKWAY_PORT_8000_TCP", "x"),
        ("sparkway__session__x", "y"),
    ];
    let loaded = loaded(&sources(&foreign, &[]));
    assert_eq!(loaded.file, None);
    assert_eq!(loaded.settings.server.listen.port(), 8000);
}

#[test]
fn all_errors_are_reported_at_once_with_key_value_place_and_range() {
    let directory = tempfile::tempdir().unwrap();
    let text = "[sesion]\nresume_window = \"1m\"\n[session]\nheartbeat_interval = 25\n[limits]\nmessage_bytes = \"1GiB\"\n";
    let mut sources = with_file(&directory, text);
    let set = ("SPARKWAY__DRAIN__MAX_RATE".to_owned(), "fast".to_owned());
    sources.environment.push(set);
    sources.options.push("log.levle=debug".to_owned());
    let errors = load(&sources).unwrap_err();
    let text = errors.to_string();
    let place = directory.path().join("sparkway.toml").display().to_string();
    for line in [
        "5 errors in the configuration:".to_owned(),
        format!("sesion.resume_window ({place}:2): there is no such key; the nearest one is session.resume_window"),
        format!("session.heartbeat_interval = 25 ({place}:4): has no unit; write for example \"25s\", \"500ms\" or \"10m\"; allowed: 50ms to 10m"),
        format!("limits.message_bytes = \"1GiB\" ({place}:6): is too large; allowed: 1KiB to 16MiB"),
        "drain.max_rate = \"fast\" (SPARKWAY__DRAIN__MAX_RATE): is no whole number; allowed: 1 to 1000000".to_owned(),
        "log.levle (--set): there is no such key; the nearest one is log.level".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
}

#[test]
fn misspelt_variable_is_answered_with_the_right_one() {
    let errors = refused(&sources(&[("SPARKWAY__SESION__RESUME_WINDOW", "1m")], &[]));
    assert!(
        errors[0]
            .problem
            .ends_with("is set by SPARKWAY__SESSION__RESUME_WINDOW"),
        "{errors:?}"
    );
    let errors = refused(&sources(&[("SPARKWAY__QQQ", "1m")], &[]));
    assert!(
        errors[0].problem.contains("sparkway config docs"),
        "{errors:?}"
    );
}

#[test]
fn file_that_is_no_toml_is_refused_with_the_line() {
    let directory = tempfile::tempdir().unwrap();
    for (text, line) in [
        ("[session]\nresume_window = 1m\n", 2),
        ("a = 1\na = 2\n", 2),
        ("x\n", 1),
    ] {
        let errors = refused(&with_file(&directory, text));
        assert!(errors[0].problem.starts_with("is no TOML"), "{errors:?}");
        assert!(
            matches!(&errors[0].origin, Origin::File { line: at, .. } if *at == line),
            "{errors:?}"
        );
    }
    let errors = refused(&with_file(
        &directory,
        "[[session]]\nresume_window = \"1m\"\n",
    ));
    assert!(
        errors[0].problem.contains("may list texts only"),
        "{errors:?}"
    );
}

#[test]
fn secrets_appear_in_no_error_no_listing_and_no_debug_form() {
    const HIDDEN: &str = "geheim-geheim-geheim-geheim-geheim";
    let url = format!("redis://ada:{HIDDEN}@h:6379/1");
    let key = format!("swk_ops_{HIDDEN}");
    let good = [
        ("SPARKWAY__AUTH__HS256_SECRET", HIDDEN),
        ("SPARKWAY__AUTH__KEYS__K1__SECRET", HIDDEN),
        ("SPARKWAY__STORE__URL", &url),
        ("SPARKWAY__API__KEYS", &key),
    ];
    let good = sources(&good, &[]);
    let found = loaded(&good);
    let all = format!("{} {found:?} {good:?}", found.show());
    assert!(!all.contains("geheim"), "{all}");
    assert!(
        found
            .show()
            .contains(r#"store.url = "redis://ada:(hidden)@h:6379/1"  # SPARKWAY__STORE__URL"#)
    );
    assert!(
        found
            .show()
            .contains(r#"api.keys = ["swk_ops_(hidden):publish+read+manage+admin"]"#)
    );
    assert_eq!(found.settings.store.url.expose_secret(), url);

    let bad_url = format!("redis://ada:{HIDDEN}@h:x");
    let bad_key = format!("{HIDDEN},swk_a_{HIDDEN}:geheim");
    let bad = [
        ("SPARKWAY__AUTH__HS256_SECRET", "geheim"),
        ("SPARKWAY__AUTH__HS256_SECERT", HIDDEN),
        ("SPARKWAY__STORE__URL", &bad_url),
        ("SPARKWAY__API__KEYS", &bad_key),
    ];
    let errors = load(&sources(&bad, &["geheim", "auth.hs256_secret"])).unwrap_err();
    assert_eq!(errors.0.len(), 6, "{errors}");
    let all = format!("{errors} {errors:?}");
    assert!(!all.contains("geheim"), "{all}");
}

#[test]
fn value_can_be_read_from_a_file_that_a_variable_names() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    fs::write(&path, format!("{SECRET}\r\n")).unwrap();
    let path = path.display().to_string();
    let loaded = loaded(&sources(
        &[("SPARKWAY__AUTH__HS256_SECRET__FILE", &path)],
        &[],
    ));
    let key = &loaded.settings.auth.keys[0];
    assert_eq!(key.material.expose_secret(), SECRET);
    assert!(
        origin(&loaded, "auth.hs256_secret").starts_with("SPARKWAY__AUTH__HS256_SECRET__FILE: /")
    );

    let missing = format!("{path}.missing");
    let errors = refused(&sources(
        &[("SPARKWAY__AUTH__HS256_SECRET__FILE", &missing)],
        &[],
    ));
    assert!(errors[0].problem.contains("cannot be read"), "{errors:?}");
    let both = [
        ("SPARKWAY__AUTH__HS256_SECRET", SECRET),
        ("SPARKWAY__AUTH__HS256_SECRET__FILE", path.as_str()),
    ];
    let errors = refused(&sources(&both, &[]));
    assert!(errors[0].problem.contains("given twice"), "{errors:?}");
}

#[test]
fn numbers_of_a_file_are_read_in_every_form_of_toml() {
    let directory = tempfile::tempdir().unwrap();
    let text = "[limits]\nconnections = 10_000\nframes_burst = 0x10\nmessage_bytes = 2048\nframes_per_second = +7\n";
    let limits = loaded(&with_file(&directory, text)).settings.limits;
    let found = (
        limits.connections,
        limits.frames_burst,
        limits.message_bytes,
        limits.frames_per_second,
    );
    assert_eq!(found, (Some(10_000), 16, 2048, 7));
    for bad in [
        "1.5",
        "-1",
        "true",
        "\"\"",
        "[1]",
        "2026-01-01",
        "99999999999999999999",
    ] {
        let text = format!("limits.frames_burst = {bad}");
        let errors = refused(&with_file(&directory, &text));
        assert_eq!(errors[0].key, "limits.frames_burst", "{errors:?}");
    }
}

#[test]
fn values_that_look_like_numbers_stay_as_they_are() {
    let secret = "0012345678901234567890123456789012";
    let loaded = loaded(&sources(
        &[
            ("SPARKWAY__AUTH__HS256_SECRET", secret),
            ("SPARKWAY__SERVER__NODE_ID", "1e5"),
        ],
        &[],
    ));
    assert_eq!(
        loaded.settings.auth.keys[0].material.expose_secret(),
        secret
    );
    assert_eq!(loaded.settings.server.node_id.unwrap().as_str(), "1e5");
}

#[test]
fn missing_token_key_is_refused_with_what_to_set() {
    for mode in ["required", "optional"] {
        let errors = refused(&sources(&[("SPARKWAY__AUTH__MODE", mode)], &[]));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].key, "auth.mode");
        for part in [
            "auth.hs256_secret",
            "SPARKWAY__AUTH__HS256_SECRET",
            "auth.public_key",
            "`sparkway dev`",
        ] {
            assert!(errors[0].problem.contains(part), "{part}: {errors:?}");
        }
    }
    let off = loaded(&sources(&[("SPARKWAY__AUTH__MODE", "off")], &[]));
    assert!(
        off.warnings
            .iter()
            .any(|warning| warning.contains("auth.mode is off"))
    );
    let options = ["routes./ws=spark", "routes./ws.auth=required"];
    let errors = refused(&sources(&[("SPARKWAY__AUTH__MODE", "off")], &options));
    assert_eq!(errors[0].key, r#"routes."/ws".auth"#);
}

#[test]
fn bad_token_keys_are_refused_by_their_name_only() {
    for (variable, value, key, problem) in [
        (
            "HS256_SECRET",
            "short",
            "auth.hs256_secret",
            "shorter than 32 bytes",
        ),
        (
            "PUBLIC_KEY",
            "nonsense",
            "auth.public_key",
            "no PEM public key",
        ),
        (
            "PUBLIC_KEY",
            "-----BEGIN PRIVATE KEY-----",
            "auth.public_key",
            "private key",
        ),
        (
            "KEYS__K1__SECRET",
            "short",
            "auth.keys.k1.secret",
            "shorter than 32 bytes",
        ),
        (
            "KEYS__K1__ALGORITHM",
            "HS256",
            "auth.keys.k1.algorithm",
            "neither a secret",
        ),
    ] {
        let errors = refused(&sources(
            &[(&format!("SPARKWAY__AUTH__{variable}"), value)],
            &[],
        ));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].key, key);
        assert!(errors[0].problem.contains(problem), "{errors:?}");
    }
}

#[test]
fn named_keys_carry_their_id_and_algorithm() {
    let long = "x".repeat(64);
    let loaded = loaded(&sources(
        &[
            ("SPARKWAY__AUTH__KEYS__NEW__SECRET", SECRET),
            ("SPARKWAY__AUTH__KEYS__OLD__SECRET", &long),
        ],
        &["auth.keys.old.algorithm=HS512"],
    ));
    let keys: Vec<_> = loaded
        .settings
        .auth
        .keys
        .iter()
        .map(|key| (key.id.as_deref(), key.algorithm))
        .collect();
    assert_eq!(
        keys,
        [
            (Some("new"), Algorithm::Hs256),
            (Some("old"), Algorithm::Hs512)
        ]
    );
}

#[test]
fn public_key_in_one_line_is_recognised() {
    let pem = "-----BEGIN PUBLIC KEY-----\\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\\n-----END PUBLIC KEY-----\\n";
    let found = loaded(&sources(&[("SPARKWAY__AUTH__PUBLIC_KEY", pem)], &[]));
    assert_eq!(found.settings.auth.keys[0].algorithm, Algorithm::EdDsa);
    let options = ["auth.public_key_algorithm=RS256"];
    let errors = refused(&sources(&[("SPARKWAY__AUTH__PUBLIC_KEY", pem)], &options));
    assert_eq!(errors[0].key, "auth.public_key");
}

#[test]
fn internal_listener_beyond_loopback_needs_an_api_key() {
    for address in ["0.0.0.0:9000", "[::]:9000", "10.0.0.1:9000"] {
        let listen = [("SPARKWAY__INTERNAL__LISTEN", address)];
        let errors = refused(&sources(&listen, &[]));
        assert_eq!(errors[0].key, "internal.listen");
        assert!(errors[0].problem.contains("api.keys"), "{errors:?}");
        let options = ["api.keys=swk_ops_0123456789abcdefghij:read"];
        let found = loaded(&sources(&listen, &options));
        assert_eq!(found.settings.api.keys[0].scopes, [Scope::Read]);
    }
    for address in ["127.0.0.1:1", "[::1]:1", "127.9.9.9:1"] {
        loaded(&sources(&[("SPARKWAY__INTERNAL__LISTEN", address)], &[]));
    }
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    for (options, key) in [
        (vec!["internal.listen=127.0.0.1:8000"], "internal.listen"),
        (
            vec!["limits.message_bytes=256KiB", "limits.outbox_bytes=128KiB"],
            "limits.outbox_bytes",
        ),
        (vec!["server.tls.cert=/dev/null"], "server.tls.key"),
        (vec!["server.tls.key=/dev/null"], "server.tls.cert"),
        (vec!["store.ca_file=/no/such/file"], "store.ca_file"),
        (
            vec!["auth.public_key_algorithm=PS256"],
            "auth.public_key_algorithm",
        ),
        (vec!["routes="], "routes"),
        (vec!["routes.ws=spark"], "routes.ws"),
        (vec!["routes./ws{a}=spark"], r#"routes."/ws{a}""#),
        (vec!["routes./new.auth=off"], r#"routes."/new""#),
    ] {
        let errors = refused(&sources(&[], &options));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].key, key);
    }
    let tls = ["server.tls.cert=/dev/null", "server.tls.key=/dev/null"];
    assert!(loaded(&sources(&[], &tls)).settings.server.tls.is_some());
}

#[test]
fn namespace_begins_as_the_topics_are_whatever_the_order() {
    let directory = tempfile::tempdir().unwrap();
    let text = "[namespaces.room]\npublish = \"everyone\"\n[topics]\nhistory_entries = 7\nhistory_age = \"1h\"\n";
    let loaded = loaded(&with_file(&directory, text));
    let room = &loaded.settings.namespaces["room"];
    assert_eq!((room.history_entries, room.publish), (7, Access::Everyone));
    assert_eq!(loaded.settings.topics.publish, Access::Granted);
    assert!(origin(&loaded, "namespaces.room.publish").ends_with(":2"));
    assert_eq!(
        origin(&loaded, "namespaces.room.history_entries"),
        "default"
    );
}

#[test]
fn configured_routes_replace_the_default_ones() {
    let directory = tempfile::tempdir().unwrap();
    let text = "[routes]\n\"/r/{room}\" = { dialect = \"room\", auth = \"off\" }\n\"/r/main\" = \"chat\"\n\"/ws/topics\".auth = \"optional\"\n";
    let mut sources = with_file(&directory, text);
    let of = |loaded: &Loaded| -> Vec<_> {
        let routes = loaded.settings.routes.iter();
        routes
            .map(|route| (route.path.to_string(), route.dialect, route.auth))
            .collect()
    };
    let found = loaded(&sources);
    let expected = [
        ("/r/main".to_owned(), Dialect::Chat, None),
        (
            "/ws/topics".to_owned(),
            Dialect::Topics,
            Some(Mode::Optional),
        ),
        ("/r/{room}".to_owned(), Dialect::Room, Some(Mode::Off)),
    ];
    assert_eq!(of(&found), expected);
    assert!(origin(&found, r#"routes."/r/main".dialect"#).ends_with(":3"));
    // One value for all routes replaces those of the file; a later one for a path wins.
    sources.environment.push((
        "SPARKWAY__ROUTES".to_owned(),
        "/ws=chat, /x=spark".to_owned(),
    ));
    sources.options.push("routes./x=topics".to_owned());
    let found = loaded(&sources);
    let expected = [
        ("/ws".to_owned(), Dialect::Chat, None),
        ("/x".to_owned(), Dialect::Topics, None),
    ];
    assert_eq!(of(&found), expected);
    assert_eq!(
        origin(&found, r#"routes."/ws".dialect"#),
        "SPARKWAY__ROUTES"
    );
}

#[test]
fn what_show_prints_is_a_file_that_loads_to_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let options = [
        "namespaces.room.presence=false",
        "routes./ws=chat",
        "auth.mode=off",
        "server.allowed_origins=https://a.example",
    ];
    let before = loaded(&sources(&[("SPARKWAY__AUTH__MODE", "off")], &options));
    let mut again = with_file(&directory, &before.show());
    again.environment.clear();
    let after = loaded(&again);
    assert_eq!(
        format!("{:?}", after.settings),
        format!("{:?}", before.settings)
    );
}

#[test]
fn short_history_and_memory_store_are_warned_about() {
    let found = loaded(&sources(
        &[],
        &[
            "routes./ws=spark",
            "topics.history_age=1s",
            "namespaces.a.history_age=2s",
        ],
    ));
    assert_eq!(found.warnings.len(), 2, "{:?}", found.warnings);
    let found = loaded(&sources(
        &[],
        &[
            "routes./ws=spark",
            "store.url=redis://h",
            "namespaces.a.history_age=2s",
        ],
    ));
    assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
}

#[test]
fn rooms_that_ask_nobody_are_warned_about_until_somebody_decides() {
    let warned = |options: &[&str]| {
        let found = loaded(&sources(&[], options));
        let about = |text: &&String| text.contains("asks nobody");
        found.warnings.iter().filter(about).count()
    };
    assert_eq!(warned(&[]), 1, "a default route is open");
    assert_eq!(warned(&["routes./ws/room/{room}=room"]), 1);
    assert_eq!(warned(&["routes./ws=spark"]), 0);
    for decided in ["off", "required"] {
        let auth = format!("routes./ws/room/{{room}}.auth={decided}");
        assert_eq!(warned(&["routes./ws/room/{room}=room", &auth]), 0, "{auth}");
    }
    let off = loaded(&sources(&[("SPARKWAY__AUTH__MODE", "off")], &[]));
    let about = |text: &String| text.contains("asks nobody");
    assert!(!off.warnings.iter().any(about), "everything is open then");
}

#[test]
fn list_of_variables_names_every_key_that_a_variable_can_set() {
    let listing = env_listing();
    assert!(listing.contains("# SPARKWAY__SESSION__HEARTBEAT_INTERVAL=25s\n"));
    assert!(listing.contains("# SPARKWAY__NAMESPACES__NAME__PRESENCE=false\n"));
    assert!(listing.lines().all(|line| line.starts_with("# ")));
}

#[test]
fn reference_page_is_up_to_date() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("../../docs/reference/configuration.md");
    let page = docs_markdown();
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &page).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == page,
        "docs/reference/configuration.md is out of date: run UPDATE=1 cargo test -p sparkway-config"
    );
}
