//! Topics: which there are, what they hold.

use serde_json::value::RawValue;
use sparkway_dialect::json_text;
use sparkway_protocol::{Code, Encoding, Entry, MessageId, TopicName};
use sparkway_store::directory::{TopicQuery, TopicSummary};
use sparkway_store::record::Range;

use crate::answer::{Answered, Reply};
use crate::call::Call;
use crate::pages::{Cursor, Turn, walk};
use crate::problem::Problem;
use crate::shape::{Data, shapes};

shapes! {
    /// A page of topics.
    Topics {
        /// Topics in which something was stored and is not forgotten yet.
        items: Vec<Summary>,
        /// `cursor` of the next page; missing at the end. A page may hold less than was asked for, also nothing, and still go on.
        next: Option<String>,
    }

    /// A topic in a listing.
    Summary {
        /// Its name.
        topic: String,
        /// The newest id given in it.
        last_id: String,
        /// Messages that its log holds.
        entries: u64,
    }

    /// A topic.
    TopicDetails {
        /// Its name.
        topic: String,
        /// The newest id given in it; missing when it never had one.
        last_id: Option<String>,
        /// The oldest message that its log holds; missing when that is empty.
        first_id: Option<String>,
        /// Messages that its log holds.
        entries: u64,
        /// Sessions of the asked node that receive it.
        node_subscribers: u64,
        /// Newest messages that are kept.
        history_entries: u64,
        /// How long messages are kept, in milliseconds.
        history_age_ms: u64,
    }

    /// A page of the users in a topic.
    Present {
        /// The topic.
        topic: String,
        /// Users, each once.
        users: Vec<String>,
        /// How many there are in all.
        count: u64,
        /// `cursor` of the next page; missing at the end.
        next: Option<String>,
    }

    /// How many users are in a topic.
    PresenceCount {
        /// The topic.
        topic: String,
        /// How many there are in all.
        count: u64,
    }

    /// A page of a log.
    History {
        /// Its topic.
        topic: String,
        /// Messages, in the order asked for.
        messages: Vec<Message>,
        /// Whether the page reaches the end of what was asked for. If not, ask again with the id of the last message as `after` (`before` with `order=desc`).
        complete: bool,
    }

    /// A stored message.
    Message {
        /// Its id.
        id: String,
        /// When it was stored, in Unix milliseconds.
        ts: u64,
        /// The user who published it.
        from: Option<String>,
        /// What it says; raw bytes as a base64 text, marked by `encoding`.
        data: Data,
        /// `base64` when `data` stands for raw bytes.
        encoding: Option<String>,
    }
}

/// `GET /v1/topics`.
pub(crate) async fn list(call: Call) -> Answered {
    let cursor = Cursor::read(call.query("cursor"))?;
    let prefix = call.query("prefix").unwrap_or_default().to_owned();
    let store = call.desk.store().clone();
    let read = move |turn: Turn| {
        let (store, prefix) = (store.clone(), prefix.clone());
        let query = TopicQuery {
            prefix,
            after: turn.after,
            limit: turn.limit,
        };
        Box::pin(async move { store.topics(turn.partition, query).await }) as _
    };
    let (items, next) = walk(call.desk.layout(), cursor, call.limit()?, read, |found| {
        let TopicSummary {
            topic,
            tip,
            entries,
        } = found;
        Some(Summary {
            topic: topic.to_string(),
            last_id: tip.to_string(),
            entries,
        })
    })
    .await?;
    Reply::ok(&Topics { items, next })
}

/// `GET /v1/topics/{topic}`.
pub(crate) async fn show(call: Call) -> Answered {
    let topic = call.topic(0)?;
    let store = call.desk.store();
    let last = store.tip(topic.clone()).await?;
    let subscribers = call.desk.subscribers(&topic);
    if last == MessageId::ZERO && subscribers == 0 {
        return Err(Problem::not_found("no such topic"));
    }
    let entries = store.log_length(topic.clone()).await?;
    let first = store
        .history(Range {
            topic: topic.clone(),
            after: MessageId::ZERO,
            before: None,
            limit: 1,
            reverse: false,
        })
        .await?;
    let settings = call.desk.settings().topic(&topic);
    Reply::ok(&TopicDetails {
        topic: topic.to_string(),
        last_id: (last != MessageId::ZERO).then(|| last.to_string()),
        first_id: first.entries.first().map(|entry| entry.id.to_string()),
        entries,
        node_subscribers: subscribers,
        history_entries: u64::from(settings.history_entries),
        history_age_ms: u64::try_from(settings.history_age.as_millis()).unwrap_or(u64::MAX),
    })
}

/// `GET /v1/topics/{topic}/history`.
pub(crate) async fn history(call: Call) -> Answered {
    let topic = call.topic(0)?;
    let reverse = match call.query("order") {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(_) => return Err(Problem::invalid("order: is neither asc nor desc")),
    };
    let range = Range {
        topic: topic.clone(),
        after: call.id("after")?.unwrap_or(MessageId::ZERO),
        before: call.id("before")?,
        limit: call.limit()?,
        reverse,
    };
    let page = call.desk.store().history(range).await?;
    let messages = page.entries.iter().map(|entry| message(entry));
    Reply::ok(&History {
        topic: topic.to_string(),
        messages: messages.collect::<Result<_, _>>()?,
        complete: !page.more,
    })
}

/// An entry of a log as an answer shows it.
pub(crate) fn message(entry: &Entry) -> Result<Message, Problem> {
    let text = json_text(&entry.payload).into_owned();
    let data = RawValue::from_string(text)
        .map_err(|_| Problem::new(Code::Internal, "a payload cannot be written as JSON"))?;
    Ok(Message {
        id: entry.id.to_string(),
        ts: entry.id.unix_ms(),
        from: entry.from.as_ref().map(ToString::to_string),
        data: Data(Some(data)),
        encoding: (entry.payload.encoding == Encoding::Binary).then(|| "base64".to_owned()),
    })
}

/// `DELETE /v1/topics/{topic}/history`.
pub(crate) async fn trim(call: Call) -> Answered {
    let topic = call.topic(0)?;
    let until = match call.id("until")? {
        Some(until) => until,
        None => call.desk.store().tip(topic.clone()).await?,
    };
    call.desk.trim(topic, until).await?;
    Ok(Reply::nothing())
}

/// The topic in the path, if it is kept who is in it.
fn attended(call: &Call) -> Result<TopicName, Problem> {
    let topic = call.topic(0)?;
    if call.desk.keeps_presence(&topic) {
        return Ok(topic);
    }
    let detail = "no presence is kept in this topic: topics.presence is off for its namespace";
    Err(Problem::new(Code::Unsupported, detail))
}

/// `GET /v1/topics/{topic}/presence`.
pub(crate) async fn presence(call: Call) -> Answered {
    let topic = attended(&call)?;
    let after = call.query("cursor").map(str::to_owned);
    let store = call.desk.store();
    let found = store.members(topic.clone(), after, call.limit()?).await?;
    Reply::ok(&Present {
        topic: topic.to_string(),
        users: found.users.iter().map(ToString::to_string).collect(),
        count: found.count,
        next: found.next,
    })
}

/// `GET /v1/topics/{topic}/presence/stats`.
pub(crate) async fn presence_count(call: Call) -> Answered {
    let topic = attended(&call)?;
    let found = call.desk.store().members(topic.clone(), None, 1).await?;
    Reply::ok(&PresenceCount {
        topic: topic.to_string(),
        count: found.count,
    })
}
