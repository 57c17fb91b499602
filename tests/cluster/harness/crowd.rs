//! Many clients that follow topics while others publish, and everything they saw.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use sparkway_client::{
    Client, Cut, Encoding, FrameType, Incoming, Observed, Observer, Options, RawMessage,
    ServerFrame, Step as LineStep, Subscribe,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::cluster::Cluster;
use super::history::{Acknowledged, Delivery, History, Key, Session, Step};
use super::peer::{Peer, dial};
use super::until_true;

/// How large a crowd is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) sessions: usize,
    pub(crate) topics: usize,
    /// Topics that each session follows.
    pub(crate) follows: usize,
    pub(crate) publishers: u32,
    /// Pause of a publisher between two messages.
    pub(crate) pause: Duration,
}

impl Size {
    /// What the acceptance asks for: 200 sessions spread over both nodes, 50 topics, publishers
    /// through both.
    pub(crate) const FULL: Self = Self {
        sessions: 200,
        topics: 50,
        follows: 5,
        publishers: 8,
        pause: Duration::from_millis(25),
    };
}

/// One session that watches.
pub(crate) struct Member {
    pub(crate) client: Client,
    seen: Arc<Seen>,
    topics: BTreeSet<String>,
}

/// What came on the line, and how many messages of it.
struct Seen {
    steps: Mutex<Vec<Step>>,
    resumed_at: Mutex<Vec<Instant>>,
    messages: watch::Sender<usize>,
}

/// Sessions, and publishers at work.
pub(crate) struct Crowd {
    pub(crate) members: Vec<Member>,
    topics: Vec<String>,
    stop: Arc<AtomicBool>,
    publishers: Vec<JoinHandle<Vec<Acknowledged>>>,
}

impl Crowd {
    /// All sessions follow their topics; nobody publishes yet.
    pub(crate) async fn gather(cluster: &Cluster, size: Size) -> Self {
        let topics: Vec<String> = (0..size.topics).map(|at| format!("room:{at}")).collect();
        let mut joining = Vec::new();
        for at in 0..size.sessions {
            let followed = (0..size.follows)
                .map(|turn| topics[(at * size.follows + turn) % topics.len()].clone())
                .collect();
            let encoding = if at % 2 == 0 {
                Encoding::Json
            } else {
                Encoding::MsgPack
            };
            joining.push(Member::join(cluster.urls_for(at / 2), followed, encoding));
        }
        let members = futures_util::future::join_all(joining).await;
        Self {
            members,
            topics,
            stop: Arc::default(),
            publishers: Vec::new(),
        }
    }

    /// Publishers go to work, through all nodes.
    pub(crate) async fn publish(&mut self, cluster: &Cluster, size: Size) {
        for publisher in 0..size.publishers {
            let urls = cluster.urls_for(publisher as usize);
            let client = Client::connect(urls, options(Encoding::Json))
                .await
                .expect("a session");
            let work = Publisher {
                client,
                number: publisher,
                topics: self.topics.clone(),
                pause: size.pause,
                stop: Arc::clone(&self.stop),
            };
            self.publishers.push(tokio::spawn(work.run()));
        }
    }

    /// Waits until every session has seen so many messages.
    pub(crate) async fn all_saw(&self, count: usize) {
        for member in &self.members {
            member.saw(count).await;
        }
    }

    /// The publishers finish, and every session catches up. What happened, for the judge.
    pub(crate) async fn finish(self, cluster_url: &str) -> History {
        self.stop.store(true, Ordering::Relaxed);
        let mut acknowledged = Vec::new();
        for publisher in self.publishers {
            acknowledged.extend(publisher.await.expect("every publish succeeds"));
        }
        let mut reader = Peer::connect(cluster_url, Encoding::Json).await;
        let mut logs = BTreeMap::new();
        for topic in &self.topics {
            logs.insert(topic.clone(), read_log(&mut reader, topic).await);
        }
        let mut sessions = Vec::new();
        for member in self.members {
            let expected: usize = member.topics.iter().map(|topic| logs[topic].len()).sum();
            let caught_up = tokio::time::timeout(CATCH_UP, member.saw(expected)).await;
            if caught_up.is_err() {
                eprintln!("{:?} after {CATCH_UP:?}", *member.client.status().borrow());
            }
            sessions.push(member.leave().await);
        }
        History {
            sessions,
            acknowledged,
            logs,
        }
    }
}

/// Longest wait of a session for what it missed.
const CATCH_UP: Duration = Duration::from_secs(20);

impl Member {
    /// A session that follows these topics.
    pub(crate) async fn join(
        urls: Vec<String>,
        topics: BTreeSet<String>,
        encoding: Encoding,
    ) -> Self {
        let seen = Arc::new(Seen {
            steps: Mutex::default(),
            resumed_at: Mutex::default(),
            messages: watch::Sender::new(0),
        });
        let watching = Arc::clone(&seen);
        let options = Options {
            observer: Some(Observer::new(move |observed| watching.note(observed))),
            events_max: 1 << 20,
            ..options(encoding)
        };
        let client = Client::connect(urls, options).await.expect("a session");
        let following: Vec<&String> = topics.iter().collect();
        let mut subscription = client
            .subscribe(following, Subscribe::default())
            .await
            .expect("subscribed");
        assert!(subscription.rejected().is_empty());
        tokio::spawn(async move { while subscription.next().await.is_some() {} });
        Self {
            client,
            seen,
            topics,
        }
    }

    /// Waits until so many messages came on the line.
    pub(crate) async fn saw(&self, count: usize) {
        let mut messages = self.seen.messages.subscribe();
        messages
            .wait_for(|seen| *seen >= count)
            .await
            .expect("the member is there");
    }

    /// How many messages came so far.
    pub(crate) fn count(&self) -> usize {
        *self.seen.messages.borrow()
    }

    /// Breaks the connection once so many more messages came, or nothing more comes for a while.
    pub(crate) async fn cut_after(&self, more: usize, cut: Cut) {
        self.saw(self.count() + more).await;
        self.client.cut(cut, Duration::ZERO).await;
    }

    /// What it saw so far.
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.seen
            .steps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// When it went on on a new connection, each time.
    pub(crate) fn resumed_at(&self) -> Vec<Instant> {
        let resumed_at = self.seen.resumed_at.lock();
        resumed_at.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it went on so many times on a new connection.
    pub(crate) async fn resumed(&self, times: usize) {
        let resumes = || {
            let session = Session {
                topics: BTreeSet::new(),
                steps: self.steps(),
            };
            session.resumes() >= times
        };
        until_true("the session is resumed", CATCH_UP, resumes).await;
    }

    /// Ends the session; what it saw.
    pub(crate) async fn leave(self) -> Session {
        let counts = self.client.counts();
        assert_eq!(
            counts.sessions_lost, 0,
            "the session was begun anew: {counts:?}"
        );
        assert_eq!(counts.pauses, 0, "the test itself was too slow: {counts:?}");
        let steps = self.steps();
        self.client.close().await;
        Session {
            topics: self.topics,
            steps,
        }
    }
}

impl Seen {
    fn note(&self, observed: &Observed<'_>) {
        let step = match &observed.step {
            LineStep::Received(Incoming::Frame(frame)) => received(frame),
            LineStep::Sent(raw) => sent(raw),
            LineStep::Closed(closed) => Some(Step::Closed(closed.code)),
            LineStep::Received(_) | LineStep::Opened { .. } | LineStep::Cut => None,
        };
        let Some(step) = step else { return };
        if matches!(step, Step::Resumed { .. }) {
            let resumed_at = self.resumed_at.lock();
            let mut resumed_at = resumed_at.unwrap_or_else(PoisonError::into_inner);
            resumed_at.push(Instant::now());
        }
        let is_message = matches!(step, Step::Message(_));
        self.steps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(step);
        if is_message {
            self.messages.send_modify(|count| *count += 1);
        }
    }
}

fn received(frame: &ServerFrame) -> Option<Step> {
    let length = |name: &str| frame.field(name).as_array().map_or(0, Vec::len);
    Some(match &frame.kind {
        FrameType::ConnectAck => Step::Began,
        FrameType::ResumeAck => Step::Resumed {
            gaps: length("gaps"),
            dropped: length("dropped_topics"),
        },
        FrameType::ResumeFailed => Step::ResumeFailed,
        FrameType::ReplayDone => Step::ReplayDone,
        FrameType::Gap => Step::Gap,
        FrameType::Drain => Step::Drain {
            reconnect_after: frame.field("reconnect_after").as_u64()?,
        },
        FrameType::Message => Step::Message(Delivery {
            topic: frame.topic.as_deref()?.to_owned(),
            id: frame.id.as_deref()?.parse().ok()?,
            key: key_of(&frame.data()),
        }),
        _ => return None,
    })
}

/// The only frame of the client that matters here is a resume.
fn sent(raw: &RawMessage) -> Option<Step> {
    let frame: Value = match raw {
        RawMessage::Text(text) if text.contains("ws:resume") => serde_json::from_str(text).ok()?,
        RawMessage::Binary(bytes) => rmp_serde::from_slice(bytes).ok()?,
        _ => return None,
    };
    if frame["type"] != "ws:resume" {
        return None;
    }
    let named = match &frame["data"]["last_message_id"] {
        Value::Array(several) => several.clone(),
        one => vec![one.clone()],
    };
    let last = named
        .iter()
        .filter_map(|id| id.as_str()?.parse().ok())
        .collect();
    Some(Step::Resuming { last })
}

pub(crate) fn key_of(data: &Value) -> Key {
    let number = |name: &str| u32::try_from(data[name].as_u64().expect("a number")).unwrap();
    (number("publisher"), number("number"))
}

/// A topic's whole log.
pub(crate) async fn read_log(reader: &mut Peer, topic: &str) -> Vec<(u64, Key)> {
    let log = reader.log(topic).await;
    log.iter()
        .map(|(id, data)| (id.parse().expect("a number"), key_of(data)))
        .collect()
}

fn options(encoding: Encoding) -> Options {
    Options {
        dial: dial(encoding),
        spread_nodes: false,
        ..Options::default()
    }
}

/// Publishes in all topics in turn, one after the other.
struct Publisher {
    client: Client,
    number: u32,
    topics: Vec<String>,
    pause: Duration,
    stop: Arc<AtomicBool>,
}

impl Publisher {
    async fn run(self) -> Vec<Acknowledged> {
        let mut acknowledged = Vec::new();
        let mut pace = tokio::time::interval(self.pause.max(Duration::from_micros(1)));
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for number in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            if !self.pause.is_zero() {
                pace.tick().await;
            }
            let turn = self.number as usize * 7 + number as usize;
            let topic = &self.topics[turn % self.topics.len()];
            let payload = json!({"publisher": self.number, "number": number});
            let published = self
                .client
                .publish(topic, &payload)
                .await
                .expect("it is stored");
            let id = published.id.expect("an id").get();
            acknowledged.push(Acknowledged {
                topic: topic.clone(),
                key: (self.number, number),
                id,
            });
        }
        self.client.close().await;
        acknowledged
    }
}
