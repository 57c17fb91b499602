//! Look something up: history, presence, a call to the backend.

use std::sync::Arc;

use sparkway_protocol::{Code, Entry, FrameId, MessageId, Outcome};
use sparkway_session::{HistoryRequest, Input};
use sparkway_store::record::Range;

use crate::attached::Attached;
use crate::connection::Connection;

impl Connection {
    pub(super) fn query(&mut self, id: Option<FrameId>, request: HistoryRequest) {
        let Some(attached) = self.in_use() else {
            return;
        };
        self.worker.shared.tasks.spawn(async move {
            // One at a time, and only while the client takes the answers: a page is large.
            let Ok(_turn) = attached.queries.acquire().await else {
                return;
            };
            attached.wait_for_room().await;
            let result = attached.answer(request).await;
            attached.handle.post(Input::Answered { id, result });
        });
    }
}

impl Attached {
    async fn answer(&self, request: HistoryRequest) -> Result<Outcome, Code> {
        match request {
            HistoryRequest::History {
                topic,
                after,
                before,
                limit,
                reverse,
            } => {
                let from = after.unwrap_or(MessageId::ZERO);
                let range = Range {
                    topic,
                    after: from,
                    before,
                    limit,
                    reverse,
                };
                self.history(range).await
            }
            // Presence and calls have no station behind them yet.
            HistoryRequest::Presence { .. } | HistoryRequest::Call { .. } => Err(Code::Unsupported),
        }
    }

    /// A page of a log. `complete`: the page reaches the end of the range, and nothing at its
    /// beginning has been trimmed away.
    async fn history(&self, range: Range) -> Result<Outcome, Code> {
        let shared = &self.worker.shared;
        let grants = self.grants.load();
        if !shared.may_subscribe(&grants, &range.topic, self.user.as_ref(), self.session) {
            return Err(Code::Forbidden);
        }
        let after = range.after;
        let reverse = range.reverse;
        let page = shared
            .store
            .history(range)
            .await
            .map_err(|_| Code::Unavailable)?;
        let mut messages = page.entries;
        let kept = fitting(&messages);
        let is_cut = kept < messages.len();
        messages.truncate(kept);
        let oldest = if reverse {
            messages.last()
        } else {
            messages.first()
        };
        let begins_whole = oldest.is_none_or(|entry| entry.prev <= after);
        let complete = !page.more && !is_cut && begins_whole;
        Ok(Outcome::History { messages, complete })
    }
}

/// Payload bytes of one page of history, at the most (its first entry always fits).
const PAGE_BYTES: usize = 128 * 1024;

/// How many of the entries make one page.
fn fitting(entries: &[Arc<Entry>]) -> usize {
    let mut bytes = 0;
    let within = entries.iter().take_while(|entry| {
        bytes += entry.payload.bytes.len();
        bytes <= PAGE_BYTES
    });
    within.count().max(1).min(entries.len())
}
