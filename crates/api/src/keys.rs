//! API keys: who asks, and what they may.

use std::sync::Arc;

use arc_swap::ArcSwap;
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use sparkway_gateway::settings::{ApiKey, Scope};
use subtle::ConstantTimeEq as _;

/// The keys that are valid now.
#[derive(Debug)]
pub(crate) struct Keys(ArcSwap<Vec<Known>>);

/// A key, without what would let somebody use it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    id: Arc<str>,
    digest: [u8; 32],
    scopes: Vec<Scope>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Id of the key; empty where none is needed.
    pub(crate) key: Arc<str>,
    scopes: Option<Vec<Scope>>,
}

impl Caller {
    /// Somebody on this machine, on a node without keys.
    fn anybody() -> Self {
        Self {
            key: Arc::from(""),
            scopes: None,
        }
    }

    /// Whether the key allows this; without keys everything is allowed.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.scopes
            .as_ref()
            .is_none_or(|scopes| scopes.contains(&scope))
    }
}

impl Keys {
    pub(crate) fn new(keys: &[ApiKey]) -> Self {
        Self(ArcSwap::from_pointee(known(keys)))
    }

    /// Takes other keys; requests that are being answered go on. Says whether they differ.
    pub(crate) fn replace(&self, keys: &[ApiKey]) -> bool {
        let new = known(keys);
        let differ = **self.0.load() != new;
        self.0.store(Arc::new(new));
        differ
    }

    /// Whether everybody on this machine may ask.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.load().is_empty()
    }

    /// Who shows this `Authorization` header. Every key is compared, each as a digest in constant
    /// time, so that neither place nor likeness shows.
    pub(crate) fn caller(&self, authorization: Option<&str>) -> Option<Caller> {
        let keys = self.0.load();
        if keys.is_empty() {
            return Some(Caller::anybody());
        }
        let (scheme, shown) = authorization?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let digest = digest(shown.trim());
        let mut found = None;
        for key in keys.iter() {
            if bool::from(key.digest.ct_eq(&digest)) {
                found = Some(key);
            }
        }
        found.map(|key| Caller {
            key: Arc::clone(&key.id),
            scopes: Some(key.scopes.clone()),
        })
    }
}

fn known(keys: &[ApiKey]) -> Vec<Known> {
    let known = keys.iter().map(|key| Known {
        id: Arc::from(&*key.id),
        digest: digest(key.key.expose_secret()),
        scopes: key.scopes.clone(),
    });
    known.collect()
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "swk_ops_0123456789abcdefghij";
    const NEW: &str = "swk_ops2_0123456789abcdefghij";

    fn key(text: &str, scopes: &[Scope]) -> ApiKey {
        ApiKey {
            id: text.split('_').nth(1).unwrap().into(),
            key: text.into(),
            scopes: scopes.to_vec(),
        }
    }

    #[test]
    fn several_keys_are_valid_at_once_and_each_has_its_scopes() {
        let keys = Keys::new(&[key(OLD, &[Scope::Read]), key(NEW, &Scope::ALL)]);
        let caller = keys.caller(Some(&format!("Bearer {OLD}"))).unwrap();
        assert_eq!(&*caller.key, "ops");
        assert!(caller.may(Scope::Read) && !caller.may(Scope::Publish));
        let caller = keys.caller(Some(&format!("bearer  {NEW}"))).unwrap();
        assert!(caller.may(Scope::Admin));
    }

    #[test]
    fn what_is_no_valid_key_is_nobody() {
        let keys = Keys::new(&[key(OLD, &Scope::ALL)]);
        for wrong in [
            None,
            Some(OLD.to_owned()),
            Some(format!("Basic {OLD}")),
            Some(format!("Bearer {OLD}x")),
            Some(format!("Bearer {}", OLD.trim_end_matches('j'))),
            Some("Bearer ".to_owned()),
            Some("Bearer".to_owned()),
        ] {
            assert_eq!(keys.caller(wrong.as_deref()), None, "{wrong:?}");
        }
    }

    #[test]
    fn replaced_keys_are_valid_no_more() {
        let keys = Keys::new(&[key(OLD, &Scope::ALL)]);
        assert!(!keys.replace(&[key(OLD, &Scope::ALL)]));
        assert!(keys.replace(&[key(NEW, &Scope::ALL)]));
        assert_eq!(keys.caller(Some(&format!("Bearer {OLD}"))), None);
        assert!(keys.caller(Some(&format!("Bearer {NEW}"))).is_some());
    }

    #[test]
    fn without_keys_everybody_may_everything() {
        let keys = Keys::new(&[]);
        assert!(keys.is_empty());
        assert!(keys.caller(None).unwrap().may(Scope::Admin));
    }
}
