//! What a feed does on a new connection: it subscribes again, and finds out what happened meanwhile.

use std::sync::Arc;

use sparkway_protocol::MessageId;
use tokio::time::timeout;

use super::{Answer, CONFIRM_DEADLINE, DEAF, Stop, Task, refused};
use crate::planted::Defect;
use crate::redis::following::CHUNK;
use crate::redis::read::read_hole;
use crate::redis::reply::id_of;
use crate::redis::scripts;
use crate::redis::subscriber::{Asked, Said, Subscriber};
use crate::{FeedEvent, Hole, StoreError};

impl Task {
    /// Subscribes everything again and finds out what happened meanwhile.
    pub(super) async fn restore(&mut self, subscriber: &mut Subscriber) -> Result<(), Stop> {
        // Without a name: there it is said what is known to be lost.
        subscriber.subscribe(std::slice::from_ref(&self.stem));
        for chunk in self.following.begin().chunks(CHUNK) {
            subscriber.subscribe(&self.channels(chunk));
            subscriber.flush().await?;
            // What is announced meanwhile is at or below the clock that is read afterwards.
            let confirmed = async {
                while !subscriber.is_confirmed() {
                    subscriber.ready().await?;
                    match subscriber.take(|_, _| None::<()>)? {
                        Some(Said::Refused(error)) => return Err(refused(&error)),
                        Some(Said::Left(_)) => return Err(DEAF),
                        _ => {}
                    }
                }
                Ok(())
            };
            timeout(CONFIRM_DEADLINE, confirmed)
                .await
                .unwrap_or(Err(StoreError::Unavailable("not confirmed in time")))?;
        }
        let answer = timeout(CONFIRM_DEADLINE, self.settle_generation(subscriber))
            .await
            .unwrap_or(Err(StoreError::Unavailable("no answer in time")))?;
        subscriber.heard();
        // Before its word is handed on: what is read because of it must not be a former server's.
        if let Some(departed) = self.backend.departed(self.partition) {
            departed.arrive(&subscriber.run_id);
        }
        self.moved = Arc::clone(&subscriber.moved);
        self.tell_restored(&answer).await
    }

    /// Asks what another process may have lost, once it is known that it was not handed everything.
    async fn settle_generation(
        &mut self,
        subscriber: &mut Subscriber,
    ) -> Result<Answer, StoreError> {
        let (backend, partition) = (Arc::clone(&self.backend), self.partition);
        self.heard = backend.heard_of(partition, &subscriber.run_id);
        let elsewhere = backend.newest_elsewhere(partition, &subscriber.run_id);
        let elsewhere = elsewhere.await;
        let settled = !backend.may_inherit();
        let answer = self.ask_generation(subscriber, settled, elsewhere).await?;
        let text = |at: usize| answer.get(at).and_then(Option::as_deref);
        if text(0) != Some(b"unsettled") {
            return Ok(answer);
        }
        if let Some(former) = text(1).and_then(|former| std::str::from_utf8(former).ok()) {
            let heir = &subscriber.run_id;
            self.backend.inherit(self.partition, former, heir).await?;
        }
        self.ask_generation(subscriber, true, elsewhere).await
    }

    /// Asks on a connection that stands: this node has learned more of another process since it
    /// began. The answer comes in line with everything else.
    pub(super) async fn ask_again(&mut self, subscriber: &mut Subscriber) -> Result<(), Stop> {
        let backend = Arc::clone(&self.backend);
        let elsewhere = backend.newest_elsewhere(self.partition, &subscriber.run_id);
        let elsewhere = elsewhere.await;
        if elsewhere > MessageId::ZERO {
            self.queue_generation(subscriber, true, elsewhere);
            subscriber.flush().await?;
        }
        Ok(())
    }

    async fn ask_generation(
        &self,
        subscriber: &mut Subscriber,
        settled: bool,
        elsewhere: MessageId,
    ) -> Result<Answer, StoreError> {
        self.queue_generation(subscriber, settled, elsewhere);
        subscriber.flush().await?;
        loop {
            subscriber.ready().await?;
            match subscriber.take(|_, _| None::<()>)? {
                Some(Said::Answered(answer)) => {
                    subscriber.answered()?;
                    return Ok(answer);
                }
                Some(Said::Refused(error)) => return Err(refused(&error)),
                Some(Said::Left(_)) => return Err(DEAF),
                _ => {}
            }
        }
    }

    fn queue_generation(&self, subscriber: &mut Subscriber, settled: bool, elsewhere: MessageId) {
        let (keys, partition) = (&self.backend.keys, self.partition);
        let (clock, generation) = (keys.clock(partition), keys.generation(partition));
        let holes = keys.holes(partition);
        let number = partition.get().to_string();
        let floor = self.backend.floor(partition).to_string();
        let mut seen = self.seen.to_string();
        let mut run_id = subscriber.run_id.clone();
        if Defect::NoGeneration.is_planted() {
            (run_id, seen) = ("-".into(), "0".into());
        }
        let words = [
            "EVAL",
            scripts::GENERATION.text(),
            "3",
            &clock,
            &generation,
            &holes,
            &run_id,
            &number,
            &floor,
            &seen,
            if settled { "1" } else { "0" },
            self.backend.publish_word(),
            &self.stem,
            &elsewhere.to_string(),
        ];
        subscriber.ask(Asked::Generation, &words.map(str::as_bytes));
    }

    /// Tells the holes in an answer that were not told before.
    pub(super) async fn tell_holes(&mut self, answer: &[Option<Vec<u8>>]) -> Result<(), Stop> {
        for hole in holes_in(answer) {
            self.tell_hole(hole).await?;
        }
        Ok(())
    }

    /// Something is known to be lost that was not when the connection began: another node has seen
    /// more of the former server than those that came before it.
    pub(super) async fn tell_hole(&mut self, hole: Hole) -> Result<(), Stop> {
        let told = self.holes.get_or_insert_default();
        if told.contains(&hole) {
            return Ok(());
        }
        told.push(hole);
        self.tell(FeedEvent::Rewound(hole)).await
    }

    async fn tell_restored(&mut self, answer: &Answer) -> Result<(), Stop> {
        let clock = answer.first().and_then(Option::as_deref).and_then(id_of);
        let clock = clock.ok_or(StoreError::Corrupt("clock"))?;
        self.see(clock);
        let holes: Vec<Hole> = holes_in(answer).collect();
        // Nobody on a feed's first connection could have seen what was lost before.
        if let Some(told) = self.holes.replace(holes.clone()) {
            if let Some(FeedEvent::Restored { .. }) = self.unsaid.back() {
                // Nobody has heard of the last time yet.
                self.unsaid.pop_back();
            }
            let new = holes.into_iter().filter(|hole| !told.contains(hole));
            self.unsaid.extend(new.map(FeedEvent::Rewound));
            self.unsaid.push_back(FeedEvent::Restored { clock });
        }
        self.say().await
    }
}

/// The holes in the script's answer, behind the clock.
fn holes_in(answer: &[Option<Vec<u8>>]) -> impl Iterator<Item = Hole> {
    let holes = answer.iter().skip(1);
    holes.filter_map(|hole| read_hole(std::str::from_utf8(hole.as_deref()?).ok()?))
}
