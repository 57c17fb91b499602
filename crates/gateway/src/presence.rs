//! Who is in which topic, as this node writes it: moves of its sessions on their way into the
//! store, batched, repeated until they are written.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sparkway_metrics::PresenceWord;
use sparkway_protocol::{Partition, PresenceChange, SessionId, TopicName, UserId};
use sparkway_store::presence::{MOVES, Move, Step};
use sparkway_store::{Presence, StoreError};
use tokio::sync::{Notify, oneshot};

use crate::attached::Attached;
use crate::clock::millis;
use crate::shared::Shared;

/// First and longest pause before a batch is tried again.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long a client's request waits for the moves of its node to be written.
const FLUSH: Duration = Duration::from_secs(1);
/// Moves of one partition that wait for the next renewal of the lease because the store refused
/// them, at the most.
const REFUSED: usize = 10_000;

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
    /// What the store refused, to be tried again later: it must not hold up what comes behind it.
    refused: HashMap<Key, Move>,
    /// Told when as many keys as are ahead of them have been written.
    waiting: Vec<(usize, oneshot::Sender<()>)>,
}

impl Queue {
    fn push(&mut self, step: Move) {
        let key = (step.topic.clone(), step.session);
        if let Some(refused) = self.refused.get(&key)
            && refused.epoch > step.epoch
        {
            // A late word of a connection that has lost the session.
            return;
        }
        self.refused.remove(&key);
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
        self.under_way = 0;
        for step in batch.into_iter().rev() {
            let key = (step.topic.clone(), step.session);
            match self.newest.get_mut(&key) {
                None => {
                    self.order.push_front(key.clone());
                    self.newest.insert(key, step);
                }
                Some(newest) => {
                    if newest.epoch < step.epoch {
                        *newest = step;
                    }
                    overtaken += 1;
                }
            }
        }
        self.finish(overtaken);
    }

    /// The store wants nothing of this one now. Whether there is room to keep it.
    fn put_aside(&mut self, step: Move) -> bool {
        let key = (step.topic.clone(), step.session);
        let newest = self.newest.get(&key);
        let is_overtaken = newest.is_some_and(|newest| newest.epoch >= step.epoch);
        let has_room = self.refused.len() < REFUSED;
        if has_room && !is_overtaken {
            self.refused.insert(key, step);
        }
        self.finish(1);
        has_room || is_overtaken
    }

    /// What was refused is tried again, unless something newer has come.
    fn try_refused(&mut self) -> bool {
        let refused = std::mem::take(&mut self.refused);
        let is_any = !refused.is_empty();
        for (_, step) in refused {
            self.push(step);
        }
        is_any
    }

    /// So many of those under way are dealt with.
    fn finish(&mut self, count: usize) {
        self.under_way = self.under_way.saturating_sub(count);
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

    /// Tries again what the store refused.
    pub(crate) fn try_refused(&self) {
        if self.queue().try_refused() {
            self.filled.notify_one();
        }
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
            let written = self.write(&*shared.store, partition, batch).await;
            for change in &written.changes {
                shared.count_presence(change, PresenceWord::Leave);
            }
            shared.metrics.presence.refused.inc_by(written.refused);
            if written.is_away {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            } else {
                pause = PAUSE;
            }
        }
    }

    /// Writes a batch. What the store does not answer goes back to the front. What it refuses is
    /// tried one by one, so that one bad move takes no other with it, and is put aside.
    async fn write(&self, store: &dyn Presence, partition: Partition, batch: Vec<Move>) -> Written {
        let mut written = Written::default();
        match store.move_members(partition, batch.clone()).await {
            Ok(changes) => {
                self.queue().finish(batch.len());
                written.changes = changes;
                return written;
            }
            Err(error) if is_away(&error) => {
                tracing::debug!(partition = partition.get(), %error, "presence is repeated");
                self.queue().give_back(batch);
                written.is_away = true;
                return written;
            }
            Err(error) => {
                tracing::warn!(partition = partition.get(), %error, "presence was refused");
            }
        }
        let mut left = VecDeque::from(batch);
        while let Some(step) = left.pop_front() {
            match store.move_members(partition, vec![step.clone()]).await {
                Ok(changes) => {
                    self.queue().finish(1);
                    written.changes.extend(changes);
                }
                Err(error) if is_away(&error) => {
                    left.push_front(step);
                    self.queue().give_back(left.into());
                    written.is_away = true;
                    return written;
                }
                Err(error) => {
                    written.refused += 1;
                    if !self.queue().put_aside(step) {
                        let partition = partition.get();
                        tracing::error!(partition, %error, "presence is given up");
                    }
                }
            }
        }
        written
    }
}

/// What became of a batch.
#[derive(Debug, Default)]
struct Written {
    changes: Vec<PresenceChange>,
    /// Moves that were put aside.
    refused: u64,
    /// The store does not answer: the rest is to be repeated.
    is_away: bool,
}

/// Whether the same is worth repeating at once.
const fn is_away(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Unavailable(_) | StoreError::NotReplicated
    )
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

    /// Tries again what the store refused of all partitions.
    pub(crate) fn try_refused_presence(&self) {
        for lot in &self.lots {
            lot.roster.try_refused();
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

    /// It is in its topics still, and in the lobby, after the store forgot it.
    pub(crate) fn enter_again(&self) {
        self.enter_lobby_again();
        let topics: Vec<TopicName> = self.subs().iter().map(|sub| sub.topic.clone()).collect();
        for topic in topics {
            self.enter_topic(&topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use sparkway_protocol::Epoch;
    use sparkway_store::BoxFuture;
    use sparkway_store::presence::{Members, Standing, Swept};

    use super::*;

    /// A store that refuses one topic, and answers nothing while it is away.
    #[derive(Default)]
    struct Picky {
        refuses: Mutex<Option<TopicName>>,
        is_away: Mutex<bool>,
        written: Mutex<Vec<Move>>,
    }

    impl Picky {
        fn written(&self) -> Vec<String> {
            let mut written = self.written.lock().unwrap();
            let names = written.drain(..).map(|step| step.topic.to_string());
            names.collect()
        }
    }

    impl Presence for Picky {
        fn move_members(
            &self,
            _: Partition,
            moves: Vec<Move>,
        ) -> BoxFuture<'_, Result<Vec<PresenceChange>, StoreError>> {
            Box::pin(async move {
                if *self.is_away.lock().unwrap() {
                    return Err(StoreError::Unavailable("away"));
                }
                let refused = self.refuses.lock().unwrap().clone();
                if moves
                    .iter()
                    .any(|step| Some(&step.topic) == refused.as_ref())
                {
                    return Err(StoreError::Corrupt("a key has another type"));
                }
                self.written.lock().unwrap().extend(moves);
                Ok(Vec::new())
            })
        }

        fn members(
            &self,
            _: TopicName,
            _: Option<String>,
            _: usize,
        ) -> BoxFuture<'_, Result<Members, StoreError>> {
            Box::pin(async { Err(StoreError::Unavailable("not asked")) })
        }

        fn standings(
            &self,
            _: TopicName,
            _: Vec<UserId>,
        ) -> BoxFuture<'_, Result<Vec<Standing>, StoreError>> {
            Box::pin(async { Err(StoreError::Unavailable("not asked")) })
        }

        fn sweep_members(
            &self,
            _: Partition,
            _: u64,
            _: usize,
        ) -> BoxFuture<'_, Result<Swept, StoreError>> {
            Box::pin(async { Err(StoreError::Unavailable("not asked")) })
        }
    }

    fn topic(name: &str) -> TopicName {
        TopicName::parse(name).unwrap()
    }

    fn joins(name: &str, epoch: u64) -> Move {
        Move {
            topic: topic(name),
            session: SessionId::from_random([1; 16], Partition::default()),
            epoch: Epoch(epoch),
            user: UserId::parse("ada").unwrap(),
            step: Step::Leave,
        }
    }

    async fn turn(roster: &Roster, store: &Picky) -> Written {
        let batch = roster.queue().take();
        roster.write(store, Partition::default(), batch).await
    }

    #[tokio::test]
    async fn what_the_store_refuses_holds_nothing_up_and_is_tried_again() {
        let (roster, store) = (Roster::default(), Picky::default());
        *store.refuses.lock().unwrap() = Some(topic("bad"));
        for name in ["a", "bad", "b"] {
            roster.submit(joins(name, 1));
        }
        let told = roster.written();
        let written = turn(&roster, &store).await;
        assert_eq!((written.refused, written.is_away), (1, false));
        assert_eq!(store.written(), ["a", "b"]);
        told.await;
        assert!(turn(&roster, &store).await.changes.is_empty());
        // With the next renewal of the lease, as often as it takes.
        roster.try_refused();
        assert_eq!(turn(&roster, &store).await.refused, 1);
        *store.refuses.lock().unwrap() = None;
        roster.try_refused();
        turn(&roster, &store).await;
        assert_eq!(store.written(), ["bad"]);
        roster.try_refused();
        assert!(roster.queue().take().is_empty(), "it is written");
    }

    #[tokio::test]
    async fn who_waits_waits_for_what_is_tried_one_by_one() {
        let roster = Roster::default();
        for name in ["a", "bad", "b"] {
            roster.submit(joins(name, 1));
        }
        assert_eq!(roster.queue().take().len(), 3);
        roster.queue().finish(1);
        let mut told = std::pin::pin!(roster.written());
        assert!(futures_util::poll!(&mut told).is_pending(), "two are left");
        roster.queue().finish(1);
        assert!(futures_util::poll!(&mut told).is_pending(), "one is");
        roster.queue().finish(1);
        assert!(futures_util::poll!(&mut told).is_ready());
    }

    #[tokio::test]
    async fn a_newer_move_replaces_a_refused_one() {
        let (roster, store) = (Roster::default(), Picky::default());
        *store.refuses.lock().unwrap() = Some(topic("bad"));
        roster.submit(joins("bad", 1));
        turn(&roster, &store).await;
        roster.submit(joins("bad", 2));
        roster.try_refused();
        let batch = roster.queue().take();
        assert_eq!(batch.len(), 1);
        assert_eq!(batch[0].epoch, Epoch(2));
    }

    #[tokio::test]
    async fn a_late_word_of_an_older_connection_replaces_no_newer_one() {
        let (roster, store) = (Roster::default(), Picky::default());
        let epochs = |roster: &Roster| -> Vec<u64> {
            let batch = roster.queue().take();
            roster.queue().finish(batch.len());
            batch.iter().map(|step| step.epoch.0).collect()
        };
        // While the newer one is under way to a store that does not answer.
        roster.submit(joins("a", 2));
        let batch = roster.queue().take();
        roster.submit(joins("a", 1));
        roster.queue().give_back(batch);
        assert_eq!(epochs(&roster), [2]);
        // While it is under way to a store that refuses it, and after that.
        *store.refuses.lock().unwrap() = Some(topic("bad"));
        roster.submit(joins("bad", 2));
        let batch = roster.queue().take();
        roster.submit(joins("bad", 1));
        roster.write(&store, Partition::default(), batch).await;
        roster.submit(joins("bad", 1));
        roster.try_refused();
        assert_eq!(epochs(&roster), [2]);
    }

    #[tokio::test]
    async fn a_store_that_goes_away_in_the_middle_gets_the_rest_later() {
        let (roster, store) = (Roster::default(), Picky::default());
        for name in ["a", "b", "c"] {
            roster.submit(joins(name, 1));
        }
        *store.is_away.lock().unwrap() = true;
        assert!(turn(&roster, &store).await.is_away);
        *store.is_away.lock().unwrap() = false;
        turn(&roster, &store).await;
        assert_eq!(store.written(), ["a", "b", "c"], "in their order");
    }
}
