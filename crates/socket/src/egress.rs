//! What the link is about to write: whole frames in order, gathered into vectored writes.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use sparkway_frame::Framed;
use tokio::io::AsyncWrite;

/// Most slices of one vectored write.
pub(crate) const SLICES: usize = 64;

/// Frames taken from the outbox plus the link's own pongs and close.
#[derive(Default)]
pub(crate) struct Egress {
    queue: VecDeque<Framed>,
    /// Bytes of the first frame that are already written.
    head_written: usize,
    /// Whether the first frame is a pong: its bytes were never counted by the outbox.
    head_is_pong: bool,
    /// The answer to the latest ping. It goes out at the next frame boundary, and a newer one
    /// replaces it, so a peer that pings without reading costs one frame.
    pong: Option<Framed>,
}

impl Egress {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.pong.is_none()
    }

    /// Whether nothing taken before still waits for the socket.
    pub(crate) fn is_unblocked(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether more frames would make the next write larger.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.len() < SLICES
    }

    pub(crate) fn append(&mut self, mut frames: VecDeque<Framed>) {
        if self.queue.is_empty() {
            self.queue = frames;
        } else {
            self.queue.append(&mut frames);
        }
    }

    pub(crate) fn push(&mut self, framed: Framed) {
        self.queue.push_back(framed);
    }

    pub(crate) fn answer_ping(&mut self, pong: Framed) {
        self.pong = Some(pong);
    }

    /// Drops every frame of which no byte has been written.
    pub(crate) fn drop_unstarted(&mut self) {
        self.pong = None;
        self.queue.truncate(usize::from(self.head_written > 0));
    }

    /// Writes once. Answers the bytes written.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
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
        if left > 0
            && let Some(pong) = self.pong.take()
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
        if self.queue.is_empty() {
            // An idle connection holds no queue memory.
            self.queue = VecDeque::new();
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

    /// The bytes to write, in order: the rest of a started frame, the pong, whole frames.
    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let started = (self.head_written > 0)
            .then(|| self.queue.front())
            .flatten()
            .and_then(|head| head.as_bytes().get(self.head_written..));
        let whole = self.queue.iter().skip(usize::from(started.is_some()));
        started
            .into_iter()
            .chain(self.pong.as_ref().map(Framed::as_bytes))
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
    fn pong_never_splits_a_frame_and_the_latest_one_wins() {
        let mut egress = filled();
        assert_eq!(egress.advance(4), 4);
        egress.answer_ping(Framed::pong(b"old"));
        egress.answer_ping(Framed::pong(b"new"));
        let order: Vec<_> = egress.pieces().map(<[u8]>::to_vec).collect();
        assert_eq!(order[0], [0; 6]);
        assert_eq!(order[1], Framed::pong(b"new").as_bytes());
        assert_eq!(order[2], Framed::binary(&[1; 8]).as_bytes());
        assert_eq!(egress.advance(6 + 2), 6, "the pong is begun");
        assert_eq!(egress.advance(3 + 10), 10);
        assert!(egress.is_empty());
    }
}
