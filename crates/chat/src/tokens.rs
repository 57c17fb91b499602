//! Tokens of the chat: given out at a login, and checked when a client connects or asks.

use std::time::Duration;

use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use sparkway_auth::{
    Admission, Algorithm, AuthSettings, Key, KeyError, Mode, NewToken, Verifier, mint,
};
use sparkway_gateway::application::Host;
use sparkway_protocol::UserId;

use crate::ChatError;
use crate::naming::hex;
use crate::users::User;

/// Names the chat's own key in its tokens.
const OWN_KEY: &str = "sparkway-chat";

/// Signs and checks tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    secret: SecretString,
    key_id: Option<String>,
    issuer: Option<String>,
    audience: Option<String>,
    lifetime: Duration,
    /// For the chat's own key, where no shared secret is configured.
    own: Option<Verifier>,
}

impl Tokens {
    /// With the first shared secret of the node, so that the application's other parts know the
    /// tokens too; else with a key of the cluster that is the chat's alone.
    ///
    /// # Errors
    /// [`KeyError`]: a key cannot be used; the node does not start with such a one.
    pub(crate) fn new(
        auth: &AuthSettings,
        lifetime: Duration,
        cluster_key: &[u8; 32],
    ) -> Result<Self, KeyError> {
        let shared = auth
            .keys
            .iter()
            .find(|key| key.algorithm == Algorithm::Hs256);
        if let Some(key) = shared {
            return Ok(Self {
                secret: key.material.clone(),
                key_id: key.id.as_deref().map(str::to_owned),
                issuer: auth.issuer.as_deref().map(str::to_owned),
                audience: auth.audience.first().map(ToString::to_string),
                lifetime,
                own: None,
            });
        }
        let mut hash = Sha256::new();
        hash.update(b"chat tokens");
        hash.update(cluster_key);
        let digits = hash.finalize();
        let secret = hex(&digits);
        let key = Key {
            id: Some(OWN_KEY.into()),
            algorithm: Algorithm::Hs256,
            material: secret.clone().into(),
        };
        let own = Verifier::new(AuthSettings {
            mode: Mode::Required,
            keys: vec![key],
            ..AuthSettings::default()
        })?;
        Ok(Self {
            secret: secret.into(),
            key_id: Some(OWN_KEY.to_owned()),
            issuer: None,
            audience: None,
            lifetime,
            own: Some(own),
        })
    }

    /// A token for a user: it says who he is, and grants no topics.
    pub(crate) fn give(&self, user: &User, now_ms: u64) -> Result<String, ChatError> {
        let id = UserId::parse(&user.id).map_err(|_| ChatError::Corrupt("a user's id"))?;
        let mut token = NewToken::new(id, now_ms / 1000).lasting(self.lifetime.as_secs().max(1));
        token.issuer.clone_from(&self.issuer);
        token.audience.clone_from(&self.audience);
        token.key_id.clone_from(&self.key_id);
        token.claims = vec![("username".to_owned(), user.username.to_string())];
        if let Some(avatar) = &user.avatar {
            token.claims.push(("avatar".to_owned(), avatar.to_string()));
        }
        mint(&token, &self.secret).map_err(|error| {
            tracing::error!(%error, "chat cannot sign tokens");
            ChatError::Corrupt("the key for tokens")
        })
    }

    /// Who shows a token, if it is genuine and holds; `None` turns him away.
    pub(crate) fn check(&self, host: &Host, token: &str) -> Option<Admission> {
        if let Some(own) = &self.own
            && let Ok(admission) = own.admit(Some(token), Mode::Required, host.unix_ms() / 1000)
        {
            return (!host.is_revoked(&admission)).then_some(admission);
        }
        host.admit(token).ok()
    }
}
