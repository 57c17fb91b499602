//! The end of a connection: close frame out, close frame in, then the stream.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use sparkway_frame::Framed;
use tokio::io::ReadBuf;

use super::{Link, Phase};
use crate::{LinkStream, Outbox, Violation};

/// Most reads of discarded input before other tasks run.
const READS_PER_POLL: u8 = 16;
const DISCARD_BYTES: usize = 1024;

/// What the peer sent while its input is discarded.
enum Discarded {
    Close,
    End,
}

impl<S: LinkStream> Link<S> {
    /// Ends the conversation from this side: everything the outbox holds is written, then a close
    /// frame; the outbox refuses the rest. Follow with [`Self::finish`]. No effect on a
    /// connection that already ends.
    pub fn start_close(&mut self, outbox: &Outbox, code: u16, reason: &str) {
        let awaits_close = match self.phase {
            Phase::Open => !self.scanner.close_seen(),
            // Nothing behind the violation can be trusted to be the peer's close.
            Phase::Broken(_) => false,
            Phase::Closing { .. } | Phase::Shut | Phase::Done => return,
        };
        outbox.close_into(&mut self.egress);
        self.egress.push(Framed::close(code, reason));
        self.phase = Phase::Closing { awaits_close };
    }

    /// Carries an ending connection to its end: writes what is queued, waits for the peer's close
    /// frame when this side closed first, shuts the stream and waits for its end, so that the
    /// close frame is not lost to a reset. Input is discarded. Ready when the link can be dropped.
    /// The caller sets the deadline, or uses [`Self::finish`].
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.phase {
                Phase::Open | Phase::Done => return Poll::Ready(()),
                Phase::Broken(Violation { reason, detail }) => {
                    self.egress.push(Framed::close(reason.code(), detail));
                    self.phase = Phase::Closing {
                        awaits_close: false,
                    };
                }
                Phase::Closing { awaits_close } => {
                    if self.write(cx, None).is_err() {
                        self.phase = Phase::Done;
                        continue;
                    }
                    if !self.egress.is_empty() || self.unflushed {
                        return Poll::Pending;
                    }
                    if awaits_close && matches!(ready!(self.discard(cx)), Discarded::End) {
                        self.phase = Phase::Done;
                        continue;
                    }
                    self.phase = match ready!(Pin::new(&mut self.stream).poll_shutdown(cx)) {
                        Ok(()) => Phase::Shut,
                        Err(_) => Phase::Done,
                    };
                }
                Phase::Shut => {
                    while !matches!(ready!(self.discard(cx)), Discarded::End) {}
                    self.phase = Phase::Done;
                }
            }
        }
    }

    /// [`Self::poll_finish`] with a deadline. Answers whether the connection ended in time; drop
    /// it either way.
    ///
    /// # Cancel safety
    /// May be dropped at any time; the progress made is kept.
    pub async fn finish(&mut self, deadline: Duration) -> bool {
        tokio::time::timeout(deadline, poll_fn(|cx| self.poll_finish(cx)))
            .await
            .is_ok()
    }

    /// Reads and drops input until a close frame, or the end of the stream.
    fn discard(&mut self, cx: &mut Context<'_>) -> Poll<Discarded> {
        let mut awaits_close = matches!(self.phase, Phase::Closing { .. });
        for _ in 0..READS_PER_POLL {
            if awaits_close && self.scanner.close_seen() {
                return Poll::Ready(Discarded::Close);
            }
            let mut buf = [0; DISCARD_BYTES];
            let mut buf = ReadBuf::new(&mut buf);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {
                    self.scanner.scan(buf.filled());
                }
                Ok(()) | Err(_) => return Poll::Ready(Discarded::End),
            }
            // Behind a violation no frame boundary is known any more.
            awaits_close &= self.scanner.fault().is_none();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
