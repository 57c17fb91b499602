//! The live tail: topics as they happen, as server-sent events.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, header};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sparkway_dialect::json_text;
use sparkway_gateway::desk::{Desk, Next, Tail, Told};
use sparkway_gateway::site::Streamed;
use sparkway_protocol::{Code, Encoding, Payload, TopicName};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use crate::call::Call;
use crate::problem::Problem;
use crate::topics::message;

/// Most topics of one tail.
const TOPICS_MAX: usize = 50;
/// Pieces that wait to be written. What comes meanwhile waits in the tail, which has a bound, too.
const PIECES: usize = 64;
/// How long a reader may take for the next piece.
const PATIENCE: Duration = Duration::from_secs(10);
/// Silence after which a comment is sent, so that nobody in between takes the stream for dead.
const QUIET: Duration = Duration::from_secs(15);

/// `GET /v1/events`: begins the stream.
pub(crate) fn stream(call: &Call, place: OwnedSemaphorePermit) -> Result<Streamed, Problem> {
    let topics = topics(call)?;
    let (pieces, receiver) = mpsc::channel(PIECES);
    let given_up = CancellationToken::new();
    let writer = Writer {
        pieces,
        given_up: given_up.clone(),
    };
    let desk = call.desk.clone();
    call.desk.spawn(async move {
        let _held = place;
        // An error means that nobody reads any more.
        drop(writer.run(desk, topics).await);
    });
    let mut head = http::Response::new(());
    let headers = head.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream");
    headers.insert(header::CONTENT_TYPE, kind);
    Ok(Streamed {
        head,
        pieces: receiver,
        given_up,
    })
}

fn topics(call: &Call) -> Result<Vec<TopicName>, Problem> {
    let mut topics = Vec::new();
    for text in call.query_all("topic") {
        let topic = TopicName::parse(text);
        let topic = topic.map_err(|rule| Problem::invalid(format!("topic: {rule}")))?;
        if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    if (1..=TOPICS_MAX).contains(&topics.len()) {
        return Ok(topics);
    }
    let detail = format!("topic: 1 to {TOPICS_MAX} are needed");
    Err(Problem::invalid(detail))
}

/// Too many tails at once.
pub(crate) fn crowded() -> Problem {
    Problem::new(Code::RateLimited, "too many event streams on this node")
}

struct Writer {
    pieces: mpsc::Sender<Bytes>,
    given_up: CancellationToken,
}

/// Nobody reads any more.
struct Gone;

impl Writer {
    async fn run(&self, desk: Desk, topics: Vec<TopicName>) -> Result<(), Gone> {
        let names: Vec<&str> = topics.iter().map(TopicName::as_str).collect();
        let hello = json!({"node": desk.node().to_string(), "topics": names});
        let tail = match desk.tail(topics.clone()).await {
            Ok(tail) => tail,
            Err(error) => {
                let problem = Problem::from(error).body("");
                return self.say("unavailable", None, &problem.to_string()).await;
            }
        };
        self.say("hello", None, &hello.to_string()).await?;
        let ended = self.follow(tail).await;
        // The reader has had its time; what is queued may still go out.
        self.given_up.cancel();
        ended
    }

    async fn follow(&self, mut tail: Tail) -> Result<(), Gone> {
        loop {
            let next = tokio::time::timeout(QUIET, tail.next());
            // Order does not matter: a reader that left wants nothing.
            let next = tokio::select! {
                next = next => next,
                () = self.pieces.closed() => return Err(Gone),
            };
            match next {
                Err(_) => self.write(Bytes::from_static(b": quiet\n\n")).await?,
                Ok(Next::Told(told)) => self.tell(&told).await?,
                Ok(Next::Dropped) => {
                    let notice = json!({"reason": "slow"});
                    return self.say("dropped", None, &notice.to_string()).await;
                }
                Ok(Next::Leaving) => {
                    let notice = json!({"reason": "draining"});
                    return self.say("leaving", None, &notice.to_string()).await;
                }
            }
        }
    }

    async fn tell(&self, told: &Told) -> Result<(), Gone> {
        match told {
            Told::Message(entry) => {
                let Ok(message) = message(entry) else {
                    return Ok(());
                };
                let id = message.id.clone();
                let Ok(Value::Object(mut fields)) = serde_json::to_value(&message) else {
                    return Ok(());
                };
                fields.insert("topic".to_owned(), entry.topic.as_str().into());
                let text = Value::Object(fields).to_string();
                self.say("message", Some(&id), &text).await
            }
            Told::Ephemeral(message) => {
                let fields = json!({
                    "topic": message.topic.as_str(),
                    "from": message.from.as_ref().map(ToString::to_string),
                    "data": raw(&message.payload),
                    "encoding": (message.payload.encoding == Encoding::Binary).then_some("base64"),
                });
                self.say("ephemeral", None, &fields.to_string()).await
            }
        }
    }

    /// One event. `data` is JSON in one line.
    async fn say(&self, event: &str, id: Option<&str>, data: &str) -> Result<(), Gone> {
        let id = id.map_or(String::new(), |id| format!("id: {id}\n"));
        // Line breaks stand only between tokens of JSON, never inside a text.
        let data = data.replace(['\r', '\n'], " ");
        self.write(format!("event: {event}\n{id}data: {data}\n\n").into())
            .await
    }

    async fn write(&self, piece: Bytes) -> Result<(), Gone> {
        let sent = tokio::time::timeout(PATIENCE, self.pieces.send(piece)).await;
        if let Ok(Ok(())) = sent {
            return Ok(());
        }
        self.given_up.cancel();
        Err(Gone)
    }
}

fn raw(payload: &Payload) -> Option<Box<RawValue>> {
    RawValue::from_string(json_text(payload).into_owned()).ok()
}
