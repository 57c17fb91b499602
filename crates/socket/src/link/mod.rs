//! [`Link`]: one upgraded connection, driven by the poll of the task that owns it.

mod closing;
mod reading;
#[cfg(test)]
mod tests;

use std::{
    fmt, io, mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio_tungstenite::tungstenite::{
    Utf8Bytes,
    protocol::{Role, WebSocketConfig, WebSocketContext},
};

use crate::{
    LinkSettings, LinkStream, Outbox, Stream, Violation, egress::Egress, inflate::Inflater,
    scanner::Scanner,
};

/// One upgraded connection. It answers pings and closes by itself, keeps frames whole and in
/// order, and never blocks.
///
/// One task owns it and calls [`Self::poll`]; everyone else reaches the connection through its
/// [`Outbox`].
///
/// It takes about 0.5 KB. Let the owning task be an `async move` block, or a future written by
/// hand, that captures the link: an `async fn` holds its parameters twice.
pub struct Link<S = Stream> {
    stream: S,
    context: WebSocketContext,
    scanner: Scanner,
    /// Where deflate was agreed.
    inflater: Option<Box<Inflater>>,
    egress: Egress,
    phase: Phase,
    traffic: Traffic,
    events_per_turn: u8,
    /// Events that may still be handed out in this turn.
    events_left: u8,
    /// Nothing complete is buffered: only the socket can bring news.
    input_idle: bool,
    /// The stream may hold written bytes back until it is flushed (TLS).
    unflushed: bool,
    due: Due,
}

/// Events of the outbox that are still to be reported.
#[derive(Default)]
struct Due {
    woken: bool,
    drained: bool,
}

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The peer broke a rule; nobody has said goodbye yet.
    Broken(Violation),
    /// A close frame ends the egress queue. `awaits_close`: the peer has not sent its own.
    Closing {
        awaits_close: bool,
    },
    /// Our side of the stream is shut; the peer's end is awaited.
    Shut,
    Done,
}

/// What a poll of the link found.
#[derive(Debug)]
pub enum LinkEvent {
    /// A message or control frame of the client.
    Frame(Inbound),
    /// [`Outbox::wake`] was called.
    Woken,
    /// The outbox had reached its bound, or refused a frame, and is down to half of the bound.
    Drained,
    /// The conversation is over: detach, then call [`Link::finish`].
    Closed(Closed),
}

/// What the client sent. Payloads are slices of the connection's read buffer and keep all of it
/// alive: copy what is kept beyond the next poll.
#[derive(Debug)]
pub enum Inbound {
    /// A whole text message, fragments joined.
    Text(Utf8Bytes),
    /// A whole binary message, fragments joined.
    Binary(Bytes),
    /// A ping; its pong is already queued.
    Ping,
    /// A pong.
    Pong,
}

/// Why the conversation is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The peer closed; the answer is queued.
    Peer {
        /// The peer's code; 1002 stands for one that may not be sent, none for an empty close.
        code: Option<u16>,
        /// The peer's text: untrusted, and a slice of the read buffer.
        reason: Utf8Bytes,
    },
    /// The peer broke a rule. [`Link::start_close`] says goodbye in the owner's words;
    /// [`Link::finish`] alone sends a close frame with the violation's code.
    Violation(Violation),
    /// The stream ended without a close frame. The kind tells a plain end
    /// ([`io::ErrorKind::UnexpectedEof`]) from a reset and others.
    Gone(io::ErrorKind),
}

/// Totals of one connection, in bytes and frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes read from the stream.
    pub bytes_read: u64,
    /// Bytes written to the stream. It stands still while the peer reads nothing.
    pub bytes_written: u64,
    /// Text and binary messages received.
    pub messages: u64,
    /// Ping and pong frames received.
    pub control_frames: u64,
}

impl<S: LinkStream> Link<S> {
    /// Takes over `stream` after the upgrade. `read_ahead` is what was read behind the request.
    #[must_use]
    pub fn new(stream: S, read_ahead: &[u8], settings: &LinkSettings) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(settings.read_buffer_bytes)
            .write_buffer_size(0)
            .max_write_buffer_size(usize::MAX)
            .max_message_size(Some(settings.message_bytes))
            .max_frame_size(Some(settings.message_bytes));
        let mut scanner = Scanner::new(settings.fragments);
        if settings.deflate {
            scanner.allow_deflate();
        }
        let sound = read_ahead.get(..scanner.scan(read_ahead));
        scanner.buffered(read_ahead.len() as u64);
        let inflater = settings.deflate.then(|| {
            Box::new(Inflater::new(
                settings.message_bytes,
                sound.unwrap_or_default(),
            ))
        });
        let context = if read_ahead.is_empty() || inflater.is_some() {
            WebSocketContext::new(Role::Server, Some(config))
        } else {
            WebSocketContext::from_partially_read(read_ahead.to_vec(), Role::Server, Some(config))
        };
        let events_per_turn = settings.events_per_turn.max(1);
        Self {
            stream,
            context,
            scanner,
            inflater,
            egress: Egress::default(),
            phase: Phase::Open,
            traffic: Traffic {
                bytes_read: read_ahead.len() as u64,
                ..Traffic::default()
            },
            events_per_turn,
            events_left: events_per_turn,
            input_idle: false,
            unflushed: false,
            due: Due::default(),
        }
    }

    /// Answers the next event, and writes what the outbox holds once there is no event at hand:
    /// the answers to a burst of requests leave in one write. With `want_read` false the client is
    /// not read, which is how its own requests are bounded; a peer that leaves is then noticed
    /// only when writing.
    ///
    /// After [`LinkEvent::Closed`] or [`Self::start_close`] only [`Self::finish`] makes sense;
    /// further polls answer `Closed` again.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &Outbox,
        want_read: bool,
    ) -> Poll<LinkEvent> {
        if self.phase != Phase::Open {
            return Poll::Ready(LinkEvent::Closed(Closed::Gone(io::ErrorKind::NotConnected)));
        }
        loop {
            self.due.woken |= outbox.begin(&mut self.egress);
            if self.events_left > 0
                && let Some(event) = self.event_at_hand(cx, outbox, want_read)
            {
                self.events_left -= 1;
                return Poll::Ready(event);
            }
            if let Err(error) = self.write(cx, Some(outbox)) {
                return Poll::Ready(LinkEvent::Closed(self.gone(outbox, error.kind())));
            }
            if mem::take(&mut self.due.drained) {
                return Poll::Ready(LinkEvent::Drained);
            }
            if self.events_left == 0 {
                // There may be more, but other tasks come first.
                self.events_left = self.events_per_turn;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if outbox.sleep(cx.waker(), &self.egress) {
                self.events_left = self.events_per_turn;
                return Poll::Pending;
            }
        }
    }

    fn event_at_hand(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &Outbox,
        want_read: bool,
    ) -> Option<LinkEvent> {
        if mem::take(&mut self.due.woken) {
            return Some(LinkEvent::Woken);
        }
        if want_read {
            return self.read(cx, outbox);
        }
        None
    }

    /// Whether the stream has passed on everything that it took. One that encrypts may hold some
    /// of it back when the socket is full.
    pub const fn is_flushed(&self) -> bool {
        !self.unflushed
    }

    /// Totals so far.
    pub const fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// The number of the message, or frame, that has begun to arrive and is not complete. A timer
    /// that sees the same number twice knows a message that takes too long.
    pub const fn unfinished(&self) -> Option<u32> {
        if self.scanner.at_boundary() {
            None
        } else {
            Some(self.scanner.messages())
        }
    }

    /// The stream underneath.
    pub const fn stream(&self) -> &S {
        &self.stream
    }

    /// Writes until nothing is left or the stream is full; the stream then wakes the task.
    fn write(&mut self, cx: &mut Context<'_>, outbox: Option<&Outbox>) -> io::Result<()> {
        while !self.egress.is_empty() {
            let Poll::Ready(written) = self.egress.poll_write(&mut self.stream, cx) else {
                return Ok(());
            };
            let written = written?;
            self.unflushed = true;
            self.traffic.bytes_written += written as u64;
            let counted = self.egress.advance(written);
            if let Some(outbox) = outbox {
                self.due.drained |= outbox.written(counted, &mut self.egress);
            }
        }
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx)
        {
            flushed?;
            self.unflushed = false;
        }
        Ok(())
    }

    fn gone(&mut self, outbox: &Outbox, kind: io::ErrorKind) -> Closed {
        outbox.close();
        self.phase = Phase::Done;
        Closed::Gone(kind)
    }
}

impl<S> fmt::Debug for Link<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("phase", &self.phase)
            .field("traffic", &self.traffic)
            .finish_non_exhaustive()
    }
}
