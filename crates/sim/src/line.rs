//! A client's end of one connection: WebSocket frames over a pipe.

use std::pin::Pin;
use std::task::{Context, Poll};

use serde_json::Value;
use tokio::io::{AsyncRead as _, AsyncWrite as _, DuplexStream, ReadBuf};

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// A frame.
    Frame(Value),
    /// The connection ended, with the server's close code if there was one.
    Closed(Option<u16>),
}

/// A client's end of one connection.
#[derive(Debug)]
pub struct Line {
    /// Names it within its session.
    pub number: u32,
    stream: DuplexStream,
    out: Vec<u8>,
    read: Vec<u8>,
    /// Neither read nor written any more, and not closed.
    pub frozen: bool,
    over: bool,
}

impl Line {
    /// The client's end of a pipe.
    #[must_use]
    pub const fn new(number: u32, stream: DuplexStream) -> Self {
        Self {
            number,
            stream,
            out: Vec::new(),
            read: Vec::new(),
            frozen: false,
            over: false,
        }
    }

    /// Sends a text frame.
    pub fn send(&mut self, text: &str) {
        self.push(1, text.as_bytes());
    }

    fn push(&mut self, opcode: u8, payload: &[u8]) {
        // Masked with zeros: a client has to mask, not with what.
        self.out.push(0x80 | opcode);
        match u16::try_from(payload.len()) {
            Ok(length @ 0..126) => self.out.push(0x80 | length.to_be_bytes()[1]),
            Ok(length) => {
                self.out.push(0x80 | 0x7e);
                self.out.extend(length.to_be_bytes());
            }
            Err(_) => return,
        }
        self.out.extend([0; 4]);
        self.out.extend(payload);
    }

    /// The next thing that comes, after what is to be sent is on its way.
    pub fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        if self.over || self.frozen {
            return Poll::Pending;
        }
        self.poll_send(cx);
        loop {
            if let Some(heard) = self.take() {
                self.over = matches!(heard, Heard::Closed(_));
                return Poll::Ready(heard);
            }
            let mut room = [0; 1024];
            let mut buffer = ReadBuf::new(&mut room);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.read.extend(buffer.filled());
                }
                Poll::Ready(_) => {
                    self.over = true;
                    return Poll::Ready(Heard::Closed(None));
                }
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) {
        while !self.out.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out) {
                Poll::Ready(Ok(written)) if written > 0 => drop(self.out.drain(..written)),
                // A server that is gone is noticed by the read.
                Poll::Ready(_) => self.out.clear(),
                Poll::Pending => return,
            }
        }
    }

    fn take(&mut self) -> Option<Heard> {
        loop {
            let (opcode, payload, rest) = split(&self.read)?;
            let heard = match opcode {
                1 => serde_json::from_slice(payload).ok().map(Heard::Frame),
                8 => {
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    Some(Heard::Closed(code))
                }
                _ => None,
            };
            let used = self.read.len() - rest;
            drop(self.read.drain(..used));
            if heard.is_some() {
                return heard;
            }
        }
    }
}

/// The first whole frame: its opcode, its payload, and how many bytes stand behind it.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let [first, second, rest @ ..] = bytes else {
        return None;
    };
    let (length, rest) = match second & 0x7f {
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            let length = u64::from_be_bytes(*length);
            (usize::try_from(length).ok()?, rest)
        }
        short => (usize::from(short), rest),
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    Some((first & 0x0f, payload, rest.len()))
}
