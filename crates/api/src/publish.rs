//! Publish, one message, several, or one in several topics.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use sparkway_dialect::json_payload;
use sparkway_gateway::desk::{self, Publication};
use sparkway_protocol::{
    Code, Durability, Encoding, Payload, SessionId, TopicName, UserId, limits,
};
use sparkway_session::digest;
use sparkway_store::WriteError;

use crate::answer::{Answered, Reply};
use crate::call::Call;
use crate::problem::Problem;
use crate::shape::{Data, shapes, words};

/// Most messages of a batch, and topics of a broadcast.
const MESSAGES_MAX: usize = 1000;

shapes! {
    /// A message to publish.
    Publish {
        /// Its topic: 1 to 255 bytes without white space or control characters; not one that begins with `$`.
        topic: String,
        /// What it says: any JSON value, carried verbatim. Either this or `data_b64`.
        #[serde(default)]
        data: Data,
        /// Raw bytes in base64, for receivers that speak `MessagePack`.
        data_b64: Option<String>,
        /// Names this publish, 1 to 64 bytes: published again by the same API key in the same topic, it is not stored again.
        id: Option<String>,
        /// The user on whose behalf it is published; receivers see it as `from`.
        from: Option<String>,
        /// A session that does not receive it.
        exclude_session: Option<String>,
        /// Told to whoever listens now, never kept: without id, not replayed.
        ephemeral: Option<bool>,
        /// How safely it is stored before it is answered.
        durability: Option<Durable>,
    }

    /// Messages to publish.
    Batch {
        /// 1 to 1,000 of them.
        messages: Vec<Publish>,
    }

    /// A message for several topics.
    Broadcast {
        /// 1 to 1,000 topics.
        topics: Vec<String>,
        /// What it says: any JSON value, carried verbatim. Either this or `data_b64`.
        #[serde(default)]
        data: Data,
        /// Raw bytes in base64, for receivers that speak `MessagePack`.
        data_b64: Option<String>,
        /// Names this broadcast, 1 to 64 bytes: repeated by the same API key, nothing is stored again.
        id: Option<String>,
        /// The user on whose behalf it is published.
        from: Option<String>,
        /// A session that does not receive it.
        exclude_session: Option<String>,
        /// Told to whoever listens now, never kept.
        ephemeral: Option<bool>,
        /// How safely it is stored before it is answered.
        durability: Option<Durable>,
    }

    /// What became of a message.
    Published {
        /// Its topic.
        topic: String,
        /// Its id, the same for every receiver. None for an ephemeral one.
        id: Option<String>,
        /// An earlier request with the same `id` or `Idempotency-Key` stored it.
        duplicate: bool,
    }

    /// What became of each message, in their order.
    Results {
        /// One per message.
        results: Vec<Outcome>,
    }

    /// What became of one message: either `published` or `problem`.
    Outcome {
        /// It is published.
        published: Option<Published>,
        /// It is not, or it is unknown whether it is.
        problem: Option<Fault>,
    }

    /// Why a message of a batch was refused, in the words of a problem.
    Fault {
        /// The code.
        code: String,
        /// Its status, had it been a request of its own.
        status: u64,
        /// For a developer: names the field and the limit.
        detail: String,
        /// Whether the same message may succeed later.
        retryable: bool,
    }
}

words! {
    /// How safely a message is stored before it is answered.
    Durable {
        /// In the store.
        Stored = "stored",
        /// On the configured number of replicas, too.
        Replicated = "replicated",
    }
}

/// `POST /v1/publish`.
pub(crate) async fn one(call: Call) -> Answered {
    let message: Publish = call.json()?;
    if message.id.is_some() && call.idempotency_key.is_some() {
        return Err(Problem::at(
            "/id",
            "and Idempotency-Key are the same thing: give one",
        ));
    }
    let topic = message.topic.clone();
    let publication = publication(&call, message, call.idempotency_key.as_deref(), "")?;
    let outcome = call.desk.publish(vec![publication]).await.pop();
    Reply::ok(&published(topic, outcome)?)
}

/// `POST /v1/publish/batch`.
pub(crate) async fn batch(call: Call) -> Answered {
    let Batch { messages } = call.json()?;
    is_some_thousand(messages.len(), "/messages")?;
    let mut topics = Vec::with_capacity(messages.len());
    let mut checked = Vec::with_capacity(messages.len());
    for (at, message) in messages.into_iter().enumerate() {
        topics.push(message.topic.clone());
        // The key of the request names each message by its place.
        let key = call
            .idempotency_key
            .as_ref()
            .map(|key| format!("{key}/{at}"));
        let pointer = format!("/messages/{at}");
        checked.push(publication(&call, message, key.as_deref(), &pointer));
    }
    Reply::ok(&carry_out(&call, topics, checked).await)
}

/// `POST /v1/broadcast`.
pub(crate) async fn broadcast(call: Call) -> Answered {
    let Broadcast {
        topics,
        data,
        data_b64,
        id,
        from,
        exclude_session,
        ephemeral,
        durability,
    } = call.json()?;
    is_some_thousand(topics.len(), "/topics")?;
    let mut checked = Vec::with_capacity(topics.len());
    for (at, topic) in topics.iter().enumerate() {
        let message = Publish {
            topic: topic.clone(),
            data: data.clone(),
            data_b64: data_b64.clone(),
            id: id.clone(),
            from: from.clone(),
            exclude_session: exclude_session.clone(),
            ephemeral,
            durability,
        };
        let made = publication(&call, message, call.idempotency_key.as_deref(), "");
        checked.push(made.map_err(|problem| match problem.pointer.as_deref() {
            Some("/topic") => Problem {
                pointer: Some(format!("/topics/{at}")),
                ..problem
            },
            _ => problem,
        }));
    }
    Reply::ok(&carry_out(&call, topics, checked).await)
}

fn is_some_thousand(count: usize, pointer: &str) -> Result<(), Problem> {
    if (1..=MESSAGES_MAX).contains(&count) {
        return Ok(());
    }
    Err(Problem::at(
        pointer,
        format_args!("has {count} items; 1 to {MESSAGES_MAX} are allowed"),
    ))
}

/// Publishes those that are in order; the others have their problem already.
async fn carry_out(
    call: &Call,
    topics: Vec<String>,
    checked: Vec<Result<Publication, Problem>>,
) -> Results {
    let mut publications = Vec::with_capacity(checked.len());
    let refused: Vec<Option<Problem>> = checked
        .into_iter()
        .map(|made| made.map(|made| publications.push(made)).err())
        .collect();
    let mut outcomes = call.desk.publish(publications).await.into_iter();
    let results = topics.into_iter().zip(refused).map(|(topic, refused)| {
        let result = match refused {
            Some(problem) => Err(problem),
            None => published(topic, outcomes.next()),
        };
        match result {
            Ok(published) => Outcome {
                published: Some(published),
                problem: None,
            },
            Err(problem) => Outcome {
                published: None,
                problem: Some(fault(&problem)),
            },
        }
    });
    Results {
        results: results.collect(),
    }
}

fn fault(problem: &Problem) -> Fault {
    let body = problem.body("");
    Fault {
        code: problem.code.as_str().to_owned(),
        status: u64::from(problem.code.http_status()),
        detail: problem.detail.clone().into_owned(),
        retryable: body.get("retryable").and_then(Value::as_bool) == Some(true),
    }
}

/// What became of one message.
pub(crate) fn published(
    topic: String,
    outcome: Option<Result<desk::Published, WriteError>>,
) -> Result<Published, Problem> {
    let lost = || Problem::new(Code::Internal, "an outcome is missing");
    Ok(match outcome.ok_or_else(lost)?? {
        desk::Published::Stored { id, duplicate } => Published {
            topic,
            id: Some(id.to_string()),
            duplicate,
        },
        desk::Published::Announced => Published {
            topic,
            id: None,
            duplicate: false,
        },
    })
}

/// Checks a message. `key` names it where it does not name itself.
fn publication(
    call: &Call,
    message: Publish,
    key: Option<&str>,
    pointer: &str,
) -> Result<Publication, Problem> {
    let topic = topic(&message.topic, &format!("{pointer}/topic"))?;
    if topic.is_reserved() {
        return Err(Problem {
            pointer: Some(format!("{pointer}/topic")),
            ..Problem::new(
                Code::Forbidden,
                "topics that begin with $ belong to the gateway: use /v1/users/{user}/messages or /v1/sessions/{session}/messages",
            )
        });
    }
    let Publish {
        data,
        data_b64,
        id,
        from,
        exclude_session,
        ephemeral,
        durability,
        ..
    } = message;
    if let Some(id) = &id
        && !(1..=limits::FRAME_ID_BYTES).contains(&id.len())
    {
        return Err(Problem::at(format!("{pointer}/id"), "is not 1 to 64 bytes"));
    }
    let payload = payload(call, &data, data_b64.as_deref(), pointer)?;
    let name = id.as_deref().or(key);
    Ok(Publication {
        digest: name.map(|name| digest::of_request(&call.key, &topic, name)),
        topic,
        payload,
        from: from.map(|text| user(&text, pointer)).transpose()?,
        exclude: exclude_session
            .map(|text| {
                let rule = "is no session id";
                SessionId::parse(&text)
                    .ok_or_else(|| Problem::at(format!("{pointer}/exclude_session"), rule))
            })
            .transpose()?,
        durability: match durability {
            None | Some(Durable::Stored) => Durability::Stored,
            Some(Durable::Replicated) => Durability::Replicated,
        },
        ephemeral: ephemeral.unwrap_or(false),
        trace: call.trace,
    })
}

/// A topic in a body.
pub(crate) fn topic(text: &str, pointer: &str) -> Result<TopicName, Problem> {
    TopicName::parse(text).map_err(|rule| Problem::at(pointer, rule))
}

fn user(text: &str, pointer: &str) -> Result<UserId, Problem> {
    UserId::parse(text).map_err(|rule| Problem::at(format!("{pointer}/from"), rule))
}

/// What a message says, within the node's limit.
pub(crate) fn payload(
    call: &Call,
    data: &Data,
    data_b64: Option<&str>,
    pointer: &str,
) -> Result<Payload, Problem> {
    let payload = match (&data.0, data_b64) {
        (Some(text), None) => json_payload("data", text.get())?,
        (None, Some(text)) => {
            let bytes = BASE64
                .decode(text)
                .map_err(|_| Problem::at(format!("{pointer}/data_b64"), "is no base64"))?;
            Payload {
                encoding: Encoding::Binary,
                bytes: bytes.into(),
            }
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(Problem::at(
                format!("{pointer}/data"),
                "and data_b64: exactly one of both is needed",
            ));
        }
    };
    let (bytes, most) = (
        payload.bytes.len(),
        call.desk.settings().limits.message_bytes,
    );
    if bytes > most {
        let detail =
            format!("{pointer}/data has {bytes} bytes; limits.message_bytes allows {most}");
        return Err(Problem {
            pointer: Some(format!("{pointer}/data")),
            ..Problem::new(Code::TooLarge, detail)
        });
    }
    Ok(payload)
}
