//! What the link is about to write: whole frames in order, gathered into vectored writes.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use sparkway_frame::Framed;
use tokio::io::AsyncWrite;

use crate::queue::FrameQueue;

/// Most slices of one vectored write.
pub(crate) const SLICES: usize = 64;

/// Most pings that are answered one by one when they come faster than they can be answered.
const PONGS: usize = 16;

/// Frames taken from the outbox plus the link's own pongs and close.
#[derive(Default)]
pub(crate) struct Egress {
    queue: FrameQueue,
    /// Bytes of the first frame that are already written.
    head_written: usize,
    /// Whether the first frame is a pong: its bytes were never counted by the outbox.
    head_is_pong: bool,
    /// Answers to pings. They go out at the next frame boundary. Beyond [`PONGS`] the oldest is
    /// forgotten (RFC 6455, 5.5.3 allows it), so a peer that pings without reading costs those.
    pongs: VecDeque<Framed>,
    /// The socket took nothing at the last attempt.
    blocked: bool,
}

impl Egress {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.pongs.is_empty()
    }

    /// Whether what was taken before waits for the socket.
    pub(crate) const fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether more frames would make the next write larger.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.len() < SLICES
    }

    pub(crate) fn append(&mut self, frames: FrameQueue) {
        self.queue.append(frames);
    }

    pub(crate) fn push(&mut self, framed: Framed) {
        self.queue.push_back(framed);
    }

    pub(crate) fn answer_ping(&mut self, pong: Framed) {
        if self.pongs.len() == PONGS {
            self.pongs.pop_front();
        }
        self.pongs.push_back(pong);
    }

    /// Drops every frame of which no byte has been written.
    pub(crate) fn drop_unstarted(&mut self) {
        self.pongs = VecDeque::new();
        if self.head_written > 0 {
            self.queue.keep_first();
        } else {
            self.queue = FrameQueue::default();
        }
    }

    /// Writes once. Answers the bytes written.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.pongs.is_empty()
            && self.queue.len() == 1
            && let Some(head) = self.queue.front()
            && let Some(only) = head.as_bytes().get(self.head_written..)
        {
            // By far the most common case.
            let result = Pin::new(stream).poll_write(cx, only);
            return self.judge(result);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut filled = 0;
        for (slice, bytes) in slices.iter_mut().zip(self.pieces()) {
            *slice = IoSlice::new(bytes);
            filled += 1;
        }
        let result = match slices.get(..filled).unwrap_or_default() {
            [] => return Poll::Ready(Ok(0)),
            [only] => Pin::new(stream).poll_write(cx, only),
            many => Pin::new(stream).poll_write_vectored(cx, many),
        };
        self.judge(result)
    }

    fn judge(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.blocked = result.is_pending();
        match result {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            other => other,
        }
    }

    /// Drops `written` bytes from the front. Answers how many of them the outbox has counted.
    pub(crate) fn advance(&mut self, written: usize) -> usize {
        let mut left = written;
        let mut counted = 0;
        if self.head_written > 0 {
            let uncounted = self.head_is_pong;
            let taken = self.advance_head(left);
            left -= taken;
            counted += if uncounted { 0 } else { taken };
        }
        while left > 0
            && let Some(pong) = self.pongs.pop_front()
        {
            if left < pong.len() {
                self.queue.push_front(pong);
                self.head_written = left;
                self.head_is_pong = true;
                return counted;
            }
            left -= pong.len();
        }
        while left > 0 && !self.queue.is_empty() {
            let taken = self.advance_head(left);
            left -= taken;
            counted += taken;
        }
        if self.pongs.is_empty() {
            // An idle connection holds no memory for them.
            self.pongs = VecDeque::new();
        }
        counted
    }

    fn advance_head(&mut self, bytes: usize) -> usize {
        let Some(head) = self.queue.front() else {
            return bytes;
        };
        let left = head.len().saturating_sub(self.head_written);
        if bytes < left {
            self.head_written += bytes;
            return bytes;
        }
        self.queue.pop_front();
        self.head_written = 0;
        self.head_is_pong = false;
        left
    }

    /// The bytes to write, in order: the rest of a started frame, pongs, whole frames.
    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let started = (self.head_written > 0)
            .then(|| self.queue.front())
            .flatten()
            .and_then(|head| head.as_bytes().get(self.head_written..));
        let whole = self.queue.iter().skip(usize::from(started.is_some()));
        started
            .into_iter()
            .chain(self.pongs.iter().map(Framed::as_bytes))
            .chain(whole.map(Framed::as_bytes))
    }
}

#[cfg(test)]
impl Egress {
    /// Slots the queue holds memory for.
    pub(crate) fn capacity(&self) -> usize {
        self.queue.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> Egress {
        let mut egress = Egress::default();
        egress.push(Framed::binary(&[0; 8]));
        egress.push(Framed::binary(&[1; 8]));
        egress
    }

    #[test]
    fn pong_goes_first_and_none_of_its_bytes_is_counted() {
        let mut egress = filled();
        egress.answer_ping(Framed::pong(b"hello"));
        assert_eq!(egress.advance(3), 0, "half of the pong");
        assert_eq!(egress.advance(4), 0, "its other half");
        assert_eq!(egress.advance(12), 12, "a frame and the start of the next");
        assert_eq!(egress.advance(8), 8);
        assert!(egress.is_empty());
    }

    #[test]
    fn pongs_never_split_a_frame_and_the_latest_ones_win() {
        let mut egress = filled();
        assert_eq!(egress.advance(4), 4);
        for number in 0..=PONGS {
            egress.answer_ping(Framed::pong(&[u8::try_from(number).unwrap()]));
        }
        let order: Vec<_> = egress.pieces().map(<[u8]>::to_vec).collect();
        assert_eq!(order.len(), 1 + PONGS + 1);
        assert_eq!(order[0], [0; 6]);
        assert_eq!(order[1], Framed::pong(&[1]).as_bytes(), "0 is forgotten");
        assert_eq!(order[PONGS + 1], Framed::binary(&[1; 8]).as_bytes());
        assert_eq!(egress.advance(6 + 2), 6, "the first pong is begun");
        assert_eq!(egress.advance(1 + 3 * (PONGS - 1) + 10), 10);
        assert!(egress.is_empty());
    }
}
