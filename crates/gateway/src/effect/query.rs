//! Look something up: history, presence, a call to the backend.

use std::sync::Arc;

use sparkway_hooks::AskError;
use sparkway_protocol::{Code, Entry, FrameId, MessageId, Outcome, TopicName, limits};
use sparkway_session::{HistoryRequest, Input};
use sparkway_store::record::Range;

use crate::asking::CallError;
use crate::attached::Attached;
use crate::connection::Connection;
use crate::shared::Allowed;

impl Connection {
    pub(super) fn query(&mut self, id: Option<FrameId>, request: HistoryRequest) {
        let Some(attached) = self.in_use() else {
            return;
        };
        if let HistoryRequest::Call { method, params } = request {
            self.worker.shared.tasks.spawn(async move {
                let called = Box::pin(attached.call(&method, &params)).await;
                attached.wait_for_room().await;
                let result = called.map(|result| Outcome::Called { result });
                let result = result.map_err(|error| code_of(&error));
                attached.handle.post(Input::Answered { id, result });
            });
            return;
        }
        self.worker.shared.tasks.spawn(async move {
            // One at a time, and only while the client takes the answers: a page is large.
            let Ok(_turn) = attached.seldom().queries.acquire().await else {
                return;
            };
            attached.wait_for_room().await;
            let result = attached.answer(request).await;
            attached.handle.post(Input::Answered { id, result });
        });
    }
}

impl Attached {
    async fn answer(&self, request: HistoryRequest) -> Result<Outcome, Code> {
        match request {
            HistoryRequest::History {
                topic,
                after,
                before,
                limit,
                reverse,
            } => {
                let from = after.unwrap_or(MessageId::ZERO);
                let range = Range {
                    topic,
                    after: from,
                    before,
                    limit,
                    reverse,
                };
                self.history(range).await
            }
            HistoryRequest::Presence { topic } => self.who_is_in(topic).await,
            // Calls are answered by a backend.
            HistoryRequest::Call { .. } => Err(Code::Unsupported),
        }
    }

    /// Who is in a topic: for those who may receive it.
    async fn who_is_in(&self, topic: TopicName) -> Result<Outcome, Code> {
        let shared = &self.worker.shared;
        let grants = self.grants.load();
        let user = self.user.as_ref();
        let allowed = shared.may_subscribe(&grants, &topic, user, self.session);
        drop(grants);
        self.may_look(allowed, &topic).await?;
        if !shared.has_presence(&topic) {
            return Err(Code::Unsupported);
        }
        shared.presence_written(&topic).await;
        let members = shared.store.members(topic, None, limits::PRESENCE_USERS);
        let members = members.await.map_err(|_| Code::Unavailable)?;
        Ok(Outcome::Presence {
            truncated: members.next.is_some(),
            users: members.users,
            count: members.count,
        })
    }

    /// A page of a log. `complete`: the page reaches the end of the range, and nothing at its
    /// beginning has been trimmed away.
    async fn history(&self, range: Range) -> Result<Outcome, Code> {
        let shared = &self.worker.shared;
        let grants = self.grants.load();
        let user = self.user.as_ref();
        let allowed = shared.may_subscribe(&grants, &range.topic, user, self.session);
        drop(grants);
        self.may_look(allowed, &range.topic).await?;
        let after = range.after;
        let reverse = range.reverse;
        let page = shared
            .store
            .history(range)
            .await
            .map_err(|_| Code::Unavailable)?;
        let mut messages = page.entries;
        let kept = fitting(&messages);
        let is_cut = kept < messages.len();
        messages.truncate(kept);
        let oldest = if reverse {
            messages.last()
        } else {
            messages.first()
        };
        let begins_whole = oldest.is_none_or(|entry| entry.prev <= after);
        let complete = !page.more && !is_cut && begins_whole;
        Ok(Outcome::History { messages, complete })
    }
}

impl Attached {
    /// # Errors
    /// Why the session may not read a topic.
    async fn may_look(&self, allowed: Allowed, topic: &TopicName) -> Result<(), Code> {
        let is_held = || self.subs().iter().any(|sub| sub.topic == *topic);
        match allowed {
            Allowed::Yes => Ok(()),
            Allowed::No => Err(Code::Forbidden),
            Allowed::Ask if is_held() => Ok(()),
            Allowed::Ask => {
                let topics = std::slice::from_ref(topic);
                match Box::pin(self.ask_to_receive(topics, "history")).await {
                    Ok(allowed) if allowed.is_empty() => Err(Code::Forbidden),
                    Ok(_) => Ok(()),
                    Err(_) => Err(Code::Unavailable),
                }
            }
        }
    }
}

/// What the client of a call is told.
fn code_of(error: &CallError) -> Code {
    match error {
        CallError::Asked(AskError::NotSet) => Code::Unsupported,
        CallError::Asked(AskError::Denied) => Code::Forbidden,
        CallError::Asked(
            AskError::Timeout | AskError::Failed | AskError::CircuitOpen | AskError::Busy,
        ) => Code::Timeout,
        CallError::Asked(AskError::Invalid) => Code::Internal,
        CallError::Named(name) => match name.as_str() {
            "invalid" => Code::Invalid,
            "forbidden" => Code::Forbidden,
            "not_found" => Code::NotFound,
            _ => Code::Internal,
        },
    }
}

/// Payload bytes of one page of history, at the most (its first entry always fits).
const PAGE_BYTES: usize = 128 * 1024;

/// How many of the entries make one page.
fn fitting(entries: &[Arc<Entry>]) -> usize {
    let mut bytes = 0;
    let within = entries.iter().take_while(|entry| {
        bytes += entry.payload.bytes.len();
        bytes <= PAGE_BYTES
    });
    within.count().max(1).min(entries.len())
}
