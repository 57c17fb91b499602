//! One connection's place in the fan-out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sparkway_protocol::{Format, MessageId, Partition, SessionId};
use sparkway_socket::Outbox;

/// A position in every partition.
pub type Positions = [MessageId; Partition::MAX_COUNT];

/// One connection's place in the fan-out: hooked to the partitions whose entries it may receive
/// live. Touched by its worker's thread only; the atomics cost nothing there.
#[derive(Debug)]
pub struct Seat {
    /// Where frames go.
    pub outbox: Arc<Outbox>,
    /// In which form.
    pub format: Format,
    /// Whose they are.
    pub session: SessionId,
    /// Whether its connection takes deflated messages.
    pub deflates: bool,
    /// One bit per partition that is delivered live.
    hooked: AtomicU16,
    /// Set when the outbox was full: from where the connection is to be fed.
    lag: Mutex<Option<Box<Positions>>>,
    /// What was handed out and is not acknowledged; none where that has no limit.
    unacked: Option<Box<Unacked>>,
}

/// Messages of which the client has said nothing yet.
#[derive(Debug)]
struct Unacked {
    most: usize,
    ids: Mutex<VecDeque<MessageId>>,
}

impl Seat {
    /// A seat that is hooked to nothing yet.
    #[must_use]
    pub const fn new(outbox: Arc<Outbox>, format: Format, session: SessionId) -> Self {
        Self {
            outbox,
            format,
            session,
            deflates: false,
            hooked: AtomicU16::new(0),
            lag: Mutex::new(None),
            unacked: None,
        }
    }

    /// Hands messages out deflated.
    #[must_use]
    pub const fn deflating(mut self, deflates: bool) -> Self {
        self.deflates = deflates;
        self
    }

    /// Pauses live delivery while `most` messages are not acknowledged; 0: never.
    #[must_use]
    pub fn with_unacked_max(mut self, most: u32) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.unacked = (most > 0).then(|| {
            Box::new(Unacked {
                most,
                ids: Mutex::default(),
            })
        });
        self
    }

    /// Whether it is counted what is handed out.
    #[must_use]
    pub const fn is_counted(&self) -> bool {
        self.unacked.is_some()
    }

    /// Whether so many more messages may be handed out before some are acknowledged.
    #[must_use]
    pub fn has_room(&self, messages: usize) -> bool {
        let Some(unacked) = &self.unacked else {
            return true;
        };
        let ids = unacked.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.len().saturating_add(messages) <= unacked.most
    }

    /// Notes that a message was put into the outbox.
    pub fn handed_out(&self, id: MessageId) {
        if let Some(unacked) = &self.unacked {
            let mut ids = unacked.ids.lock().unwrap_or_else(PoisonError::into_inner);
            ids.push_back(id);
        }
    }

    /// The client has processed everything up to `id`, of that partition. Whether that made room.
    pub fn acknowledged(&self, id: MessageId) -> bool {
        let Some(unacked) = &self.unacked else {
            return false;
        };
        let mut ids = unacked.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let before = ids.len();
        ids.retain(|other| other.partition() != id.partition() || *other > id);
        ids.len() < before
    }

    /// Whether entries of the partition are delivered live.
    #[must_use]
    pub fn is_hooked(&self, partition: Partition) -> bool {
        self.hooked.load(Ordering::Relaxed) & bit(partition) != 0
    }

    /// Whether any partition is delivered live.
    #[must_use]
    pub fn is_hooked_anywhere(&self) -> bool {
        self.hooked.load(Ordering::Relaxed) != 0
    }

    /// From now on entries of the partition are delivered live.
    pub fn hook(&self, partition: Partition) {
        self.hooked.fetch_or(bit(partition), Ordering::Relaxed);
    }

    /// No more live entries from any partition; the connection stands at `positions` and is told.
    /// Partitions that were not hooked keep no position: somebody feeds them already.
    pub fn unhook(&self, positions: &Positions) {
        let was = self.hooked.swap(0, Ordering::Relaxed);
        if was == 0 {
            return;
        }
        let mut kept = *positions;
        for (at, position) in kept.iter_mut().enumerate() {
            if was & (1 << at) == 0 {
                *position = MessageId::MAX;
            }
        }
        let mut lag = self.lag.lock().unwrap_or_else(PoisonError::into_inner);
        // A lag that nobody has taken yet stays: it is of other partitions.
        for (position, earlier) in kept.iter_mut().zip(lag.as_deref().into_iter().flatten()) {
            *position = (*position).min(*earlier);
        }
        *lag = Some(Box::new(kept));
        drop(lag);
        self.outbox.wake();
    }

    /// Takes the positions at which the seat was unhooked. [`MessageId::MAX`] stands for a
    /// partition that was not hooked.
    #[must_use]
    pub fn take_lag(&self) -> Option<Box<Positions>> {
        self.lag
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

const fn bit(partition: Partition) -> u16 {
    1 << partition.get()
}
