//! Who answers a message of a conversation: asked once it is stored, and heard through the
//! conversation's log, so that the response reaches the client wherever it is by then.

use std::time::{Duration, Instant};

use sparkway_dialect::conversation;
use sparkway_hooks::{AskError, Hook, ask};
use sparkway_protocol::{
    Code, Durability, Event, FrameId, MessageId, Payload, Refused, TopicName, iso8601,
};
use sparkway_session::{Input, digest};
use sparkway_store::record::Range;
use sparkway_store::{Append, SharedEntry, StoreError};

use crate::attached::Attached;
use crate::connection::Connection;
use crate::settings::Responder;

/// Entries read at once while a response is looked for.
const PAGE: usize = 200;
/// Messages of one connection that wait for a response, at the most.
pub(crate) const UNANSWERED: usize = 256;

/// A stored message that wants a response.
struct Question {
    topic: TopicName,
    id: FrameId,
    /// Where it lies in the log.
    stored: MessageId,
    said: Payload,
}

impl Connection {
    /// Notes what is being stored: whoever answers is asked for a response then.
    pub(super) fn note_message(&mut self, id: Option<&FrameId>, said: &Payload) {
        if self.conversation().is_some()
            && let Some(id) = id
        {
            self.unanswered.push((id.clone(), said.clone()));
        }
    }

    /// A message is stored, or was before: somebody is to answer it.
    pub(crate) fn ask_for_response(&mut self, input: &Input) {
        if let Input::Answered { id: Some(id), .. } = input {
            // It was not stored: a backend refused it.
            self.unanswered.retain(|(known, _)| known != id);
        }
        let Input::Stored {
            id: Some(id),
            result,
        } = input
        else {
            return;
        };
        let Some(at) = self.unanswered.iter().position(|(known, _)| known == id) else {
            return;
        };
        let (id, said) = self.unanswered.remove(at);
        let (Ok(Some((stored, duplicate))), Some(topic), Some(attached)) =
            (result, self.conversation().cloned(), self.in_use())
        else {
            return;
        };
        let duplicate = *duplicate;
        let question = Question {
            topic,
            id,
            stored: *stored,
            said,
        };
        self.worker.shared.tasks.spawn(async move {
            attached.answer_question(question, duplicate).await;
        });
    }
}

impl Attached {
    async fn answer_question(&self, question: Question, duplicate: bool) {
        let Ok(_place) = self.seldom().questions.try_acquire() else {
            let text = "too many messages wait for their response";
            return self.refuse_question(&question, Code::LimitExceeded, text);
        };
        let result = self.respond(&question, duplicate).await;
        match result {
            Ok(()) => {}
            Err(Failed::Late) => {
                let text = "No response to this message in time";
                self.refuse_question(&question, Code::Timeout, text);
            }
            Err(Failed::Refused) => {
                let text = "this message is not answered";
                self.refuse_question(&question, Code::Forbidden, text);
            }
            Err(Failed::Away) => {
                let text = "nobody can answer now; send the same message again";
                self.refuse_question(&question, Code::Unavailable, text);
            }
            Err(Failed::Store(error)) => {
                tracing::debug!(session = %self.session, %error, "response not stored or found");
                let text = "the store does not answer; send the same message again";
                self.refuse_question(&question, Code::Unavailable, text);
            }
        }
    }

    async fn respond(&self, question: &Question, duplicate: bool) -> Result<(), Failed> {
        if duplicate && let Some(response) = self.find_response(question).await? {
            self.tell(&Event::Message(response));
            return Ok(());
        }
        let settings = &self.worker.shared.settings.conversation;
        if self.worker.shared.hook(Hook::Message).is_some() {
            return self.respond_by_hook(question).await;
        }
        match settings.responder {
            Responder::Echo => {
                let content = conversation::said(&question.said).unwrap_or_default();
                self.keep_response(question, &content).await?;
                Ok(())
            }
            Responder::Client => {
                self.await_response(question, settings.response_timeout)
                    .await
            }
        }
    }

    /// Somebody who subscribes to the conversation is to answer.
    async fn await_response(&self, question: &Question, within: Duration) -> Result<(), Failed> {
        tokio::time::sleep(within).await;
        if self.is_over() || self.find_response(question).await?.is_some() {
            return Ok(());
        }
        Err(Failed::Late)
    }

    /// The backend is to answer; where it says nothing, somebody else may, in the time that is
    /// left.
    async fn respond_by_hook(&self, question: &Question) -> Result<(), Failed> {
        let within = self.worker.shared.settings.conversation.response_timeout;
        let began = Instant::now();
        let content = conversation::said(&question.said).unwrap_or_default();
        let conversation = conversation::id_of(&question.topic).unwrap_or_default();
        let message_id = question.id.as_str();
        // The same message asked again, also by another node, has the same id.
        let name = digest::of_request("response", &question.topic, message_id);
        let id = format!("msg_{:032x}", u128::from_be_bytes(name));
        let message = ask::Message {
            conversation,
            message_id,
            content: &content,
        };
        let asked = Box::pin(self.ask_for_response_to(&id, &message, within));
        match asked.await {
            Ok(Some(content)) => {
                self.keep_response(question, &content).await?;
                Ok(())
            }
            Ok(None) => {
                let left = within.saturating_sub(began.elapsed());
                self.await_response(question, left).await
            }
            Err(AskError::Timeout | AskError::Busy) => Err(Failed::Late),
            Err(AskError::Denied) => Err(Failed::Refused),
            Err(error) => {
                tracing::debug!(session = %self.session, %error, "message hook not answered");
                Err(Failed::Away)
            }
        }
    }

    /// The response in the conversation's log, if somebody gave one that is still kept.
    async fn find_response(&self, question: &Question) -> Result<Option<SharedEntry>, StoreError> {
        let mut after = question.stored;
        loop {
            let range = Range {
                topic: question.topic.clone(),
                after,
                before: None,
                limit: PAGE,
                reverse: false,
            };
            let page = self.worker.shared.store.history(range).await?;
            let Some(last) = page.entries.last() else {
                return Ok(None);
            };
            after = last.id;
            let answers = |entry: &SharedEntry| {
                conversation::answered(&entry.payload).as_deref() == Some(question.id.as_str())
            };
            let more = page.more;
            if let Some(found) = page.entries.into_iter().find(answers) {
                return Ok(Some(found));
            }
            if !more {
                return Ok(None);
            }
        }
    }

    /// Stores a response, once however often its message is answered.
    async fn keep_response(&self, question: &Question, content: &str) -> Result<(), StoreError> {
        let shared = &self.worker.shared;
        let (topic, id) = (&question.topic, &question.id);
        let payload =
            conversation::response(id.as_str(), content, &iso8601(shared.clock.now().unix_ms));
        let append = Append {
            topic: topic.clone(),
            payload,
            from: None,
            origin: None,
            exclude_origin: false,
            digest: digest::of_request("response", topic, id.as_str()),
            fence: None,
            trace: None,
            durability: Durability::default(),
            retention: shared.retention(topic),
        };
        let partition = shared.layout.of(topic.as_str());
        let mut stored = shared.store.append(partition, vec![append.clone()]).await;
        if stored.is_err() {
            // It may be stored: the digest makes the second one the same.
            stored = shared.store.append(partition, vec![append]).await;
        }
        match stored?.into_iter().next() {
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => Err(StoreError::Unavailable("the response was not stored")),
        }
    }

    fn refuse_question(&self, question: &Question, code: Code, text: &'static str) {
        let refused = Refused::new(code, text).answering(Some(question.id.clone()));
        self.tell(&Event::Refused(refused));
    }
}

/// Why a message has no response.
enum Failed {
    Late,
    /// The backend said no.
    Refused,
    /// The backend cannot be asked.
    Away,
    Store(StoreError),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
