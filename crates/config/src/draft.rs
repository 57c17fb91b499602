//! Settings while they are being put together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;

use crate::settings::{
    Algorithm, Dialect, Mode, Reject, Route, Settings, Target, TlsVersion, TopicSettings,
};

/// A key of `auth.keys` while it is being put together.
#[derive(Clone, Debug, Default)]
pub(crate) struct DraftKey {
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) secret: Option<SecretString>,
    pub(crate) public_key: Option<String>,
}

/// An issuer of `auth.issuers` while it is being put together.
#[derive(Clone, Debug, Default)]
pub(crate) struct DraftIssuer {
    pub(crate) issuer: Option<String>,
    pub(crate) jwks_url: Option<Target>,
    pub(crate) audience: Vec<String>,
}

/// A route while it is being put together.
#[derive(Clone, Debug, Default)]
pub(crate) struct DraftRoute {
    pub(crate) path: String,
    pub(crate) dialect: Option<Dialect>,
    pub(crate) auth: Option<Mode>,
    pub(crate) reject: Reject,
}

impl DraftRoute {
    fn of(route: &Route) -> Self {
        Self {
            path: route.path.to_string(),
            dialect: Some(route.dialect),
            auth: route.auth,
            reject: route.reject,
        }
    }
}

/// Topic patterns for subscribe and publish.
#[derive(Clone, Debug, Default)]
pub(crate) struct DraftGrants {
    pub(crate) subscribe: Vec<String>,
    pub(crate) publish: Vec<String>,
}

/// Settings, and what becomes settings only when several keys are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) settings: Settings,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) tls_oldest: TlsVersion,
    /// `auth.hs256_secret` and `auth.public_key` with its algorithm.
    pub(crate) unnamed_key: DraftKey,
    /// `auth.keys.*`.
    pub(crate) keys: BTreeMap<String, DraftKey>,
    /// `auth.jwks_url`.
    pub(crate) jwks_url: Option<Target>,
    /// `auth.issuers.*`.
    pub(crate) issuers: BTreeMap<String, DraftIssuer>,
    pub(crate) default_grants: DraftGrants,
    pub(crate) anonymous_grants: DraftGrants,
    /// `routes`, once one is configured: then the default ones are gone.
    pub(crate) routes: Option<Vec<DraftRoute>>,
}

impl Draft {
    /// The topics' settings, or those of a namespace, which begin as the topics'.
    pub(crate) fn topic(&mut self, namespace: &str) -> &mut TopicSettings {
        if namespace.is_empty() {
            return &mut self.settings.topics;
        }
        let topics = &self.settings.topics;
        self.settings
            .namespaces
            .entry(namespace.into())
            .or_insert_with(|| topics.clone())
    }

    pub(crate) fn topic_now(&self, namespace: &str) -> &TopicSettings {
        self.settings
            .namespaces
            .get(namespace)
            .unwrap_or(&self.settings.topics)
    }

    pub(crate) fn key(&mut self, id: &str) -> &mut DraftKey {
        self.keys.entry(id.to_owned()).or_default()
    }

    pub(crate) fn key_now(&self, id: &str) -> DraftKey {
        self.keys.get(id).cloned().unwrap_or_default()
    }

    pub(crate) fn issuer(&mut self, name: &str) -> &mut DraftIssuer {
        self.issuers.entry(name.to_owned()).or_default()
    }

    pub(crate) fn issuer_now(&self, name: &str) -> DraftIssuer {
        self.issuers.get(name).cloned().unwrap_or_default()
    }

    /// The configured routes, else the default ones.
    pub(crate) fn routes_now(&self) -> Vec<DraftRoute> {
        let defaults = || self.settings.routes.iter().map(DraftRoute::of).collect();
        self.routes.clone().unwrap_or_else(defaults)
    }

    pub(crate) fn route_now(&self, path: &str) -> DraftRoute {
        let mut routes = self.routes_now().into_iter();
        routes.find(|route| route.path == path).unwrap_or_default()
    }

    /// The configured route of this path; a new one begins as the default one of its path, if there
    /// is one.
    pub(crate) fn route(&mut self, path: &str) -> &mut DraftRoute {
        let default = self
            .settings
            .routes
            .iter()
            .find(|route| *route.path == *path);
        let fresh = default.map_or_else(
            || DraftRoute {
                path: path.to_owned(),
                ..DraftRoute::default()
            },
            DraftRoute::of,
        );
        let routes = self.routes.get_or_insert_default();
        let at = routes.iter().position(|route| route.path == path);
        let at = at.unwrap_or_else(|| {
            routes.push(fresh);
            routes.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "found or pushed above")]
        &mut routes[at]
    }

    /// What the `*` of a pattern stands for so far.
    pub(crate) fn names(&self, pattern: &str) -> Vec<String> {
        match pattern.split('.').next() {
            Some("namespaces") => self
                .settings
                .namespaces
                .keys()
                .map(ToString::to_string)
                .collect(),
            Some("routes") => self
                .routes_now()
                .into_iter()
                .map(|route| route.path)
                .collect(),
            Some("auth") if pattern.starts_with("auth.issuers") => {
                self.issuers.keys().cloned().collect()
            }
            Some("auth") => self.keys.keys().cloned().collect(),
            Some(_) | None => Vec::new(),
        }
    }
}
