//! Style as a test: who may import whom, how large a file may be, which names are refused.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Who may import whom within the workspace. Everything not listed is refused.
const IMPORTS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("frame", &["protocol"]),
    ("dialect", &["protocol", "frame"]),
    ("session", &["protocol"]),
    ("topic", &["protocol"]),
    ("auth", &["protocol"]),
    ("metrics", &["protocol"]),
    ("store", &["protocol", "metrics"]),
    ("socket", &["protocol", "frame", "metrics"]),
    (
        "hub",
        &["protocol", "frame", "dialect", "topic", "socket", "metrics"],
    ),
    (
        "gateway",
        &[
            "protocol", "frame", "dialect", "auth", "session", "topic", "store", "hub", "socket",
            "metrics", "outbound", "hooks",
        ],
    ),
    // Beside the gateway, not in it: what backends are offered grows by itself (routes, schemas,
    // OpenAPI), and it may use of a node only what `gateway::desk` hands out.
    (
        "api",
        &[
            "protocol", "dialect", "session", "store", "gateway", "metrics",
        ],
    ),
    ("hooks", &["protocol", "metrics", "outbound"]),
    ("config", &["protocol", "gateway"]),
    ("client", &["protocol", "frame", "dialect"]),
    // an application: speaks the gateway's own words, checks its tokens, keeps what it keeps in
    // its store, and makes frames of its own dialect
    ("chat", &["protocol", "dialect", "auth", "store", "gateway"]),
    ("outbound", &[]),
    // It builds whole nodes, store and hub included; besides, the judge of tests/chaos.
    ("sim", &["protocol", "store", "hub", "gateway", "metrics"]),
];

/// Foreign crates with exactly one owner (and those who may use them besides, with the reason).
const OWNERS: &[(&str, &[&str])] = &[
    ("redis", &["store"]),
    ("prometheus", &["metrics"]),
    // the client dials; the listener accepts
    ("tokio-tungstenite", &["socket", "client"]),
    ("config", &["config"]),
    ("jsonwebtoken", &["auth"]),
    // session makes heartbeat tokens; hooks signs requests
    ("hmac", &["session", "hooks"]),
    ("argon2", &["chat"]),
    // every request that leaves a node passes its guard
    ("hyper-rustls", &["outbound"]),
];

/// Crates of rules: no runtime, no I/O, no clock, no randomness.
const PURE: &[&str] = &["protocol", "frame", "dialect", "session", "topic", "auth"];
const IMPURE_CRATES: &[&str] = &[
    "tokio",
    "hyper",
    "redis",
    "rand",
    "tracing",
    "prometheus",
    "sparkway-metrics",
    "futures-util",
];
const IMPURE_WORDS: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "std::net::Tcp",
    "std::fs::",
    "std::thread::spawn",
];

/// Longest file, in lines before its first `#[cfg(test)]`.
const FILE_LINES: usize = 400;
/// Files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[];

/// Names of crates and modules that become a dump.
const REFUSED_MODULES: &[&str] = &[
    "common",
    "core",
    "util",
    "utils",
    "helpers",
    "shared_types",
    "base",
    "misc",
    "types",
];
/// Modules that carry such a name for a reason.
const GRANTED_MODULES: &[(&str, &str)] = &[(
    "crates/store/src/redis/core.rs",
    "what all Redis operations of a store share",
)];
/// Endings of type names that say nothing.
const REFUSED_ENDINGS: &[&str] = &["Manager", "Helper", "Util", "Utils", "Processor", "Wrapper"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for item in std::fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() > 100, "the sources were not found");
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap()
        .to_string_lossy()
        .into_owned()
}

fn is_test_code(name: &str) -> bool {
    ["/tests/", "/tests.rs", "/conformance/", "/benches/"]
        .iter()
        .any(|part| name.contains(part))
}

#[test]
fn crates_import_only_along_the_path() {
    let allowed: BTreeMap<&str, &[&str]> = IMPORTS.iter().copied().collect();
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some(name) = package.name.strip_prefix("sparkway-") else {
            continue;
        };
        let allowed = allowed
            .get(name)
            .unwrap_or_else(|| panic!("crate {name} is not in the map"));
        for dependency in &package.dependencies {
            if dependency.kind != DependencyKind::Normal {
                continue;
            }
            if let Some(import) = dependency.name.strip_prefix("sparkway-")
                && !allowed.contains(&import)
            {
                wrong.push(format!("{name} imports {import}"));
            }
            for (foreign, owners) in OWNERS {
                if dependency.name == *foreign && !owners.contains(&name) {
                    wrong.push(format!(
                        "{name} uses {foreign}, which belongs to {owners:?}"
                    ));
                }
            }
            if PURE.contains(&name) && IMPURE_CRATES.contains(&dependency.name.as_str()) {
                wrong.push(format!(
                    "{name} is pure and must not use {}",
                    dependency.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_judge_of_the_chaos_runs_knows_nothing_of_the_gateway() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let chaos = metadata
        .packages
        .iter()
        .find(|package| *package.name == "chaos")
        .unwrap();
    let imports = chaos
        .dependencies
        .iter()
        .map(|dependency| dependency.name.as_str());
    let imports: Vec<&str> = imports
        .filter(|name| name.starts_with("sparkway"))
        .collect();
    assert!(imports.is_empty(), "{imports:?}");
}

#[test]
fn pure_crates_read_no_clock_and_do_no_io() {
    let mut wrong = Vec::new();
    for path in sources() {
        let name = relative(&path);
        if is_test_code(&name)
            || !PURE
                .iter()
                .any(|pure| name.starts_with(&format!("crates/{pure}/")))
        {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in IMPURE_WORDS {
            if code.contains(word) {
                wrong.push(format!("{name}: {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_stay_small() {
    let granted: BTreeSet<&str> = LONG_FILES.iter().map(|(name, _)| *name).collect();
    let mut wrong = Vec::new();
    for path in sources() {
        let name = relative(&path);
        if is_test_code(&name) || granted.contains(name.as_str()) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default()
            .lines()
            .count();
        if lines > FILE_LINES {
            wrong.push(format!("{name}: {lines} lines, at most {FILE_LINES}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn names_say_something() {
    let granted: BTreeSet<&str> = GRANTED_MODULES.iter().map(|(name, _)| *name).collect();
    let mut wrong = Vec::new();
    for path in sources() {
        let name = relative(&path);
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        if REFUSED_MODULES.contains(&stem.as_str()) && !granted.contains(name.as_str()) {
            wrong.push(name.clone());
        }
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let line = line.trim_start();
            let Some(rest) = [
                "pub struct ",
                "pub enum ",
                "pub trait ",
                "pub(crate) struct ",
            ]
            .iter()
            .find_map(|start| line.strip_prefix(start)) else {
                continue;
            };
            let word: String = rest
                .chars()
                .take_while(|symbol| symbol.is_alphanumeric())
                .collect();
            if REFUSED_ENDINGS.iter().any(|ending| word.ends_with(ending)) {
                wrong.push(format!("{name}: {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn members_stand_in_path_order() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let at = |name: &str| {
        manifest
            .find(&format!("\"crates/{name}\""))
            .unwrap_or_else(|| panic!("{name} is missing"))
    };
    let path = [
        "protocol", "socket", "frame", "dialect", "session", "topic", "store", "hub", "gateway",
    ];
    assert!(path.windows(2).all(|pair| at(pair[0]) < at(pair[1])));
}

#[test]
fn the_spawn_of_the_gateway_is_the_only_one() {
    let mut wrong = Vec::new();
    for path in sources() {
        let name = relative(&path);
        if !name.starts_with("crates/gateway/src/") || name.ends_with("tasks.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        if text.contains("tokio::spawn(") {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "spawn through gateway::tasks: {wrong:?}");
}

#[test]
fn nothing_that_is_shipped_has_planted_defects() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let default = package.features.get("default").into_iter().flatten();
        let named = default.filter(|feature| feature.contains("planted"));
        wrong.extend(named.map(|feature| format!("{}: {feature}", package.name)));
        for dependency in &package.dependencies {
            let mut features = dependency.features.iter();
            if features.any(|feature| feature.contains("planted")) {
                wrong.push(format!(
                    "{} asks for it of {}",
                    package.name, dependency.name
                ));
            }
        }
    }
    // Built by two lines of the Makefile and nothing else: a gateway beside the one that is shipped,
    // and the simulation, which is never shipped.
    let allowed = [
        "build --locked -p sparkway --features planted",
        "run --locked --quiet -p sparkway-sim --features planted ",
    ];
    for place in ["Makefile", "deploy", ".ci", "helm"] {
        let mut folders = vec![root().join(place)];
        while let Some(path) = folders.pop() {
            if path.is_dir() {
                folders.extend(
                    std::fs::read_dir(path)
                        .unwrap()
                        .map(|item| item.unwrap().path()),
                );
                continue;
            }
            let text = std::fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&text);
            let mut built = text
                .lines()
                .filter(|line| line.contains("all-features") || line.contains("features planted"));
            let is_allowed = |line: &str| {
                place == "Makefile" && allowed.iter().any(|known| line.contains(known))
            };
            if built.any(|line| !is_allowed(line)) {
                wrong.push(relative(&path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Words in backticks of a page, such as `chaos::kill::a_test` and `chaos/node-killed`.
fn named_in(page: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let words = text.split('`').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

/// The sources below a folder, as one text.
fn text_below(folder: &str) -> String {
    let mut folders = vec![root().join(folder)];
    let mut all = String::new();
    while let Some(path) = folders.pop() {
        if path.is_dir() {
            folders.extend(
                std::fs::read_dir(path)
                    .unwrap()
                    .map(|item| item.unwrap().path()),
            );
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            all.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    all
}

#[test]
fn every_test_that_the_guarantees_name_exists() {
    let names = named_in("docs/explanation/delivery-guarantees.md");
    let tests = text_below("tests/cluster") + &text_below("crates/store");
    let faults = text_below("tests/chaos/run/faults");
    let defects = text_below("tests/chaos/run/selftest.rs");
    let plain = |name: &str| name.replace('-', "").to_lowercase();
    let faults = plain(&faults);
    let mut counted = 0;
    let mut wrong = Vec::new();
    // The page's own words for the three kinds of names.
    for name in names.iter().filter(|name| !name.ends_with(['…', ':'])) {
        let exists = if let Some(fault) = name.strip_prefix("chaos/") {
            // In a list of faults, or added to one.
            let ends = [",", "]", ")"];
            let listed = |end: &&str| faults.contains(&format!("self::{}{end}", plain(fault)));
            ends.iter().any(listed)
        } else if let Some(defect) = name.strip_prefix("planted/") {
            defects.contains(&format!("\"{defect}\""))
        } else if let Some((_, test)) = name.rsplit_once("::") {
            tests.contains(&format!("async fn {test}("))
        } else {
            continue;
        };
        counted += 1;
        if !exists {
            wrong.push(name);
        }
    }
    assert!(counted > 40, "the page names {counted} tests");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
