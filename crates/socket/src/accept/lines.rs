//! Line ends of request heads, taken strictly: the HTTP library also takes a bare LF for the end
//! of a line, a proxy in front may not, and then the two disagree on where a request ends.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::Arc,
    sync::atomic::{AtomicU8, Ordering},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What follows the head that was handed out last, as the one who has parsed it says.
#[derive(Clone, Debug, Default)]
pub(super) struct Following(Arc<AtomicU8>);

const UNKNOWN: u8 = 0;
const HEAD: u8 = 1;
const BODY: u8 = 2;

impl Following {
    /// The request has no body: the next bytes are the next request's.
    pub(super) fn head(&self) {
        // After a body no boundary is known any more.
        let _ = self
            .0
            .compare_exchange(UNKNOWN, HEAD, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The request has a body, from here on nothing is judged.
    pub(super) fn body(&self) {
        self.0.store(BODY, Ordering::Relaxed);
    }

    /// Whether a head follows; asked once per head.
    fn take_head(&self) -> bool {
        self.0
            .compare_exchange(HEAD, UNKNOWN, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Whether a body came before.
    pub(super) fn had_body(&self) -> bool {
        self.0.load(Ordering::Relaxed) == BODY
    }
}

/// A stream that hands out one request head at a time, with a NUL, which no head may hold, in
/// place of each bare LF: the HTTP library then answers 400.
pub(super) struct Lines<S> {
    stream: S,
    following: Following,
    place: Place,
    /// Read behind the end of a head, not handed out yet.
    held: BytesMut,
}

enum Place {
    Head(Head),
    /// At the end of a head.
    Behind,
    /// In a body or past one.
    Raw,
}

/// How far a head is.
#[derive(Clone, Copy, Default)]
struct Head {
    after_cr: bool,
    /// Bytes of the line so far, without its end; only whether there are any counts.
    in_line: bool,
    /// Empty lines in front of a request are skipped.
    begun: bool,
}

impl Head {
    /// Judges `bytes`; how many of them belong to the head when it ends within.
    fn judge(&mut self, bytes: &mut [u8]) -> Option<usize> {
        for (at, byte) in bytes.iter_mut().enumerate() {
            match byte {
                b'\n' if self.after_cr => {
                    if self.begun && !self.in_line {
                        return Some(at + 1);
                    }
                    self.in_line = false;
                }
                b'\n' => *byte = 0,
                b'\r' => {}
                _ => {
                    self.in_line = true;
                    self.begun = true;
                }
            }
            self.after_cr = *byte == b'\r';
        }
        None
    }
}

impl<S> Lines<S> {
    pub(super) fn new(stream: S, following: Following) -> Self {
        Self {
            stream,
            following,
            place: Place::Head(Head::default()),
            held: BytesMut::new(),
        }
    }

    /// The stream, and what was read from it and not handed out.
    pub(super) fn into_parts(self) -> (S, Bytes) {
        (self.stream, self.held.freeze())
    }

    /// Judges what was put into `buf` behind `start` and keeps back what is behind a head.
    fn judge(&mut self, buf: &mut ReadBuf<'_>, start: usize) {
        let Place::Head(head) = &mut self.place else {
            return;
        };
        let fresh = buf.filled_mut().get_mut(start..).unwrap_or_default();
        let Some(end) = head.judge(fresh) else { return };
        if let Some(behind) = fresh.get(end..) {
            let mut kept = BytesMut::from(behind);
            kept.unsplit(mem::take(&mut self.held));
            self.held = kept;
        }
        buf.set_filled(start + end);
        self.place = Place::Behind;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lines<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.place, Place::Behind) {
            this.place = if this.following.take_head() {
                Place::Head(Head::default())
            } else {
                this.following.body();
                Place::Raw
            };
        }
        let start = buf.filled().len();
        if this.held.is_empty() {
            match Pin::new(&mut this.stream).poll_read(cx, buf) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
        } else {
            let taken = this.held.len().min(buf.remaining());
            buf.put_slice(this.held.get(..taken).unwrap_or_default());
            this.held.advance(taken);
        }
        this.judge(buf, start);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lines<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// What is handed out of `input` up to the first end of a head, however it is cut, and what is
    /// kept back.
    async fn first_head(input: &[u8], step: usize) -> (Vec<u8>, Vec<u8>) {
        let pieces = input.chunks(step).map(Bytes::copy_from_slice);
        let mut out = Vec::new();
        let mut lines = Lines::new(&b""[..], Following::default());
        for piece in pieces {
            lines.held.extend_from_slice(&piece);
            while !lines.held.is_empty() && !matches!(lines.place, Place::Behind) {
                lines.read_buf(&mut out).await.unwrap();
            }
        }
        (out, lines.into_parts().1.to_vec())
    }

    #[tokio::test]
    async fn head_ends_at_the_first_empty_line_and_bare_line_feeds_are_spoiled() {
        for step in 1..20 {
            let (head, rest) = first_head(b"\r\nGET\r\na: b\r\n\r\nframes\n", step).await;
            assert_eq!(head, b"\r\nGET\r\na: b\r\n\r\n", "{step}");
            assert_eq!(rest, b"frames\n", "{step}");
            let (head, rest) = first_head(b"GET\na: b\r\nc\n\r\n\r\nx", step).await;
            assert_eq!(head, b"GET\0a: b\r\nc\0\r\n\r\n", "{step}");
            assert_eq!(rest, b"x");
            let (head, rest) = first_head(b"GET\r\n\n\r\n\r\nx", step).await;
            assert_eq!(head, b"GET\r\n\0\r\n", "{step}: {rest:?}");
        }
    }

    #[tokio::test]
    async fn next_head_is_judged_and_a_body_ends_the_judging() {
        let following = Following::default();
        let input = &b"a\r\n\r\nb\nc\r\n\r\nd\ne\r\n\r\nf\n"[..];
        let mut lines = Lines::new(input, following.clone());
        let mut out = Vec::new();
        lines.read_buf(&mut out).await.unwrap();
        assert_eq!(out, b"a\r\n\r\n");
        following.head();
        lines.read_buf(&mut out).await.unwrap();
        assert_eq!(out, b"a\r\n\r\nb\0c\r\n\r\n");
        following.body();
        lines.read_to_end(&mut out).await.unwrap();
        assert!(out.ends_with(b"d\ne\r\n\r\nf\n"));
        following.head();
        assert!(following.had_body());
    }
}
