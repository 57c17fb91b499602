//! One connection: a socket, what is half read or half written, and how far it is.

use std::io::{self, Read as _, Write as _};
use std::mem;

use mio::net::TcpStream;
use socket2::SockRef;

use crate::speech::{self, Heard, Speech, Ticket};
use crate::tally::Tally;
use crate::wire::{self, Opcode};

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not begun, or ended.
    Away,
    Upgrading,
    Greeting,
    Subscribing,
    Live,
    /// Asked to close; waits for the server's end.
    Leaving,
}

/// One client of the load.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: Option<TcpStream>,
    pub(crate) stage: Stage,
    /// Which of the crowd it is.
    number: usize,
    /// The topic that it subscribes to.
    pub(crate) topic: Option<u32>,
    /// The number of the message that comes next.
    pub(crate) next: u64,
    pub(crate) ticket: Option<Ticket>,
    last: Vec<u8>,
    unacknowledged: u32,
    partial: Vec<u8>,
    /// The unfinished operation of a protocol that is a stream.
    stream_rest: Vec<u8>,
    unsent: Vec<u8>,
}

/// What every connection of a load has in common.
#[derive(Debug)]
pub(crate) struct Manner {
    pub(crate) speech: Speech,
    /// Messages after which a client acknowledges; 0 is never.
    pub(crate) ack_every: u32,
    /// Silent topics of each client.
    pub(crate) more_topics: u32,
    /// Whether a client subscribes before its greeting is answered.
    pub(crate) at_once: bool,
}

impl Peer {
    /// A client of `topic`. `phase` spreads the acknowledgements of the crowd.
    pub(crate) const fn new(number: usize, topic: Option<u32>, phase: u32) -> Self {
        Self {
            number,
            stream: None,
            stage: Stage::Away,
            topic,
            next: 0,
            ticket: None,
            last: Vec::new(),
            unacknowledged: phase,
            partial: Vec::new(),
            stream_rest: Vec::new(),
            unsent: Vec::new(),
        }
    }

    /// Takes a socket that is being connected and says what upgrades it.
    pub(crate) fn begin(&mut self, stream: TcpStream, upgrade: &[u8]) {
        self.stream = Some(stream);
        self.stage = Stage::Upgrading;
        self.partial.clear();
        self.stream_rest.clear();
        self.unsent = upgrade.to_vec();
    }

    /// Drops the socket with a reset, which the server sees at once.
    pub(crate) fn reset(&mut self) {
        if let Some(stream) = self.stream.take() {
            // A socket that is gone already needs none.
            let _ = SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
        }
        self.stage = Stage::Away;
        self.unsent.clear();
    }

    /// Asks to end the session for good.
    ///
    /// # Errors
    /// The socket is broken.
    pub(crate) fn leave(&mut self) -> io::Result<()> {
        if self.stage == Stage::Away {
            return Ok(());
        }
        self.stage = Stage::Leaving;
        let mut frame = Vec::new();
        wire::close(&mut frame);
        self.send(&frame)
    }

    /// Writes, or keeps what the socket does not take.
    ///
    /// # Errors
    /// The socket is broken.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.unsent.is_empty() {
            self.unsent.extend(bytes);
            return Ok(());
        }
        let sent = self.write(bytes)?;
        self.unsent.extend(bytes.iter().skip(sent));
        Ok(())
    }

    /// The socket takes more.
    ///
    /// # Errors
    /// The socket is broken.
    pub(crate) fn writable(&mut self) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let unsent = mem::take(&mut self.unsent);
        let sent = self.write(&unsent)?;
        self.unsent = unsent;
        self.unsent.drain(..sent);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else {
            return Ok(bytes.len());
        };
        match stream.write(bytes) {
            Ok(sent) => Ok(sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            // The connection is still being made.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The socket has something: reads it and acts on it.
    ///
    /// # Errors
    /// The socket is broken or at its end.
    pub(crate) fn readable(
        &mut self,
        buffer: &mut [u8],
        manner: &Manner,
        tally: &mut Tally,
        now_ns: u64,
    ) -> io::Result<()> {
        loop {
            let Some(stream) = &mut self.stream else {
                return Ok(());
            };
            let read = match stream.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error),
            };
            tally.reads += 1;
            let bytes = buffer.get(..read).unwrap_or_default();
            if self.partial.is_empty() {
                let used = self.hear(bytes, manner, tally, now_ns)?;
                self.partial.extend(bytes.iter().skip(used));
            } else {
                let mut whole = mem::take(&mut self.partial);
                whole.extend_from_slice(bytes);
                let used = self.hear(&whole, manner, tally, now_ns)?;
                whole.drain(..used);
                self.partial = whole;
            }
            // A short read took all: edge-triggered polling tells of whatever comes later.
            if read < buffer.len() {
                return Ok(());
            }
        }
    }

    /// Takes whole frames from the front; says how many bytes those were.
    fn hear(
        &mut self,
        bytes: &[u8],
        manner: &Manner,
        tally: &mut Tally,
        now_ns: u64,
    ) -> io::Result<usize> {
        let mut rest = bytes;
        if self.stage == Stage::Upgrading {
            let Some((end, accepted)) = wire::head(bytes) else {
                return Ok(0);
            };
            if !accepted {
                tally.problem(String::from_utf8_lossy(bytes).into_owned());
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            self.greet(manner, tally)?;
            rest = bytes.get(end..).unwrap_or_default();
        }
        while let Some((opcode, payload, behind)) = wire::frame(rest) {
            rest = behind;
            match opcode {
                Opcode::Text | Opcode::Binary if manner.speech == Speech::Nats => {
                    self.hear_stream(payload, manner, tally, now_ns)?;
                }
                Opcode::Text => {
                    let heard = manner.speech.understand(payload);
                    self.act(heard, manner, tally, now_ns)?;
                }
                Opcode::Ping => {
                    let mut frame = Vec::new();
                    wire::pong(&mut frame, payload);
                    self.send(&frame)?;
                }
                Opcode::Close if self.stage == Stage::Leaving => {}
                Opcode::Close | Opcode::Binary | Opcode::Other => {
                    tally.problem(format!("{opcode:?} {:?}", String::from_utf8_lossy(payload)));
                }
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// Takes whole operations from a piece of a stream.
    fn hear_stream(
        &mut self,
        piece: &[u8],
        manner: &Manner,
        tally: &mut Tally,
        now_ns: u64,
    ) -> io::Result<()> {
        let mut stream = mem::take(&mut self.stream_rest);
        stream.extend_from_slice(piece);
        let mut used = 0;
        while let Some((heard, bytes)) = speech::nats(stream.get(used..).unwrap_or_default()) {
            used += bytes;
            self.act(heard, manner, tally, now_ns)?;
        }
        stream.drain(..used);
        self.stream_rest = stream;
        Ok(())
    }

    fn greet(&mut self, manner: &Manner, tally: &mut Tally) -> io::Result<()> {
        let mut frame = Vec::new();
        self.stage = Stage::Greeting;
        if let Some(ticket) = &self.ticket
            && manner.speech.resumes()
        {
            Speech::resume(ticket, &self.last, &mut frame);
        } else if !manner.speech.connect(&mut frame) {
            self.send(&frame)?;
            return self.subscribe(manner, tally);
        } else if manner.at_once
            && let Some(topic) = self.topic
        {
            // In one write.
            self.stage = Stage::Subscribing;
            let silent = (self.number, manner.more_topics);
            manner.speech.subscribe(topic, silent, &mut frame);
        }
        self.send(&frame)
    }

    fn subscribe(&mut self, manner: &Manner, tally: &mut Tally) -> io::Result<()> {
        let Some(topic) = self.topic else {
            self.arrive(tally);
            return Ok(());
        };
        self.stage = Stage::Subscribing;
        let mut frame = Vec::new();
        let silent = (self.number, manner.more_topics);
        manner.speech.subscribe(topic, silent, &mut frame);
        self.send(&frame)
    }

    fn act(
        &mut self,
        heard: Heard<'_>,
        manner: &Manner,
        tally: &mut Tally,
        now_ns: u64,
    ) -> io::Result<()> {
        let mut frame = Vec::new();
        match heard {
            Heard::Message { stamp, id } => {
                let topic = self.topic.unwrap_or(u32::MAX);
                self.next = tally.message(stamp, topic, self.next, now_ns);
                self.last.clear();
                self.last.extend_from_slice(id);
                self.unacknowledged += 1;
                if id.is_empty() || manner.ack_every == 0 || self.unacknowledged < manner.ack_every
                {
                    return Ok(());
                }
                return self.acknowledge();
            }
            Heard::Connected(ticket) => {
                self.ticket = Some(ticket);
                if self.stage == Stage::Subscribing {
                    return Ok(());
                }
                return self.subscribe(manner, tally);
            }
            Heard::Subscribed if self.stage == Stage::Subscribing => self.arrive(tally),
            Heard::Resumed { ticket, control } => {
                self.ticket = Some(ticket);
                tally.resumed += 1;
                Speech::acknowledge(control.as_bytes(), &mut frame);
            }
            Heard::Replayed(count) => {
                tally.replayed += count;
                self.arrive(tally);
            }
            Heard::Token { token, control } => {
                if let Some(ticket) = &mut self.ticket {
                    ticket.token = token;
                }
                Speech::acknowledge(control.as_bytes(), &mut frame);
            }
            Heard::Stored => tally.stored += 1,
            Heard::Answer(text) => wire::text(&mut frame, |out| out.extend(text)),
            Heard::Subscribed | Heard::Nothing => {}
            Heard::Problem(what) => tally.problem(what),
        }
        if frame.is_empty() {
            return Ok(());
        }
        self.send(&frame)
    }

    /// Acknowledges what came since the last time, if anything did.
    ///
    /// # Errors
    /// The socket is broken.
    pub(crate) fn acknowledge(&mut self) -> io::Result<()> {
        if self.unacknowledged == 0 || self.last.is_empty() || self.stage != Stage::Live {
            return Ok(());
        }
        self.unacknowledged = 0;
        let mut frame = Vec::new();
        Speech::acknowledge(&self.last, &mut frame);
        self.send(&frame)
    }

    const fn arrive(&mut self, tally: &mut Tally) {
        self.stage = Stage::Live;
        tally.live += 1;
    }
}
