//! Publishes of this node on their way into the store: many at once under load, none delayed when
//! idle.
//!
//! One batch of a partition is under way at a time; what comes meanwhile waits for the next one.
//! So the order of a session's publishes is the order of its frames, and the batch grows by itself
//! with the load.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use sparkway_metrics::{Metrics, Origin, PublishResult};
use sparkway_protocol::{Epoch, FrameId, MessageId, Partition, TopicName, limits};
use sparkway_session::{Input, StoreFailure};
use sparkway_store::planted::Defect;
use sparkway_store::{Append, Appended, SharedStore, StoreError, WriteError};
use tokio::sync::{Notify, oneshot};

use crate::attached::Attached;
use crate::effect::overtaken;
use crate::shared::Shared;
use crate::trace::{Begun, Published};

/// Who awaits the outcome of a publish.
#[derive(Debug)]
pub(crate) struct Waiter {
    who: Who,
    began: Instant,
    /// Which series counts it.
    namespace: usize,
    /// Only while something is traced: a failed or slow publish is recorded in any case.
    topic: Option<TopicName>,
    span: Option<Box<Begun>>,
}

#[derive(Debug)]
enum Who {
    /// A session, and its frame if that wants an answer.
    Session {
        session: Arc<Attached>,
        id: Option<FrameId>,
        /// Under which the publish is made.
        epoch: Epoch,
    },
    /// A backend, through the HTTP API.
    Backend {
        answer: oneshot::Sender<Result<Appended, WriteError>>,
        shared: Arc<Shared>,
    },
}

impl Who {
    fn shared(&self) -> &Shared {
        match self {
            Self::Session { session, .. } => &session.worker.shared,
            Self::Backend { shared, .. } => shared,
        }
    }

    const fn origin(&self) -> Origin {
        match self {
            Self::Session { .. } => Origin::Client,
            Self::Backend { .. } => Origin::Http,
        }
    }
}

#[derive(Debug)]
struct Pending {
    append: Append,
    waiter: Waiter,
}

/// The queue in front of one partition. Bounded by what sessions may have in flight.
#[derive(Debug, Default)]
pub(crate) struct Appender {
    queue: Mutex<VecDeque<Pending>>,
    filled: Notify,
}

impl Appender {
    /// Queues a publish; the outcome goes to `waiter`.
    pub(crate) fn submit(&self, append: Append, waiter: Waiter) {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(Pending { append, waiter });
        self.filled.notify_one();
    }

    fn take_all(&self) -> Vec<Waiter> {
        let queue = std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        queue.into_iter().map(|pending| pending.waiter).collect()
    }

    fn take(&self) -> (Vec<Append>, Vec<Waiter>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        let mut count = 0;
        for pending in queue.iter().take(limits::APPEND_BATCH) {
            bytes += pending.append.payload.bytes.len();
            if count > 0 && bytes > limits::APPEND_BATCH_BYTES {
                break;
            }
            count += 1;
        }
        let taken = queue
            .drain(..count)
            .map(|pending| (pending.append, pending.waiter))
            .unzip();
        if queue.is_empty() && queue.capacity() > 1024 {
            queue.shrink_to(256);
        }
        taken
    }

    /// Appends what is queued, for as long as the node lives.
    ///
    /// # Cancel safety
    /// Dropped, the batch under way may or may not be stored; its waiters hear nothing.
    pub(crate) async fn run(&self, partition: Partition, store: SharedStore) {
        loop {
            let (batch, waiters) = self.take();
            if batch.is_empty() {
                self.filled.notified().await;
                continue;
            }
            let (began, count) = (SystemTime::now(), batch.len());
            let mut results = append_twice(&store, partition, batch).await;
            trace_batch(&waiters, began, count);
            if Defect::EarlyAck.is_planted() {
                results = pretend(results, count);
            }
            match results {
                Ok(results) => {
                    let mut results = results.into_iter();
                    for waiter in waiters {
                        let missing = StoreError::Corrupt("an answer is missing");
                        waiter.tell(results.next().unwrap_or(Err(missing.into())));
                    }
                }
                Err(error) => {
                    // What waits behind would only find the same after the same time: its clients
                    // may repeat it.
                    let waiting = self.take_all();
                    for waiter in waiters.into_iter().chain(waiting) {
                        waiter.tell(Err(error.clone().into()));
                    }
                }
            }
        }
    }
}

/// A timeout says nothing of whether the batch was stored. Each message has its digest, so it is
/// safe to ask once more before the clients are told.
async fn append_twice(
    store: &SharedStore,
    partition: Partition,
    batch: Vec<Append>,
) -> Result<Vec<Result<Appended, WriteError>>, StoreError> {
    match store.append(partition, batch.clone()).await {
        Err(StoreError::Unavailable(reason)) => {
            tracing::debug!(partition = partition.get(), reason, "append repeated");
            store.append(partition, batch).await
        }
        other => other,
    }
}

/// The defect [`Defect::EarlyAck`]: what the store did not take has an id all the same.
#[expect(
    clippy::unnecessary_wraps,
    reason = "stands in for the answer of the store"
)]
fn pretend(
    results: Result<Vec<Result<Appended, WriteError>>, StoreError>,
    count: usize,
) -> Result<Vec<Result<Appended, WriteError>>, StoreError> {
    let made_up = |result| match result {
        Err(WriteError::Store(_)) => Ok(Appended {
            id: MessageId::new(rand::random_range(1 << 40..1 << 50)).unwrap_or(MessageId::ZERO),
            duplicate: false,
        }),
        result => result,
    };
    let none = |error: StoreError| vec![Err(WriteError::Store(error)); count];
    let results = results.unwrap_or_else(none);
    Ok(results.into_iter().map(made_up).collect())
}

/// The call of the store is a part of every recorded publish in the batch.
fn trace_batch(waiters: &[Waiter], began: SystemTime, count: usize) {
    for waiter in waiters {
        if let Some(span) = &waiter.span
            && let Some(tracing) = &waiter.who.shared().tracing
        {
            tracing.stored(span, began, count);
        }
    }
}

impl Waiter {
    pub(crate) fn new(
        session: Arc<Attached>,
        id: Option<FrameId>,
        topic: &TopicName,
        span: Option<Box<Begun>>,
    ) -> Self {
        let shared = &session.worker.shared;
        Self {
            namespace: shared.metrics.namespaces.slot(topic.namespace()),
            topic: shared.tracing.as_ref().map(|_| topic.clone()),
            span,
            who: Who::Session {
                epoch: session.epoch(),
                session,
                id,
            },
            began: Instant::now(),
        }
    }

    /// A backend; the outcome comes through the receiver.
    pub(crate) fn backend(
        shared: &Arc<Shared>,
        topic: &TopicName,
        span: Option<Box<Begun>>,
    ) -> (Self, oneshot::Receiver<Result<Appended, WriteError>>) {
        let (answer, outcome) = oneshot::channel();
        let waiter = Self {
            began: Instant::now(),
            namespace: shared.metrics.namespaces.slot(topic.namespace()),
            topic: shared.tracing.as_ref().map(|_| topic.clone()),
            span,
            who: Who::Backend {
                answer,
                shared: Arc::clone(shared),
            },
        };
        (waiter, outcome)
    }

    fn tell(self, result: Result<Appended, WriteError>) {
        let Self {
            who,
            began,
            namespace,
            topic,
            span,
        } = self;
        let result = match (&who, result) {
            (Who::Session { session, epoch, .. }, Err(WriteError::Fenced))
                if session.has_overtaken(*epoch) =>
            {
                Err(overtaken())
            }
            (_, result) => result,
        };
        let shared = who.shared();
        count(&shared.metrics, (who.origin(), namespace), &result, began);
        if let (Some(tracing), Some(topic)) = (&shared.tracing, topic) {
            tracing.published(span, &topic, began.elapsed(), how(&result));
        }
        match who {
            Who::Session { session, id, epoch } => {
                let result = result
                    .map(|stored| Some((stored.id, stored.duplicate)))
                    .map_err(|error| failure_of(&error));
                if result == Err(StoreFailure::Gone) {
                    session.restore(epoch);
                }
                session.handle.post(Input::Stored {
                    id,
                    result: soften(result),
                });
            }
            // Whoever asked may have gone.
            Who::Backend { answer, .. } => drop(answer.send(result)),
        }
    }
}

fn how(result: &Result<Appended, WriteError>) -> Published {
    match result {
        Ok(stored) => Published::Stored {
            id: stored.id.get(),
            duplicate: stored.duplicate,
        },
        Err(WriteError::Fenced) => Published::Failed("fenced"),
        Err(WriteError::Gone) => Published::Failed("session_gone"),
        Err(WriteError::Store(_)) => Published::Failed("unavailable"),
    }
}

fn count(
    metrics: &Metrics,
    (origin, namespace): (Origin, usize),
    result: &Result<Appended, WriteError>,
    began: Instant,
) {
    let metrics = &metrics.session;
    let label = match result {
        Ok(stored) if stored.duplicate => PublishResult::Duplicate,
        Ok(_) => PublishResult::Ok,
        Err(WriteError::Fenced) => {
            metrics.fenced_writes.inc();
            PublishResult::Denied
        }
        Err(WriteError::Gone | WriteError::Store(_)) => PublishResult::Unavailable,
    };
    let publishes = metrics.publishes.of(namespace);
    publishes.at((origin, label)).inc();
    metrics
        .publish_duration
        .at(origin)
        .observe(began.elapsed().as_secs_f64());
}

/// A missing record is not the end of a session: it is being written again, and the client may
/// repeat its publish.
fn soften(
    result: Result<Option<(MessageId, bool)>, StoreFailure>,
) -> Result<Option<(MessageId, bool)>, StoreFailure> {
    match result {
        Err(StoreFailure::Gone) => Err(StoreFailure::Unavailable),
        other => other,
    }
}

pub(crate) const fn failure_of(error: &WriteError) -> StoreFailure {
    match error {
        WriteError::Fenced => StoreFailure::Fenced,
        WriteError::Gone => StoreFailure::Gone,
        WriteError::Store(StoreError::NotReplicated) => StoreFailure::NotReplicated,
        WriteError::Store(
            StoreError::Unavailable(_) | StoreError::Corrupt(_) | StoreError::Layout(_),
        ) => StoreFailure::Unavailable,
    }
}
