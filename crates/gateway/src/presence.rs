//! Who is in which topic, as this node writes it: moves of its sessions on their way into the
//! store, batched, repeated until they are written.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sparkway_metrics::PresenceWord;
use sparkway_protocol::{Partition, PresenceChange, SessionId, TopicName, UserId};
use sparkway_store::StoreError;
use sparkway_store::presence::{MOVES, Move, Step};
use tokio::sync::{Notify, oneshot};

use crate::attached::Attached;
use crate::clock::millis;
use crate::shared::Shared;

/// First and longest pause before a batch is tried again.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long a client's request waits for the moves of its node to be written.
const FLUSH: Duration = Duration::from_secs(1);

type Key = (TopicName, SessionId);

/// The moves of one partition that are not written yet. Only the newest one of each session in
/// each topic counts, so that there are never more than this node has subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    order: VecDeque<Key>,
    newest: HashMap<Key, Move>,
    under_way: usize,
    /// Told when as many keys as are ahead of them have been written.
    waiting: Vec<(usize, oneshot::Sender<()>)>,
}

impl Queue {
    fn push(&mut self, step: Move) {
        let key = (step.topic.clone(), step.session);
        match self.newest.get_mut(&key) {
            Some(newest) if newest.epoch > step.epoch => {}
            Some(newest) => *newest = step,
            None => {
                self.order.push_back(key.clone());
                self.newest.insert(key, step);
            }
        }
    }

    fn take(&mut self) -> Vec<Move> {
        let count = self.order.len().min(MOVES);
        self.under_way = count;
        let keys = self.order.drain(..count);
        keys.filter_map(|key| self.newest.remove(&key)).collect()
    }

    /// What could not be written goes back to the front, unless something newer has come.
    fn give_back(&mut self, batch: Vec<Move>) {
        let mut overtaken = 0;
        for step in batch.into_iter().rev() {
            let key = (step.topic.clone(), step.session);
            if self.newest.contains_key(&key) {
                overtaken += 1;
            } else {
                self.order.push_front(key.clone());
                self.newest.insert(key, step);
            }
        }
        self.finish(overtaken);
    }

    fn finish(&mut self, count: usize) {
        self.under_way = 0;
        for (ahead, _) in &mut self.waiting {
            *ahead = ahead.saturating_sub(count);
        }
        let (told, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(ahead, _)| *ahead == 0);
        self.waiting = waiting;
        for (_, waiter) in Vec::from_iter::<Vec<(usize, oneshot::Sender<()>)>>(told) {
            // Whoever waited may have given up.
            let _gone = waiter.send(());
        }
    }
}

impl Roster {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn submit(&self, step: Move) {
        self.queue().push(step);
        self.filled.notify_one();
    }

    /// Waits until what was submitted before is written.
    async fn written(&self) {
        let told = {
            let mut queue = self.queue();
            let ahead = queue.order.len() + queue.under_way;
            if ahead == 0 {
                return;
            }
            let (waiter, told) = oneshot::channel();
            queue.waiting.push((ahead, waiter));
            told
        };
        drop(told.await);
    }

    /// Writes what is submitted, for as long as the node lives.
    ///
    /// # Cancel safety
    /// Dropped, the batch under way may or may not be written; the node's lease ends what it left.
    pub(crate) async fn run(&self, shared: &Shared, partition: Partition) {
        let mut pause = PAUSE;
        loop {
            let batch = self.queue().take();
            if batch.is_empty() {
                self.filled.notified().await;
                continue;
            }
            let count = batch.len();
            match shared.store.move_members(partition, batch.clone()).await {
                Ok(changes) => {
                    self.queue().finish(count);
                    for change in &changes {
                        shared.count_presence(change, PresenceWord::Leave);
                    }
                    pause = PAUSE;
                }
                Err(StoreError::Unavailable(reason)) => {
                    tracing::debug!(partition = partition.get(), reason, "presence is repeated");
                    self.queue().give_back(batch);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Err(error) => {
                    tracing::warn!(partition = partition.get(), %error, "presence not written");
                    self.queue().finish(count);
                }
            }
        }
    }
}

impl Shared {
    /// Whether it is kept who is in a topic. Inboxes have one reader each.
    pub(crate) fn has_presence(&self, topic: &TopicName) -> bool {
        !topic.is_reserved() && self.settings.topic(topic).presence
    }

    /// As whom a session is present: nobody's session under a name that says nothing and stays
    /// the same on every node.
    pub(crate) fn presence_name(
        &self,
        user: Option<&UserId>,
        session: SessionId,
    ) -> Option<UserId> {
        if let Some(user) = user {
            return Some(user.clone());
        }
        let name = self.tokens.name(&[b"presence", session.as_bytes()]);
        let digits = name.iter().take(6).map(|byte| format!("{byte:02x}"));
        let text: String = std::iter::once("anon-".to_owned()).chain(digits).collect();
        UserId::parse(&text).ok()
    }

    /// Waits a moment for this node's moves in the partition of a topic to be written.
    pub(crate) async fn presence_written(&self, topic: &TopicName) {
        if let Some(lot) = self.lot_of(topic) {
            // Late is only late: the moves are written when the store answers again.
            drop(tokio::time::timeout(FLUSH, lot.roster.written()).await);
        }
    }

    /// Waits until all moves of this node are written.
    pub(crate) async fn all_presence_written(&self) {
        for lot in &self.lots {
            lot.roster.written().await;
        }
    }

    /// Counts a change that this node made in the store; `left` says how users left.
    pub(crate) fn count_presence(&self, change: &PresenceChange, left: PresenceWord) {
        let word = if change.present {
            PresenceWord::Join
        } else {
            left
        };
        self.metrics.presence.changes.at(word).inc();
    }

    /// Takes out members whose time is over, for all partitions.
    pub(crate) async fn sweep_presence(&self, partition: Partition, limit: usize) {
        let grace_ms = millis(self.settings.presence.grace);
        loop {
            match self.store.sweep_members(partition, grace_ms, limit).await {
                Ok(swept) => {
                    for change in &swept.changes {
                        self.count_presence(change, PresenceWord::Timeout);
                    }
                    if !swept.is_full {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "presence not swept");
                    return;
                }
            }
        }
    }
}

impl Attached {
    /// The session is in a topic: said in the same step in which it takes its place.
    pub(crate) fn enter_topic(&self, topic: &TopicName) {
        let node = self.worker.shared.id.clone();
        self.move_in(topic, Step::Join(node));
    }

    pub(crate) fn move_in(&self, topic: &TopicName, step: Step) {
        let shared = &self.worker.shared;
        if !shared.has_presence(topic) {
            return;
        }
        let name = || shared.presence_name(self.user.as_ref(), self.session);
        let user = self.present_as.get_or_init(name);
        let (Some(lot), Some(user)) = (shared.lot_of(topic), user) else {
            return;
        };
        lot.roster.submit(Move {
            topic: topic.clone(),
            session: self.session,
            epoch: self.epoch(),
            user: user.clone(),
            step,
        });
    }

    /// The session lost its connection: it leaves its topics after the grace.
    pub(crate) fn go_away(&self) {
        self.leave_lobby();
        let grace_ms = millis(self.worker.shared.settings.presence.grace);
        for topic in self.take_parted() {
            self.move_in(&topic, Step::Away { grace_ms });
        }
    }

    /// The session is over: it leaves its topics.
    pub(crate) fn go_for_good(&self) {
        self.leave_lobby();
        for topic in self.take_parted() {
            self.move_in(&topic, Step::Leave);
        }
    }

    /// It is in its topics still, after the store forgot it.
    pub(crate) fn enter_again(&self) {
        let topics: Vec<TopicName> = self.subs().iter().map(|sub| sub.topic.clone()).collect();
        for topic in topics {
            self.enter_topic(&topic);
        }
    }
}
