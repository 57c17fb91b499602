//! The feed of one partition: follows topics over one subscriber connection, and begins again when
//! that breaks.

mod restoring;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sparkway_protocol::{MessageId, Partition, TopicName};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::backend::Backend;
use super::codec::{Announcement, announced_hole, announcement, name_in};
use super::departed::Departed;
use super::following::{Following, Work};
use super::former::Heard;
use super::link::backoff;
use super::meter::LinkGauge;
use super::reply::id_of;
use super::subscriber::{Asked, MOVED, PING_INTERVAL, Said, Subscriber};
use crate::feed::{FEED_EVENTS, FeedRequest};
use crate::planted::Defect;
use crate::{Feed, FeedEvent, FeedHandle, Hole, StoreError};

/// Requests that wait.
const REQUESTS: usize = 64;
/// How long a chunk of subscriptions may take to be confirmed.
const CONFIRM_DEADLINE: Duration = Duration::from_secs(3);
/// Every so many PINGs the server is asked for its role.
const ROLE_EVERY: u32 = 5;

/// A channel's slot moved to another master: what is announced in it is not heard here.
const DEAF: StoreError = StoreError::Unavailable("unsubscribed by the server");

/// Opens a feed; its task lives as long as its events are read.
pub(super) fn open(backend: Arc<Backend>, partition: Partition) -> Feed {
    let (handle, requests) = FeedHandle::channel(REQUESTS);
    let (sender, events) = mpsc::channel(FEED_EVENTS);
    if backend.has(partition) {
        let task = Task {
            stem: backend.keys.channel_stem(partition),
            gauge: LinkGauge::of_feed(&backend),
            backend,
            partition,
            requests: Some(requests),
            events: sender,
            following: Following::default(),
            holes: None,
            seen: MessageId::ZERO,
            heard: None,
            unsaid: VecDeque::new(),
            moved: Arc::default(),
        };
        tokio::spawn(task.run());
    } else {
        tracing::error!(partition = partition.get(), "feed of no partition");
    }
    Feed { handle, events }
}

/// What a script answered.
type Answer = Vec<Option<Vec<u8>>>;

/// Why the task leaves its loop.
enum Stop {
    /// Nobody reads any more.
    Unread,
    /// The connection is not to be used any more.
    Lost(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Lost(error)
    }
}

struct Task {
    backend: Arc<Backend>,
    partition: Partition,
    stem: String,
    gauge: Arc<LinkGauge>,
    /// `None` once nobody can ask any more.
    requests: Option<mpsc::Receiver<FeedRequest>>,
    events: mpsc::Sender<FeedEvent>,
    following: Following,
    /// What has been told; `None` before the first connection.
    holes: Option<Vec<Hole>>,
    /// The newest id seen on this feed's connections.
    seen: MessageId,
    /// What the process behind the connection has given out.
    heard: Option<Arc<Heard>>,
    /// Events that the reader had no room for when the connection was left.
    unsaid: VecDeque<FeedEvent>,
    /// Told when the connection is to be left.
    moved: Arc<Notify>,
}

impl Task {
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            let stop = match self.connect(failures).await {
                Ok(subscriber) => match self.serve(subscriber, &mut failures).await {
                    Ok(never) => match never {},
                    Err(stop) => stop,
                },
                Err(stop) => stop,
            };
            match stop {
                Stop::Unread => {
                    let departed = self.backend.departed(self.partition);
                    return departed.into_iter().for_each(Departed::end);
                }
                Stop::Lost(error) => {
                    failures = failures.saturating_add(1);
                    if failures.is_power_of_two() {
                        let partition = self.partition.get();
                        tracing::warn!(partition, %error, failures, "feed has no connection");
                    }
                }
            }
        }
    }

    /// Makes a connection, and takes requests meanwhile.
    async fn connect(&mut self, failures: u32) -> Result<Subscriber, Stop> {
        let (backend, gauge) = (Arc::clone(&self.backend), Arc::clone(&self.gauge));
        let partition = self.partition;
        let connecting = async move {
            if failures > 0 {
                sleep(backoff(failures)).await;
                backend.router.refresh(Duration::from_millis(100)).await;
            }
            Subscriber::connect(&backend, partition, backend.router.is_cluster(), &gauge).await
        };
        tokio::pin!(connecting);
        let events = self.events.clone();
        loop {
            tokio::select! {
                connected = &mut connecting => return connected.map_err(Stop::Lost),
                () = events.closed() => return Err(Stop::Unread),
                request = next_request(&mut self.requests) => {
                    if let Some(request) = request {
                        self.following.note(request);
                    }
                }
            }
        }
    }

    async fn serve(
        &mut self,
        mut subscriber: Subscriber,
        failures: &mut u32,
    ) -> Result<std::convert::Infallible, Stop> {
        self.restore(&mut subscriber).await?;
        *failures = 0;
        for topics in self.following.owed() {
            self.ask_tips(&mut subscriber, &topics);
        }
        subscriber.flush().await?;
        let mut ticks = interval(PING_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pings = 0_u32;
        let events = self.events.clone();
        let mut switches = self.backend.router.switches();
        loop {
            tokio::select! {
                ready = subscriber.ready() => {
                    ready?;
                    self.listen(&mut subscriber).await?;
                }
                request = next_request(&mut self.requests) => {
                    if let Some(request) = request {
                        self.carry_out(&mut subscriber, request).await?;
                    }
                }
                _ = ticks.tick() => {
                    pings = pings.wrapping_add(1);
                    subscriber.ping(pings.is_multiple_of(ROLE_EVERY)).await?;
                }
                // Commands went to another process for longer than this connection did.
                Ok(()) = switches.changed() => self.ask_again(&mut subscriber).await?,
                () = events.closed() => return Err(Stop::Unread),
            }
        }
    }

    async fn carry_out(
        &mut self,
        subscriber: &mut Subscriber,
        request: FeedRequest,
    ) -> Result<(), Stop> {
        if request == FeedRequest::Renew {
            return Err(StoreError::Unavailable("its reader hears nothing").into());
        }
        for work in self.following.note(request) {
            match work {
                Work::Subscribe(topics) => {
                    if Defect::NoBarrier.is_planted() {
                        self.ask_tips(subscriber, &topics);
                        subscriber.flush().await?;
                        sleep(Duration::from_millis(rand::random_range(0..60))).await;
                        subscriber.subscribe(&self.channels(&topics));
                        continue;
                    }
                    subscriber.subscribe(&self.channels(&topics));
                    self.ask_tips(subscriber, &topics);
                }
                Work::Leave(topics) => subscriber.unsubscribe(&self.channels(&topics)),
            }
        }
        subscriber.flush().await?;
        Ok(())
    }

    fn channels(&self, topics: &[TopicName]) -> Vec<String> {
        let channel = |topic| self.backend.keys.channel(self.partition, topic);
        topics.iter().map(channel).collect()
    }

    fn ask_tips(&self, subscriber: &mut Subscriber, topics: &[TopicName]) {
        let tip = |topic| self.backend.keys.tip(self.partition, topic);
        let tips: Vec<_> = topics.iter().map(tip).collect();
        subscriber.ask_tips(&tips);
    }

    /// Hands on everything that has been read.
    async fn listen(&mut self, subscriber: &mut Subscriber) -> Result<(), Stop> {
        let mut has_spoken = false;
        loop {
            let (stem, following) = (self.stem.as_str(), &self.following);
            let said = subscriber.take(|channel, payload| {
                let name = name_in(channel, stem)?;
                if name.is_empty() {
                    return announced_hole(payload).map(Announcement::Hole);
                }
                let topic = following.live(name)?;
                let announced = announcement(topic, payload);
                if announced.is_none() {
                    tracing::warn!(%topic, "announcement is not understood");
                }
                announced
            })?;
            match said {
                None => break,
                Some(Said::Announced(None) | Said::Confirmed) => {}
                Some(Said::Announced(Some(Announcement::Kept(entry)))) => {
                    self.see(entry.id);
                    self.tell(FeedEvent::Entry(entry)).await?;
                }
                Some(Said::Announced(Some(Announcement::Ephemeral(message)))) => {
                    self.tell(FeedEvent::Ephemeral(message)).await?;
                }
                Some(Said::Announced(Some(Announcement::Presence(change)))) => {
                    self.tell(FeedEvent::Presence(change)).await?;
                }
                Some(Said::Announced(Some(Announcement::Hole(hole)))) => {
                    self.tell_hole(hole).await?;
                }
                Some(Said::Left(channel)) => {
                    let name = name_in(&channel, &self.stem).unwrap_or_default();
                    if !self.following.left(name) {
                        return Err(DEAF.into());
                    }
                }
                Some(Said::Refused(error)) => return Err(refused(&error).into()),
                Some(Said::Answered(answer)) => self.answered(subscriber, &answer).await?,
            }
            has_spoken = true;
        }
        if has_spoken {
            subscriber.heard();
        }
        Ok(())
    }

    async fn answered(
        &mut self,
        subscriber: &mut Subscriber,
        answer: &[Option<Vec<u8>>],
    ) -> Result<(), Stop> {
        match subscriber.answered()? {
            Asked::Ping => Ok(()),
            Asked::Generation => self.tell_holes(answer).await,
            Asked::Role => match answer.first() {
                Some(Some(role)) if role == b"master" => Ok(()),
                _ => Err(StoreError::Unavailable("server is no master any more").into()),
            },
            Asked::Tips { .. } => {
                for (topic, tip) in self.following.answered().into_iter().zip(answer) {
                    let tip = tip.as_deref().map_or(Some(MessageId::ZERO), id_of);
                    let tip = tip.ok_or(StoreError::Corrupt("tip"))?;
                    self.see(tip);
                    if let Some(topic) = topic {
                        // The tip is read in line with the pushes: nothing lies between them.
                        let since = Vec::new();
                        self.unsaid.push_back(FeedEvent::Live { topic, tip, since });
                    }
                }
                self.say().await
            }
        }
    }

    fn see(&mut self, id: MessageId) {
        self.seen = self.seen.max(id);
        self.backend.note_id(self.partition, id);
        if let Some(heard) = &self.heard {
            heard.note(id);
        }
    }

    /// Hands an event on; waits for the reader, and reads nothing meanwhile.
    async fn tell(&mut self, event: FeedEvent) -> Result<(), Stop> {
        self.unsaid.push_back(event);
        self.say().await
    }

    /// Hands on what is still to be said. The reader may be waiting for answers of another server
    /// than this connection's: leaving it must be possible meanwhile.
    async fn say(&mut self) -> Result<(), Stop> {
        while !self.unsaid.is_empty() {
            let room = tokio::select! {
                biased;
                room = self.events.reserve() => room.map_err(|_| Stop::Unread)?,
                () = self.moved.notified() => return Err(MOVED.into()),
            };
            if let Some(event) = self.unsaid.pop_front() {
                room.send(event);
            }
        }
        Ok(())
    }
}

fn refused(error: &str) -> StoreError {
    tracing::warn!(error, "feed was refused");
    StoreError::Unavailable("feed was refused")
}

/// The next request; never again once nobody can ask.
async fn next_request(requests: &mut Option<mpsc::Receiver<FeedRequest>>) -> Option<FeedRequest> {
    let Some(open) = requests else {
        return std::future::pending().await;
    };
    let request = open.recv().await;
    if request.is_none() {
        *requests = None;
    }
    request
}
