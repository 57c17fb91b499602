//! Look something up: history, presence, a call to the backend.

use std::sync::Arc;

use sparkway_protocol::{Code, FrameId, MessageId, Outcome};
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
        let oldest = if reverse {
            page.entries.last()
        } else {
            page.entries.first()
        };
        let begins_whole = oldest.is_none_or(|entry| entry.prev <= after);
        let complete = !page.more && begins_whole;
        let messages = page
            .entries
            .into_iter()
            .map(|entry| Arc::clone(&entry))
            .collect();
        Ok(Outcome::History { messages, complete })
    }
}
