//! How far a client that acknowledges nothing has very likely read.
//!
//! What was written to the socket some seconds before the client's next frame came in, it has: the
//! connection worked both ways in between. A close frame says so at once. What lies behind that
//! point when the connection is lost is sent again: a response may come twice, never not at all.

use sparkway_dialect::Talk;
use sparkway_protocol::{MessageId, TopicName};
use sparkway_store::Remember;

use crate::connection::Connection;

/// How long before a client's frame something must have been written to count as read.
const AGE_MS: u64 = 5_000;

/// Positions in the partition of the conversation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Receipt {
    /// Written at `marked_ms`, not yet taken for read.
    marked: MessageId,
    marked_ms: u64,
    /// Taken for read.
    read: MessageId,
    /// Of that, what the store knows.
    kept: MessageId,
}

impl Connection {
    /// The conversation that this connection serves, once it is confirmed.
    pub(crate) fn conversation(&self) -> Option<&TopicName> {
        match &self.talk {
            Talk::Conversation(state) => state.topic.as_ref(),
            Talk::Plain | Talk::Room(_) => None,
        }
    }

    /// Up to where everything is written to the socket, if it is.
    fn written(&self) -> Option<MessageId> {
        let partition = self.worker.shared.layout.of(self.conversation()?.as_str());
        let live = self.attached.as_ref()?.seat.is_hooked(partition);
        (live && self.handle.outbox.bytes() == 0).then(|| self.worker.hub().position(partition))
    }

    /// The client sent a frame.
    pub(crate) fn note_alive(&mut self) {
        if self.conversation().is_none() {
            return;
        }
        let now_ms = self.worker.shared.clock.mono_ms();
        if now_ms < self.receipt.marked_ms.saturating_add(AGE_MS) {
            return;
        }
        let Some(written) = self.written() else {
            return;
        };
        let receipt = &mut self.receipt;
        receipt.read = receipt.read.max(receipt.marked);
        (receipt.marked, receipt.marked_ms) = (written, now_ms);
        if receipt.read > receipt.kept {
            receipt.kept = receipt.read;
            self.keep_read();
        }
    }

    /// The client closed in good order: it has everything.
    pub(crate) fn note_farewell(&mut self) {
        if let Some(written) = self.written() {
            self.receipt.read = written;
        }
    }

    /// What the session's record is to say when the connection is gone.
    pub(crate) fn read(&self) -> Option<MessageId> {
        (self.receipt.read > MessageId::ZERO).then_some(self.receipt.read)
    }

    fn keep_read(&self) {
        let Some(attached) = self.in_use() else {
            return;
        };
        let read = self.receipt.read;
        self.worker.shared.tasks.spawn(async move {
            let mut change = Remember::nothing(attached.session, attached.epoch());
            change.cursors = vec![read];
            let used = change.epoch;
            let written = attached.write(change).await;
            attached.after_write(used, &written);
        });
    }
}
