//! Subscriptions that a backend makes and ends, and messages to one session or user.

use sparkway_gateway::desk::Publication;
use sparkway_protocol::{Code, Durability, SessionId, TopicName, UserId, limits};
use sparkway_session::digest;

use crate::answer::{Answered, Reply};
use crate::call::{Call, no_session};
use crate::problem::Problem;
use crate::publish::{payload, published, topic};
use crate::sessions::of_user;
use crate::shape::{Data, shapes};

shapes! {
    /// Topics to subscribe to.
    Topics {
        /// 1 to 100 names; not ones that begin with `$`.
        topics: Vec<String>,
    }

    /// Subscriptions of one session.
    Enlisted {
        /// The session.
        session: String,
        /// Topics that are new; the others it had already.
        subscribed: Vec<String>,
    }

    /// Subscriptions of the sessions of a user.
    EnlistedUser {
        /// One per session.
        sessions: Vec<Enlisted>,
        /// Whether the user has more sessions than one request handles (1,000).
        more: bool,
    }

    /// A message for an inbox.
    Direct {
        /// What it says: any JSON value, carried verbatim. Either this or `data_b64`.
        #[serde(default)]
        data: Data,
        /// Raw bytes in base64.
        data_b64: Option<String>,
        /// Names this message, 1 to 64 bytes: repeated by the same API key, it is not stored again.
        id: Option<String>,
        /// The user on whose behalf it is sent.
        from: Option<String>,
    }
}

fn names(wanted: &Topics) -> Result<Vec<TopicName>, Problem> {
    let count = wanted.topics.len();
    let most = limits::TOPICS_PER_REQUEST;
    if !(1..=most).contains(&count) {
        let rule = format_args!("has {count} items; 1 to {most} are allowed");
        return Err(Problem::at("/topics", rule));
    }
    let name = |(at, text): (usize, &String)| {
        let pointer = format!("/topics/{at}");
        let name = topic(text, &pointer)?;
        if name.is_reserved() {
            return Err(Problem::at(
                pointer,
                "begins with $, which belongs to the gateway",
            ));
        }
        Ok(name)
    };
    wanted.topics.iter().enumerate().map(name).collect()
}

fn texts(names: &[TopicName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// `POST /v1/sessions/{session}/subscriptions`.
pub(crate) async fn subscribe(call: Call) -> Answered {
    let session = call.session()?;
    let topics = names(&call.json()?)?;
    let new = call.desk.subscribe(session, &topics).await?;
    Reply::ok(&Enlisted {
        session: session.to_string(),
        subscribed: texts(&new.ok_or_else(no_session)?),
    })
}

/// `DELETE /v1/sessions/{session}/subscriptions/{topic}`.
pub(crate) async fn unsubscribe(call: Call) -> Answered {
    let (session, topic) = (call.session()?, call.topic(1)?);
    if !call.desk.unsubscribe(session, &[topic]).await? {
        return Err(no_session());
    }
    Ok(Reply::nothing())
}

/// `POST /v1/users/{user}/subscriptions`.
pub(crate) async fn subscribe_user(call: Call) -> Answered {
    let topics = names(&call.json()?)?;
    let (records, more) = of_user(&call, call.user()?).await?;
    let mut sessions = Vec::with_capacity(records.len());
    for record in records {
        // One that ended meanwhile has no subscriptions to speak of.
        if let Some(new) = call.desk.subscribe(record.session, &topics).await? {
            sessions.push(Enlisted {
                session: record.session.to_string(),
                subscribed: texts(&new),
            });
        }
    }
    Reply::ok(&EnlistedUser { sessions, more })
}

/// `POST /v1/sessions/{session}/messages`.
pub(crate) async fn to_session(call: Call) -> Answered {
    let session = call.session()?;
    let inbox = inbox(&format!("$session:{session}"))?;
    let message = publication(&call, call.json()?, &inbox)?;
    // First, so that what is published next is after the beginning of the subscription.
    let new = call
        .desk
        .subscribe(session, std::slice::from_ref(&inbox))
        .await?;
    if new.is_none() {
        return Err(no_session());
    }
    send(&call, inbox, message).await
}

/// `POST /v1/users/{user}/messages`.
pub(crate) async fn to_user(call: Call) -> Answered {
    let user = call.user()?;
    let inbox = inbox(&format!("$user:{user}"))?;
    let message = publication(&call, call.json()?, &inbox)?;
    let (records, _) = of_user(&call, user).await?;
    let lacking = |session: &SessionId, held: &[sparkway_store::Subscription]| {
        let has = held.iter().any(|held| held.topic == inbox);
        (!has).then_some(*session)
    };
    let lacking: Vec<SessionId> = records
        .iter()
        .filter_map(|record| lacking(&record.session, &record.subscriptions))
        .collect();
    for session in lacking {
        call.desk
            .subscribe(session, std::slice::from_ref(&inbox))
            .await?;
    }
    send(&call, inbox, message).await
}

fn inbox(name: &str) -> Result<TopicName, Problem> {
    TopicName::parse(name).map_err(|rule| {
        Problem::new(
            Code::Invalid,
            format!("the name makes no inbox, for it {rule}"),
        )
    })
}

fn publication(call: &Call, message: Direct, inbox: &TopicName) -> Result<Publication, Problem> {
    let Direct {
        data,
        data_b64,
        id,
        from,
    } = message;
    if id
        .as_ref()
        .is_some_and(|id| !(1..=limits::FRAME_ID_BYTES).contains(&id.len()))
    {
        return Err(Problem::at("/id", "is not 1 to 64 bytes"));
    }
    let from = from.as_deref().map(UserId::parse).transpose();
    let name = id.or_else(|| call.idempotency_key.clone());
    Ok(Publication {
        topic: inbox.clone(),
        payload: payload(call, &data, data_b64.as_deref(), "")?,
        from: from.map_err(|rule| Problem::at("/from", rule))?,
        exclude: None,
        digest: name.map(|name| digest::of_request(&call.key, inbox, &name)),
        durability: Durability::Stored,
        ephemeral: false,
        trace: call.trace,
    })
}

async fn send(call: &Call, inbox: TopicName, message: Publication) -> Answered {
    let outcome = call.desk.publish(vec![message]).await.pop();
    Reply::ok(&published(inbox.to_string(), outcome)?)
}
