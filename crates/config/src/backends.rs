//! What keys about backends must obey together: issuers, hooks, where requests may go.

use sparkway_gateway::settings::Access;

use crate::draft::Draft;
use crate::path::Path;
use crate::settings::{AuthSettings, HookUrls, Issuer, Mode, Settings, Target};
use crate::validate::Check;

impl Check<'_> {
    /// The issuers, and where the keys of each are fetched.
    pub(crate) fn issuers(&mut self, draft: &Draft) -> (Vec<Issuer>, Vec<Target>) {
        let mut issuers: Vec<Issuer> = Vec::new();
        let mut targets = Vec::new();
        if let Some(url) = &draft.jwks_url {
            self.may_reach(draft, "auth.jwks_url", url);
            issuers.push(Issuer {
                issuer: draft.settings.auth.issuer.clone(),
                audience: Vec::new(),
            });
            targets.push(url.clone());
        }
        for (name, one) in &draft.issuers {
            let part = |part| Path::filled(&format!("auth.issuers.*.{part}"), name).to_string();
            let Some(url) = &one.jwks_url else {
                self.refuse(&part("jwks_url"), "is missing");
                continue;
            };
            if one.issuer.is_none() {
                self.refuse(
                    &part("issuer"),
                    "is missing: whose tokens do these keys verify?",
                );
            } else if issuers.iter().any(|other| other.issuer == one.issuer) {
                self.refuse(&part("issuer"), "is that of another issuer, too");
            }
            self.may_reach(draft, &part("jwks_url"), url);
            issuers.push(Issuer {
                issuer: one.issuer.clone(),
                audience: one.audience.clone(),
            });
            targets.push(url.clone());
        }
        if issuers.len() > AuthSettings::ISSUERS_MAX {
            let max = AuthSettings::ISSUERS_MAX;
            self.refuse("auth.issuers", format!("there are more than {max}"));
        }
        (issuers, targets)
    }

    fn may_reach(&mut self, draft: &Draft, key: &str, url: &Target) {
        let guard = sparkway_gateway::settings::Guard::new(draft.settings.outbound.allow.clone());
        if let Err(error) = url.check(&guard) {
            self.refuse(key, error.to_string());
        }
    }

    /// Checks the hooks; says whether tokens are left to the connect hook.
    pub(crate) fn hooks(&mut self, settings: &Settings) -> bool {
        let urls = &settings.hooks.urls;
        let HookUrls {
            connect,
            subscribe,
            publish,
            message,
            rpc,
            refresh,
            events,
        } = urls;
        let named = [
            ("hooks.connect", connect),
            ("hooks.subscribe", subscribe),
            ("hooks.publish", publish),
            ("hooks.message", message),
            ("hooks.rpc", rpc),
            ("hooks.refresh", refresh),
            ("hooks.events", events),
        ];
        let guard = sparkway_gateway::settings::Guard::new(settings.outbound.allow.clone());
        for (key, url) in named {
            if let Some(Err(error)) = url.as_ref().map(|url| url.check(&guard)) {
                self.refuse(key, error.to_string());
            }
        }
        if urls.any() && settings.hooks.secret.is_none() && !self.is_refused("hooks.secret") {
            self.refuse(
                "hooks.secret",
                "is missing: backends could not tell who asks them (SPARKWAY__HOOKS__SECRET, or …__FILE to read it from a file)",
            );
        }
        let topics = std::iter::once(("topics".to_owned(), &settings.topics));
        let namespaces = settings.namespaces.iter();
        let all =
            topics.chain(namespaces.map(|(name, topic)| (format!("namespaces.{name}"), topic)));
        for (name, topic) in all {
            for (access, url, hook) in [
                (topic.subscribe, subscribe, "subscribe"),
                (topic.publish, publish, "publish"),
            ] {
                if access == Access::Hook && url.is_none() {
                    let key = format!("{name}.{hook}");
                    self.refuse(&key, format!("is hook, but hooks.{hook} is not set"));
                }
            }
        }
        let auth = &settings.auth;
        connect.is_some() && auth.keys.is_empty() && auth.issuers.is_empty()
    }
}

/// What is allowed but deserves a look.
pub(crate) fn warnings(settings: &Settings, warnings: &mut Vec<String>) {
    let urls = &settings.hooks.urls;
    let is_nowhere_asked = settings.auth.mode == Mode::Off
        && settings
            .routes
            .iter()
            .all(|route| route.auth.is_none_or(|mode| mode == Mode::Off));
    if urls.connect.is_some() && is_nowhere_asked {
        warnings.push("hooks.connect is never asked: auth.mode is off".to_owned());
    }
    let of_topics = |kind: &str| kind.starts_with("topic.") || kind.starts_with("presence.");
    let is_kept = settings.topics.presence || settings.namespaces.values().any(|one| one.presence);
    if urls.events.is_some() && !is_kept {
        let never: Vec<&str> = settings.hooks.events.iter().map(AsRef::as_ref).collect();
        let never: Vec<&str> = never.into_iter().filter(|kind| of_topics(kind)).collect();
        if !never.is_empty() {
            let never = never.join(", ");
            warnings.push(format!(
                "hooks.events is never told {never}: topics.presence is off, and so is that of every namespace"
            ));
        }
    }
    if settings.key_sets.targets.iter().any(is_exposed) {
        warnings.push(
            "keys of an issuer are fetched over http: whoever sits in between can sign tokens"
                .to_owned(),
        );
    }
}

fn is_exposed(url: &Target) -> bool {
    url.is_plain() && !url.is_local()
}
