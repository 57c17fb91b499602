//! What the application's backends are asked about a client, and what follows when they do not
//! answer.

mod session;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use sparkway_auth::{Admission, AuthError, Grants, Identity, Mode};
use sparkway_hooks::{AskError, Backends, Hook, HookSettings, OnError, Present, Remembered};
use sparkway_hooks::{answer, ask};
use sparkway_protocol::{Format, Payload, UserId};

use crate::clock::millis;
use crate::shared::Shared;
pub(crate) use session::CallError;

/// The last answers, for the policy `cached`. Keyed by two hashes with keys of this process: a
/// client cannot choose a question that is taken for another one.
#[derive(Debug, Default)]
pub(crate) struct LastAnswers {
    hashers: (RandomState, RandomState),
    connects: Mutex<Remembered<(u64, u64), Arc<answer::Connect>>>,
    subscribes: Mutex<Remembered<(u64, u64), ()>>,
}

impl LastAnswers {
    fn key(&self, question: &impl std::hash::Hash) -> (u64, u64) {
        let (first, second) = &self.hashers;
        (first.hash_one(question), second.hash_one(question))
    }
}

/// How somebody asks to be let in.
#[derive(Debug)]
pub(crate) struct Knock {
    pub(crate) token: Option<Box<str>>,
    pub(crate) mode: Mode,
    pub(crate) client: ask::Client,
}

impl Shared {
    /// The backends, if this hook is set.
    pub(crate) fn hook(&self, hook: Hook) -> Option<&Backends> {
        self.backends.as_ref().filter(|backends| backends.has(hook))
    }

    fn present(&self) -> Present {
        let now = self.clock.now();
        Present {
            mono_ms: now.mono_ms,
            unix_ms: now.unix_ms,
        }
    }

    /// Whether it takes more than a look at the token to let somebody in.
    pub(crate) fn must_ask(&self, mode: Mode) -> bool {
        mode != Mode::Off && self.hook(Hook::Connect).is_some()
    }

    /// Lets somebody in: as the token says, and as the backend does.
    ///
    /// # Errors
    /// Why not.
    ///
    /// # Cancel safety
    /// Dropped, the backend may have been asked.
    pub(crate) async fn let_in(&self, knock: Knock) -> Result<Admission, AuthError> {
        let Knock {
            token,
            mode,
            mut client,
        } = knock;
        let asked = self.hook(Hook::Connect).filter(|_| mode != Mode::Off);
        let Some(backends) = asked else {
            return self.admit_learning(token.as_deref(), mode).await;
        };
        let verifier = self.verifier.load_full();
        let (shown, admission) = match (&token, mode) {
            (_, _) if verifier.is_opaque() => {
                (token.as_deref(), Admission::Anonymous(Grants::none()))
            }
            // The backend may know who it is: by a cookie, for example.
            (None, Mode::Required) => (None, Admission::Anonymous(Grants::none())),
            (token, mode) => (None, self.admit_learning(token.as_deref(), mode).await?),
        };
        client.user = admission.user().map(ToString::to_string);
        let question = ask::Connect {
            token: shown,
            expires_at: admission.expires_at_ms(),
            user_required: mode == Mode::Required,
        };
        let key = self.answers.key(&(
            shown,
            &client.user,
            &client.headers,
            &client.claimed_headers,
        ));
        let answer = self
            .ask_to_connect(backends, &client, &question, key)
            .await?;
        let Some(answer) = answer else {
            // Nobody to ask, and the operator prefers to let in whom a token names.
            let is_nobody = admission.user().is_none() && mode == Mode::Required;
            return if is_nobody {
                Err(AuthError::Undecided)
            } else {
                Ok(admission)
            };
        };
        if !answer.allow {
            return Err(AuthError::Denied);
        }
        self.admitted(admission, &answer, mode)
    }

    /// The backend's answer; `None` when it cannot be asked and that counts as a yes.
    async fn ask_to_connect(
        &self,
        backends: &Backends,
        client: &ask::Client,
        question: &ask::Connect<'_>,
        key: (u64, u64),
    ) -> Result<Option<Arc<answer::Connect>>, AuthError> {
        let now = self.present();
        let id = new_id();
        let asked = Box::pin(backends.ask::<_, answer::Connect>(
            (self.id.as_str(), &id),
            client,
            question,
            now,
        ));
        let settings = &self.settings.hooks;
        let last = || {
            let answers = &self.answers.connects;
            answers.lock().unwrap_or_else(PoisonError::into_inner)
        };
        match asked.await {
            Ok(answer) => {
                backends.answered(Hook::Connect, answer.allow);
                let answer = Arc::new(answer);
                if !answer.allow {
                    last().forget(&key);
                } else if settings.connect_on_error == OnError::Cached {
                    let until_ms = now.mono_ms.saturating_add(millis(settings.cache));
                    last().keep(key, Arc::clone(&answer), until_ms, now.mono_ms);
                }
                Ok(Some(answer))
            }
            Err(AskError::Denied) => {
                last().forget(&key);
                Err(AuthError::Denied)
            }
            Err(error) => {
                tracing::debug!(%error, "connect hook not answered");
                match settings.connect_on_error {
                    OnError::Deny => Err(AuthError::Undecided),
                    OnError::Allow => Ok(None),
                    OnError::Cached => {
                        let known = last().find(&key, now.mono_ms);
                        known.map(Some).ok_or(AuthError::Undecided)
                    }
                }
            }
        }
    }

    /// What the token and the backend say together.
    fn admitted(
        &self,
        admission: Admission,
        answer: &answer::Connect,
        mode: Mode,
    ) -> Result<Admission, AuthError> {
        let invalid = |rule: &str| {
            tracing::warn!(rule, "the answer of the connect hook does not count");
            AuthError::Undecided
        };
        let verifier = self.verifier.load();
        let replaced = |grants: &Grants| {
            grants
                .replaced(answer.subscribe.as_deref(), answer.publish.as_deref())
                .map_err(|error| invalid(&format!("a topic pattern {error}")))
        };
        let now_s = self.clock.unix_ms() / 1000;
        match (admission, &answer.user) {
            (Admission::Identified(mut identity), _) => {
                identity.grants = replaced(&identity.grants)?;
                identity.expires_at_ms = earlier(identity.expires_at_ms, answer.expires_at);
                Ok(Admission::Identified(identity))
            }
            (Admission::Anonymous(_), Some(user)) => {
                let user = UserId::parse(user).map_err(|_| invalid("user: no user id"))?;
                Ok(Admission::Identified(Identity {
                    user,
                    grants: replaced(verifier.default_grants())?,
                    expires_at_ms: answer.expires_at,
                    token_id: None,
                    // What is revoked until now is not meant: the backend has just said yes.
                    issued_at_s: Some(now_s),
                    profile: sparkway_auth::Profile::default(),
                }))
            }
            (Admission::Anonymous(_), None) if mode == Mode::Required => {
                Err(invalid("user: missing, and the client must be somebody"))
            }
            (Admission::Anonymous(_), None) => {
                Ok(Admission::Anonymous(replaced(verifier.anonymous_grants())?))
            }
        }
    }

    /// What a handshake shows of a client, for hooks.
    pub(crate) fn shown(&self, format: Format, headers: &HeaderMap) -> Option<Box<ask::Client>> {
        self.backends.as_ref()?;
        let names = &self.settings.hooks.transport_headers;
        let shown = names.iter().filter_map(|name| {
            let value = headers.get(name)?.to_str().ok()?;
            fits(value).then(|| (name.clone(), value.to_owned()))
        });
        Some(Box::new(ask::Client {
            dialect: format.dialect(),
            headers: shown.collect(),
            ..ask::Client::default()
        }))
    }

    /// Of what a client claims the part that hooks are shown.
    pub(crate) fn claimed(&self, claimed: Option<&Payload>) -> BTreeMap<String, String> {
        let names = &self.settings.hooks.claimed_headers;
        let Some(claimed) = claimed.filter(|_| !names.is_empty()) else {
            return BTreeMap::new();
        };
        let text = sparkway_dialect::json_text(claimed);
        let mut all: BTreeMap<String, String> = serde_json::from_str(&text).unwrap_or_default();
        all.retain(|name, value| names.contains(name) && fits(value));
        all
    }
}

fn fits(value: &str) -> bool {
    value.len() <= HookSettings::HEADER_BYTES_MAX
}

fn earlier(first: Option<u64>, second: Option<u64>) -> Option<u64> {
    match (first, second) {
        (Some(first), Some(second)) => Some(first.min(second)),
        (one, other) => one.or(other),
    }
}

/// The id of a question that is asked once.
pub(crate) fn new_id() -> String {
    format!("ask_{:032x}", rand::random::<u128>())
}
