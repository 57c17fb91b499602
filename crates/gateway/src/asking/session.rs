//! What backends are asked about a session in use.

use std::sync::PoisonError;
use std::time::Duration;

use sparkway_auth::Grants;
use sparkway_hooks::answer::Which;
use sparkway_hooks::{AskError, Hook, OnError, Request};
use sparkway_hooks::{answer, ask};
use sparkway_protocol::{Payload, TopicName};

use super::new_id;
use crate::attached::Attached;
use crate::clock::millis;
use crate::shared::Shared;

impl Attached {
    /// The session as hooks are shown it.
    pub(crate) fn introduced(&self) -> ask::Client {
        let shown = self.handle.shown.get();
        let mut client = shown.map_or_else(ask::Client::default, |shown| ask::Client::clone(shown));
        client.session = Some(self.session.to_string());
        client.user = self.user.as_ref().map(ToString::to_string);
        client
    }

    /// Which of the topics the subscribe hook lets this session receive.
    ///
    /// # Errors
    /// It cannot be asked: the session may ask again later.
    ///
    /// # Cancel safety
    /// Dropped, the backend may have been asked.
    pub(crate) async fn ask_to_receive(
        &self,
        topics: &[TopicName],
        action: &'static str,
    ) -> Result<Vec<TopicName>, AskError> {
        let shared = &self.worker.shared;
        let Some(backends) = shared.hook(Hook::Subscribe) else {
            return Ok(Vec::new());
        };
        let names: Vec<&str> = topics.iter().map(TopicName::as_str).collect();
        let question = ask::Subscribe {
            topics: &names,
            action,
        };
        let client = self.introduced();
        let now = shared.present();
        let id = new_id();
        let asked = Box::pin(backends.ask::<_, answer::Subscribe>(
            (shared.id.as_str(), &id),
            &client,
            &question,
            now,
        ));
        let settings = &shared.settings.hooks;
        let key = |topic: &TopicName| shared.answers.key(&(&client.user, topic.as_str()));
        let last = || {
            let answers = &shared.answers.subscribes;
            answers.lock().unwrap_or_else(PoisonError::into_inner)
        };
        let allow = match asked.await {
            Ok(answer) => answer.allow,
            Err(AskError::Denied) => Which::All(false),
            Err(error) => {
                tracing::debug!(%error, "subscribe hook not answered");
                return match settings.subscribe_on_error {
                    OnError::Deny => Err(error),
                    OnError::Allow => Ok(topics.to_vec()),
                    OnError::Cached => {
                        let known =
                            |topic: &&TopicName| last().find(&key(topic), now.mono_ms).is_some();
                        let known: Vec<_> = topics.iter().filter(known).cloned().collect();
                        if known.is_empty() {
                            Err(error)
                        } else {
                            Ok(known)
                        }
                    }
                };
            }
        };
        let (allowed, refused): (Vec<TopicName>, Vec<TopicName>) = topics
            .iter()
            .cloned()
            .partition(|topic| allow.has(topic.as_str()));
        backends.answered(Hook::Subscribe, refused.is_empty());
        if settings.subscribe_on_error == OnError::Cached {
            let until_ms = now.mono_ms.saturating_add(millis(settings.cache));
            let mut last = last();
            for topic in &allowed {
                last.keep(key(topic), (), until_ms, now.mono_ms);
            }
            for topic in &refused {
                last.forget(&key(topic));
            }
        }
        Ok(allowed)
    }

    /// Asks the publish hook; what is to be published, or why nothing is.
    ///
    /// # Errors
    /// [`AskError::Denied`]: never. Any other: it cannot be asked now.
    ///
    /// # Cancel safety
    /// Dropped, the backend may have been asked.
    pub(crate) async fn ask_to_publish(
        &self,
        topic: &TopicName,
        payload: Payload,
        (ephemeral, id): (bool, Option<&str>),
    ) -> Result<Payload, AskError> {
        let shared = &self.worker.shared;
        let Some(backends) = shared.hook(Hook::Publish) else {
            return Err(AskError::Denied);
        };
        let (data, encoding) = raw(&payload).ok_or(AskError::Invalid)?;
        let question = ask::Publish {
            topic: topic.as_str(),
            data: &data,
            encoding,
            ephemeral,
            id,
        };
        let client = self.introduced();
        let asked_as = new_id();
        let asked = Box::pin(backends.ask::<_, answer::Publish>(
            (shared.id.as_str(), &asked_as),
            &client,
            &question,
            shared.present(),
        ));
        match asked.await {
            Ok(answer) => {
                backends.answered(Hook::Publish, answer.allow);
                match answer.data {
                    _ if !answer.allow => Err(AskError::Denied),
                    None => Ok(payload),
                    Some(data) => shared.checked(data.get()),
                }
            }
            Err(AskError::Denied) => Err(AskError::Denied),
            Err(error) => {
                tracing::debug!(%error, "publish hook not answered");
                match shared.settings.hooks.publish_on_error {
                    OnError::Allow => Ok(payload),
                    OnError::Deny | OnError::Cached => Err(error),
                }
            }
        }
    }

    /// Asks the backend for the response to a message; `None` when it leaves it to somebody else.
    ///
    /// # Errors
    /// [`AskError`].
    ///
    /// # Cancel safety
    /// Dropped, the backend may have been asked.
    pub(crate) async fn ask_for_response_to(
        &self,
        id: &str,
        message: &ask::Message<'_>,
        within: Duration,
    ) -> Result<Option<String>, AskError> {
        let shared = &self.worker.shared;
        let backends = shared.hook(Hook::Message).ok_or(AskError::NotSet)?;
        let now = shared.present();
        let body = ask::body(shared.id.as_str(), now.unix_ms, &self.introduced(), message);
        let request = Request {
            hook: Hook::Message,
            id,
            body,
            timeout: within,
            now,
        };
        let asked = Box::pin(backends.ask_this(request));
        let answer: answer::Message = asked.await?;
        backends.answered(Hook::Message, true);
        let longest = shared.settings.limits.message_bytes;
        match answer.content {
            Some(content) if content.len() > longest => Err(AskError::Invalid),
            content => Ok(content),
        }
    }

    /// Asks the backend for the result of a call.
    ///
    /// # Errors
    /// [`AskError`]; an answer that names an error is [`CallError::Named`].
    ///
    /// # Cancel safety
    /// Dropped, the backend may have acted.
    pub(crate) async fn call(&self, method: &str, params: &Payload) -> Result<Payload, CallError> {
        let shared = &self.worker.shared;
        let Some(backends) = shared.hook(Hook::Rpc) else {
            return Err(CallError::Asked(AskError::NotSet));
        };
        let (params, encoding) = raw(params).ok_or(AskError::Invalid)?;
        let question = ask::Rpc {
            method,
            params: &params,
            encoding,
        };
        let client = self.introduced();
        let id = new_id();
        let asked = Box::pin(backends.ask::<_, answer::Rpc>(
            (shared.id.as_str(), &id),
            &client,
            &question,
            shared.present(),
        ));
        let answer = asked.await?;
        backends.answered(Hook::Rpc, answer.error.is_none());
        match (answer.result, answer.error) {
            (_, Some(error)) => Err(CallError::Named(error)),
            (Some(result), None) => Ok(shared.checked(result.get())?),
            (None, None) => Ok(shared.checked("null")?),
        }
    }

    /// Asks whether a credential that runs out goes on. `None`: the client has to see to it.
    ///
    /// # Cancel safety
    /// Dropped, the backend may have been asked.
    pub(crate) async fn ask_to_go_on(&self, expires_at_ms: u64) -> Option<(Grants, Option<u64>)> {
        let shared = &self.worker.shared;
        let backends = shared.hook(Hook::Refresh)?;
        let client = self.introduced();
        let question = ask::Refresh {
            expires_at: expires_at_ms,
        };
        let id = new_id();
        let asked = Box::pin(backends.ask::<_, answer::Refresh>(
            (shared.id.as_str(), &id),
            &client,
            &question,
            shared.present(),
        ));
        let answer = asked.await.ok()?;
        let is_later = answer
            .expires_at
            .is_none_or(|end_ms| end_ms > shared.clock.unix_ms());
        backends.answered(Hook::Refresh, answer.allow && is_later);
        if !answer.allow || !is_later {
            return None;
        }
        let grants = self.grants.load();
        let grants = grants.replaced(answer.subscribe.as_deref(), answer.publish.as_deref());
        Some((grants.ok()?, answer.expires_at))
    }
}

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// The backend was not asked, or did not answer.
    Asked(AskError),
    /// The backend said why.
    Named(String),
}

impl From<AskError> for CallError {
    fn from(error: AskError) -> Self {
        Self::Asked(error)
    }
}

impl Shared {
    /// What a backend wants to be told to clients, as a payload: within the same bounds as theirs.
    fn checked(&self, json: &str) -> Result<Payload, AskError> {
        if json.len() > self.settings.limits.message_bytes {
            return Err(AskError::Invalid);
        }
        sparkway_dialect::json_payload("data", json).map_err(|_| AskError::Invalid)
    }
}

/// A payload as it stands in a request.
fn raw(payload: &Payload) -> Option<(Box<serde_json::value::RawValue>, Option<&'static str>)> {
    let text = sparkway_dialect::json_text(payload).into_owned();
    let raw = serde_json::value::RawValue::from_string(text).ok()?;
    let is_binary = payload.encoding == sparkway_protocol::Encoding::Binary;
    Some((raw, is_binary.then_some("base64")))
}
