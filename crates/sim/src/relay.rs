//! A feed's subscriber connection: in order, late, cut, and then subscribed again as
//! `sparkway-store` does it with Redis.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use sparkway_protocol::{MessageId, Partition, TopicName};
use sparkway_store::feed::{FEED_EVENTS, FeedRequest};
use sparkway_store::memory::MemoryStore;
use sparkway_store::planted::Defect;
use sparkway_store::{Feed, FeedEvent, FeedHandle, Hole, Store as _};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::signal::Signal;
use crate::weather::Weather;

/// Opens the feed of a partition for a node.
pub(crate) fn open(
    store: &Arc<MemoryStore>,
    weather: &Arc<Weather>,
    (node, partition): (usize, Partition),
) -> Feed {
    let inner = store.feed(partition);
    let (handle, requests) = FeedHandle::channel(64);
    let (sender, events) = mpsc::channel(FEED_EVENTS);
    let relay = Relay {
        store: Arc::clone(store),
        weather: Arc::clone(weather),
        node,
        partition,
        requests: Some(requests),
        heard: inner.events,
        server: inner.handle,
        reader: sender,
        cuts_seen: weather.cuts(node).value(),
        cuts: weather.cuts(node),
        lost: Lost::default(),
        tips: BTreeMap::new(),
    };
    tokio::spawn(relay.run());
    Feed { handle, events }
}

struct Relay {
    store: Arc<MemoryStore>,
    weather: Arc<Weather>,
    node: usize,
    partition: Partition,
    /// `None` once nobody can ask any more.
    requests: Option<mpsc::Receiver<FeedRequest>>,
    heard: mpsc::Receiver<FeedEvent>,
    server: FeedHandle,
    reader: mpsc::Sender<FeedEvent>,
    cuts: Arc<Signal>,
    /// How many of them it has dealt with.
    cuts_seen: u64,
    lost: Lost,
    /// Tips that were read too early: a planted defect.
    tips: BTreeMap<TopicName, MessageId>,
}

/// What was on its way when the connection broke and has to be told all the same.
#[derive(Default)]
struct Lost {
    owed: Vec<TopicName>,
    holes: Vec<Hole>,
}

impl Lost {
    fn note(&mut self, event: FeedEvent) {
        match event {
            FeedEvent::Live { topic, .. } => self.owed.push(topic),
            FeedEvent::Rewound(hole) => self.holes.push(hole),
            FeedEvent::Entry(_)
            | FeedEvent::Ephemeral(_)
            | FeedEvent::Presence(_)
            | FeedEvent::Restored { .. } => {}
        }
    }
}

/// Nobody reads any more.
struct Unread;

impl Relay {
    async fn run(mut self) {
        loop {
            // Order: the end, then the connection's end, then requests, then what is announced.
            let turn = tokio::select! {
                biased;
                () = self.reader.closed() => return,
                () = self.cuts.differs(self.cuts_seen) => self.begin_again().await,
                request = next(&mut self.requests) => self.ask(request).await,
                event = self.heard.recv() => match event {
                    Some(event) => self.hand_on(event).await,
                    None => return,
                },
            };
            if turn.is_err() {
                return;
            }
        }
    }

    async fn ask(&mut self, request: Option<FeedRequest>) -> Result<(), Unread> {
        let Some(request) = request else {
            return Ok(());
        };
        if request == FeedRequest::Renew {
            return self.begin_again().await;
        }
        if Defect::NoBarrier.is_planted()
            && let FeedRequest::Follow(topics) = &request
        {
            for topic in topics {
                let tip = self.store.tip(topic.clone()).now_or_never();
                if let Some(Ok(tip)) = tip {
                    self.tips.insert(topic.clone(), tip);
                }
            }
        }
        if let Some(long) = self.weather.feed_delay() {
            sleep(long).await;
        }
        self.server.request(request).await;
        Ok(())
    }

    async fn hand_on(&mut self, mut event: FeedEvent) -> Result<(), Unread> {
        if let Some(long) = self.weather.feed_delay() {
            tokio::select! {
                biased;
                () = self.cuts.differs(self.cuts_seen) => {
                    self.lost.note(event);
                    return self.begin_again().await;
                }
                () = sleep(long) => {}
            }
        }
        match &mut event {
            FeedEvent::Entry(_) if self.weather.takes_push(self.node) => return Ok(()),
            FeedEvent::Live { topic, tip, .. } => {
                if let Some(early) = self.tips.remove(topic) {
                    *tip = early;
                }
            }
            _ => {}
        }
        self.tell(event).await
    }

    /// The connection broke: another one, on which everything is subscribed again.
    async fn begin_again(&mut self) -> Result<(), Unread> {
        loop {
            let deaf_ms = self.weather.deaf_ms(self.node);
            if deaf_ms == 0 {
                break;
            }
            sleep(Duration::from_millis(deaf_ms)).await;
        }
        // From here to the clock nothing is awaited: what was announced before is lost, what is
        // announced later is heard.
        self.cuts_seen = self.cuts.value();
        while let Ok(event) = self.heard.try_recv() {
            self.lost.note(event);
        }
        let clock = self.store.clock(self.partition).now_or_never();
        let Some(Ok(clock)) = clock else {
            return Err(Unread);
        };
        let Lost { owed, holes } = std::mem::take(&mut self.lost);
        for hole in holes {
            self.tell(FeedEvent::Rewound(hole)).await?;
        }
        self.tell(FeedEvent::Restored { clock }).await?;
        if !owed.is_empty() {
            self.server.request(FeedRequest::Follow(owed)).await;
        }
        Ok(())
    }

    async fn tell(&self, event: FeedEvent) -> Result<(), Unread> {
        self.reader.send(event).await.map_err(|_| Unread)
    }
}

/// The next request; never again once nobody can ask.
async fn next(requests: &mut Option<mpsc::Receiver<FeedRequest>>) -> Option<FeedRequest> {
    let Some(open) = requests else {
        return std::future::pending().await;
    };
    let request = open.recv().await;
    if request.is_none() {
        *requests = None;
    }
    request
}
