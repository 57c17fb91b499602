//! The read half: bytes from the stream through the scanner into the protocol library.

use std::{
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll},
};

use sparkway_frame::Framed;
use tokio::io::ReadBuf;
use tokio_tungstenite::tungstenite::{
    Error, Message, Utf8Bytes,
    error::ProtocolError,
    protocol::{CloseFrame, Role, WebSocketContext},
};

use super::{Closed, Inbound, Link, LinkEvent, Phase};
use crate::{LinkStream, Outbox, Violation, inflate::Inflater, scanner::Scanner};

/// Most reads within one call of the library, which would otherwise loop over fragments for as
/// long as they keep coming.
const READS_PER_CALL: u8 = 32;

/// The stream as the library sees it for the length of one call.
struct Source<'a, 'cx, S> {
    stream: &'a mut S,
    scanner: &'a mut Scanner,
    inflater: Option<&'a mut Inflater>,
    cx: &'a mut Context<'cx>,
    bytes_read: &'a mut u64,
    reads_left: u8,
}

impl<S: LinkStream> Read for Source<'_, '_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            // What was read before comes first, also what came before a fault.
            let given = self.inflated(buf)?;
            if given > 0 {
                return Ok(given);
            }
            // The library asks for more only when it has handed out every complete frame, so what
            // came before the fault has been delivered.
            if self.scanner.fault().is_some() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.reads_left == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.reads_left -= 1;
            let mut read = ReadBuf::new(buf);
            match Pin::new(&mut *self.stream).poll_read(self.cx, &mut read) {
                Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(())) => {}
            }
            let read = read.filled();
            let sound = self.scanner.scan(read);
            *self.bytes_read += read.len() as u64;
            match self.inflater.as_mut().filter(|_| !read.is_empty()) {
                // Nothing but the fault: what is read next says so.
                None if sound == 0 && !read.is_empty() => {}
                // The library knows less rules: it would hand out what comes after a fault.
                None => return Ok(sound),
                // What it passes on looks like sound frames, so nothing else may come to it.
                Some(inflater) => inflater.take(read.get(..sound).unwrap_or_default()),
            }
        }
    }
}

impl<S> Source<'_, '_, S> {
    fn inflated(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(inflater) = self.inflater.as_mut() else {
            return Ok(0);
        };
        match inflater.give(buf) {
            Ok(given) => {
                self.scanner.buffered(given as u64);
                Ok(given)
            }
            Err(violation) => {
                self.scanner.set_fault(violation);
                Err(io::ErrorKind::InvalidData.into())
            }
        }
    }
}

impl<S> Write for Source<'_, '_, S> {
    /// Accepts and drops: the library only ever writes pongs and close answers here, and the
    /// link makes its own, in order with the data and never more than one pong at a time.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: LinkStream> Link<S> {
    /// The next frame that is at hand. None after the task's waker is registered with the stream,
    /// or woken when there may be more.
    pub(super) fn read(&mut self, cx: &mut Context<'_>, outbox: &Outbox) -> Option<LinkEvent> {
        if self.input_idle && self.stream.poll_readable(cx).is_pending() {
            return None;
        }
        loop {
            let mut source = Source {
                stream: &mut self.stream,
                scanner: &mut self.scanner,
                inflater: self.inflater.as_deref_mut(),
                cx,
                bytes_read: &mut self.traffic.bytes_read,
                reads_left: READS_PER_CALL,
            };
            let result = self.context.read(&mut source);
            self.input_idle = false;
            match result {
                Ok(message) => {
                    if let Some(event) = self.received(message, outbox) {
                        return Some(event);
                    }
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    if source.reads_left == 0 {
                        source.cx.waker().wake_by_ref();
                    } else {
                        self.input_idle = true;
                        self.release_buffer();
                    }
                    return None;
                }
                Err(error) => return Some(LinkEvent::Closed(self.failed(&error, outbox))),
            }
        }
    }

    fn received(&mut self, message: Message, outbox: &Outbox) -> Option<LinkEvent> {
        let inbound = match message {
            Message::Text(text) => Inbound::Text(text),
            Message::Binary(bytes) => Inbound::Binary(bytes),
            Message::Ping(payload) => {
                self.egress.answer_ping(Framed::pong(&payload));
                Inbound::Ping
            }
            Message::Pong(_) => Inbound::Pong,
            Message::Close(frame) => {
                return Some(LinkEvent::Closed(self.closed_by_peer(frame, outbox)));
            }
            // Never the result of a read.
            Message::Frame(_) => return None,
        };
        match inbound {
            Inbound::Text(_) | Inbound::Binary(_) => self.traffic.messages += 1,
            Inbound::Ping | Inbound::Pong => self.traffic.control_frames += 1,
        }
        Some(LinkEvent::Frame(inbound))
    }

    fn closed_by_peer(&mut self, frame: Option<CloseFrame>, outbox: &Outbox) -> Closed {
        // The peer reads nothing but our answer from here on.
        outbox.close();
        self.egress.drop_unstarted();
        let code = frame.as_ref().map(|frame| u16::from(frame.code));
        self.egress.push(match code {
            Some(code) => Framed::close(code, ""),
            None => Framed::close_without_code(),
        });
        self.phase = Phase::Closing {
            awaits_close: false,
        };
        Closed::Peer {
            code,
            reason: frame.map_or(Utf8Bytes::from_static(""), |frame| frame.reason),
        }
    }

    fn failed(&mut self, error: &Error, outbox: &Outbox) -> Closed {
        let violation = match (error, self.scanner.fault()) {
            (Error::Io(_), Some(fault)) => fault,
            (Error::Io(error), None) => return self.gone(outbox, error.kind()),
            (
                Error::ConnectionClosed
                | Error::AlreadyClosed
                | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake),
                _,
            ) => return self.gone(outbox, io::ErrorKind::UnexpectedEof),
            (Error::Capacity(_), _) => Violation::too_large(),
            (Error::Utf8(_), _) => Violation::not_utf8(),
            (Error::Protocol(error), _) => Violation::protocol(Some(error)),
            _ => Violation::protocol(None),
        };
        self.phase = Phase::Broken(violation);
        Closed::Violation(violation)
    }

    /// The library keeps the buffer of the largest frame for good. When nothing is half received
    /// its state is that of a new connection, so a new one with a small buffer takes its place.
    fn release_buffer(&mut self) {
        let config = *self.context.get_config();
        if self.scanner.largest() > config.read_buffer_size as u64 && self.scanner.at_boundary() {
            self.context = WebSocketContext::new(Role::Server, Some(config));
            self.scanner.forget_largest();
        }
    }
}
