//! What several keys together must obey.

use crate::ConfigError;
use crate::draft::{Draft, DraftGrants, DraftKey, DraftRoute};
use crate::layers::Layers;
use crate::path::Path;
use crate::settings::{
    Algorithm, AuthSettings, Dialect, Grants, Key, Mode, Route, Settings, StoreKind, TlsSettings,
    Verifier,
};

/// Turns the draft into settings; `None` when it cannot be. Errors are added to `errors`.
pub(crate) fn finish(
    draft: &Draft,
    layers: &Layers,
    errors: &mut Vec<ConfigError>,
) -> Option<(Settings, Vec<String>)> {
    let before = errors.len();
    let mut check = Check { layers, errors };
    let mut settings = draft.settings.clone();
    settings.routes = check.routes(draft);
    settings.auth.keys = check.keys(draft);
    (settings.auth.issuers, settings.key_sets.targets) = check.issuers(draft);
    settings.auth.opaque_tokens = check.hooks(&settings);
    settings.auth.default_grants = grants(&draft.default_grants);
    settings.auth.anonymous_grants = grants(&draft.anonymous_grants);
    settings.server.tls = check.tls(draft);
    check.readable("outbound.ca_file", settings.outbound.ca_file.as_deref());
    check.readable("store.ca_file", settings.store.ca_file.as_deref());
    check.required_keys(&settings, draft);
    check.listeners(&settings);
    check.limits(&settings);
    (check.errors.len() == before).then(|| {
        let warnings = warnings(&settings);
        (settings, warnings)
    })
}

pub(crate) struct Check<'a> {
    layers: &'a Layers,
    errors: &'a mut Vec<ConfigError>,
}

impl Check<'_> {
    pub(crate) fn refuse(&mut self, key: &str, problem: impl Into<String>) {
        self.refuse_at(&Path::parse(key).unwrap_or_default(), problem);
    }

    fn refuse_at(&mut self, path: &Path, problem: impl Into<String>) {
        self.errors.push(ConfigError {
            key: path.to_string(),
            value: None,
            origin: self.layers.origin(path),
            problem: problem.into(),
        });
    }

    /// Whether a value was given that was already refused: what follows from it is not reported.
    pub(crate) fn is_refused(&self, key: &str) -> bool {
        self.errors.iter().any(|error| error.key == key)
    }

    fn routes(&mut self, draft: &Draft) -> Vec<Route> {
        let mut routes = Vec::new();
        for DraftRoute {
            path,
            dialect,
            auth,
            reject,
        } in draft.routes_now()
        {
            let key = Path(vec!["routes".to_owned(), path.clone()]);
            if !is_route_path(&path) {
                let problem = "a path begins with / and has no white space, ? or #; a {name} stands for a whole segment";
                self.refuse_at(&key, problem);
            } else if let Some(dialect) = dialect {
                let path = path.into();
                routes.push(Route {
                    path,
                    dialect,
                    auth,
                    reject,
                });
            } else {
                self.refuse_at(&key, "has no dialect");
            }
        }
        if routes.is_empty() && draft.routes.as_ref().is_some_and(Vec::is_empty) {
            self.refuse("routes", "is empty: no client could connect");
        }
        // The first match counts: exact paths before those with a {name}.
        routes.sort_by_key(|route| route.path.contains('{'));
        routes
    }

    fn keys(&mut self, draft: &Draft) -> Vec<Key> {
        let mut keys = Vec::new();
        let unnamed = &draft.unnamed_key;
        if let Some(secret) = &unnamed.secret {
            let key = Key {
                id: None,
                algorithm: Algorithm::Hs256,
                material: secret.clone(),
            };
            self.take_key(key, "auth.hs256_secret", &mut keys);
        }
        if let Some(pem) = &unnamed.public_key {
            self.take_public(pem, unnamed.algorithm, "auth.public_key", &mut keys);
        } else if unnamed.algorithm.is_some() {
            self.refuse(
                "auth.public_key_algorithm",
                "is set without auth.public_key",
            );
        }
        for (id, key) in &draft.keys {
            self.take_named(id, key, &mut keys);
        }
        if keys.len() > AuthSettings::KEYS_MAX {
            let max = AuthSettings::KEYS_MAX;
            self.refuse("auth.keys", format!("there are more than {max} keys"));
        }
        keys
    }

    fn take_named(&mut self, id: &str, key: &DraftKey, keys: &mut Vec<Key>) {
        let part = |name| Path::filled(&format!("auth.keys.*.{name}"), id).to_string();
        let before = keys.len();
        match (&key.secret, &key.public_key) {
            (Some(secret), None) => {
                let algorithm = key.algorithm.unwrap_or(Algorithm::Hs256);
                if algorithm.is_shared_secret() {
                    let material = secret.clone();
                    let key = Key {
                        id: None,
                        algorithm,
                        material,
                    };
                    self.take_key(key, &part("secret"), keys);
                } else {
                    let problem =
                        format!("{} needs a public_key, not a secret", algorithm.as_str());
                    self.refuse(&part("algorithm"), problem);
                }
            }
            (None, Some(pem)) => self.take_public(pem, key.algorithm, &part("public_key"), keys),
            (Some(_), Some(_)) => {
                self.refuse(
                    &part("secret"),
                    "there is a public_key, too; a key is one of both",
                );
            }
            (None, None) => self.refuse(
                &part("algorithm"),
                "there is neither a secret nor a public_key",
            ),
        }
        for key in keys.iter_mut().skip(before) {
            key.id = Some(id.into());
        }
    }

    fn take_public(
        &mut self,
        pem: &str,
        algorithm: Option<Algorithm>,
        name: &str,
        keys: &mut Vec<Key>,
    ) {
        // Without a configured algorithm the kind of the key says it. What is no key at all is
        // refused as one for the most common algorithm.
        let algorithm = algorithm
            .or_else(|| Algorithm::of_public_key(pem))
            .unwrap_or(Algorithm::Rs256);
        self.take_key(Key::new(algorithm, pem), name, keys);
    }

    fn take_key(&mut self, key: Key, name: &str, keys: &mut Vec<Key>) {
        let alone = AuthSettings {
            keys: vec![key.clone()],
            ..AuthSettings::default()
        };
        match Verifier::new(alone) {
            Ok(_) => keys.push(key),
            Err(error) => self.refuse(name, error.problem.to_string()),
        }
    }

    fn tls(&mut self, draft: &Draft) -> Option<TlsSettings> {
        self.readable("server.tls.cert", draft.tls_cert.as_deref());
        self.readable("server.tls.key", draft.tls_key.as_deref());
        match (&draft.tls_cert, &draft.tls_key) {
            (Some(cert), Some(key)) => Some(TlsSettings {
                cert: cert.clone(),
                key: key.clone(),
                oldest: draft.tls_oldest,
            }),
            (Some(_), None) => {
                self.refuse("server.tls.key", "is missing; server.tls.cert is set");
                None
            }
            (None, Some(_)) => {
                self.refuse("server.tls.cert", "is missing; server.tls.key is set");
                None
            }
            (None, None) => None,
        }
    }

    fn readable(&mut self, key: &str, path: Option<&std::path::Path>) {
        let Some(path) = path else { return };
        if let Err(error) = std::fs::File::open(path) {
            self.refuse(key, format!("{} cannot be read: {error}", path.display()));
        }
    }

    fn required_keys(&mut self, settings: &Settings, draft: &Draft) {
        let has_given = draft.unnamed_key.secret.is_some()
            || draft.unnamed_key.public_key.is_some()
            || !draft.keys.is_empty()
            || !settings.auth.issuers.is_empty()
            || settings.auth.opaque_tokens
            || self.is_refused("auth.jwks_url")
            || self.is_refused("hooks.connect")
            || self.is_refused("hooks.secret")
            || self.is_refused("auth.hs256_secret")
            || self.is_refused("auth.public_key");
        if has_given {
            return;
        }
        let advice = "set auth.hs256_secret (SPARKWAY__AUTH__HS256_SECRET, or …__FILE to read it from a file) or auth.public_key or auth.jwks_url, or let hooks.connect decide; for a first try run `sparkway dev`, which needs no tokens";
        let mode = settings.auth.mode;
        if mode != Mode::Off && !self.is_refused("auth.mode") {
            let mode = mode.as_str();
            let problem = format!("is {mode}, but there is no key to verify tokens with: {advice}");
            self.refuse("auth.mode", problem);
            return;
        }
        for route in &settings.routes {
            if route.auth.is_some_and(|mode| mode != Mode::Off) {
                let path = Path::filled("routes.*.auth", &route.path);
                let problem =
                    format!("needs tokens, but there is no key to verify them with: {advice}");
                self.refuse_at(&path, problem);
            }
        }
    }

    fn listeners(&mut self, settings: &Settings) {
        let internal = settings.internal.listen;
        let has_key = !settings.api.keys.is_empty() || self.is_refused("api.keys");
        if !internal.ip().is_loopback() && !has_key {
            let problem = format!(
                "{internal} can be reached from other machines, and there is no API key: set api.keys (SPARKWAY__API__KEYS), or listen on 127.0.0.1"
            );
            self.refuse("internal.listen", problem);
        }
        let public = settings.server.listen;
        let same_address = public.ip() == internal.ip()
            || public.ip().is_unspecified()
            || internal.ip().is_unspecified();
        if public.port() == internal.port() && public.port() != 0 && same_address {
            let port = public.port();
            self.refuse(
                "internal.listen",
                format!("has the port {port} of server.listen; they need one each"),
            );
        }
    }

    fn limits(&mut self, settings: &Settings) {
        let auth = &settings.auth;
        if auth
            .lifetime_max
            .is_some_and(|life| life > auth.revocation_keep)
        {
            self.refuse(
                "auth.revocation_keep",
                "is below auth.lifetime_max: a revoked token would be good again before it ends",
            );
        }
        let limits = &settings.limits;
        if limits.outbox_bytes < limits.message_bytes {
            self.refuse(
                "limits.outbox_bytes",
                "is below limits.message_bytes: a message of that size would never fit",
            );
        }
    }
}

fn grants(draft: &DraftGrants) -> Grants {
    // Each pattern was checked when it was set.
    Grants::new(&draft.subscribe, &draft.publish).unwrap_or_else(|_| Grants::none())
}

fn is_route_path(path: &str) -> bool {
    let is_segment = |segment: &str| match segment.strip_prefix('{') {
        Some(name) => name.strip_suffix('}').is_some_and(|name| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        }),
        None => !segment.contains(['{', '}']),
    };
    let is_plain =
        |symbol: char| !symbol.is_whitespace() && !symbol.is_control() && symbol.is_ascii();
    path.strip_prefix('/').is_some_and(|rest| {
        rest.chars().all(is_plain) && !rest.contains(['?', '#']) && rest.split('/').all(is_segment)
    })
}

/// What is allowed but deserves a look.
fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    if settings.auth.mode == Mode::Off {
        warnings.push("auth.mode is off: everybody may read and publish everything".to_owned());
    }
    if settings.auth.mode != Mode::Off {
        let routes = settings.routes.iter();
        let open = routes.filter(|route| route.dialect == Dialect::Room && route.auth.is_none());
        warnings.extend(open.map(|Route { path, .. }| {
            format!(
                "{path} asks nobody who he is: set routes.\"{path}\".auth to required, or to off if it is meant so"
            )
        }));
    }
    if settings.store.kind() == Some(StoreKind::Memory) {
        warnings.push(
            "store.url is memory: sessions do not outlive this process, and other nodes do not see them"
                .to_owned(),
        );
    }
    let window = settings.session.resume_window;
    let short = |age| age < window;
    if short(settings.topics.history_age) {
        warnings.push(
            "topics.history_age is shorter than session.resume_window: late resumes have gaps"
                .to_owned(),
        );
    }
    for (name, topic) in &settings.namespaces {
        if short(topic.history_age) && !short(settings.topics.history_age) {
            warnings.push(format!(
                "namespaces.{name}.history_age is shorter than session.resume_window: late resumes have gaps"
            ));
        }
    }
    crate::backends::warnings(settings, &mut warnings);
    warnings
}
