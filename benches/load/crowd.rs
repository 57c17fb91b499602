//! All connections of a load, on one thread: the event loop.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::payload::Stamp;
use crate::peer::{Manner, Peer, Stage};
use crate::tally::Tally;
use crate::{Failure, Target, wire};

/// Bytes read at once, shared by all connections.
const READ_BYTES: usize = 256 * 1024;
/// Events taken at once.
const EVENTS: usize = 1024;
/// How the acknowledgements of one second are spread.
const ACK_SLICES: usize = 10;
const ACK_PAUSE: Duration = Duration::from_millis(100);
/// Without any progress for this long, a load has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// All connections of a load.
#[derive(Debug)]
pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) tally: Tally,
    manner: Manner,
    addresses: Vec<SocketAddr>,
    path: String,
    /// Added to a connection's number when its server is chosen.
    shift: usize,
    began: Instant,
    /// Peers that are to be opened.
    closed: VecDeque<usize>,
    /// Connections that are to be live once all are open.
    wanted: usize,
    /// When something came last.
    heard: Instant,
    /// The slice of peers that acknowledges next, and when.
    acknowledging: (usize, Instant),
    /// Peers in the order in which their heartbeats are due.
    heartbeats: VecDeque<(Instant, usize)>,
}

impl Crowd {
    /// `clients` on `topics` topics, `members` to each, and then a publisher that subscribes to
    /// nothing.
    pub(crate) fn new(target: &Target, clients: usize, topics: usize) -> Result<Self, Failure> {
        let members = (clients / topics).max(1);
        let mut peers = Vec::with_capacity(clients + 1);
        for at in 0..clients {
            let topic = u32::try_from(at % topics).unwrap_or(0);
            let phase = u32::try_from(at).unwrap_or(0) % target.ack_every.max(1);
            peers.push(Peer::new(at, Some(topic), phase));
        }
        peers.push(Peer::new(clients, None, 0));
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS),
            buffer: vec![0; READ_BYTES],
            peers,
            tally: Tally::new(topics, members as u64),
            manner: Manner {
                speech: target.speech,
                ack_every: target.ack_every,
                more_topics: target.more_topics,
                at_once: target.at_once,
            },
            addresses: target.address.clone(),
            path: target.speech.path().unwrap_or(&target.path).to_owned(),
            shift: 0,
            began: Instant::now(),
            closed: VecDeque::new(),
            wanted: 0,
            heard: Instant::now(),
            acknowledging: (0, Instant::now()),
            heartbeats: VecDeque::new(),
        })
    }

    /// The publisher that subscribes to nothing.
    pub(crate) fn publisher(&self) -> usize {
        self.peers.len() - 1
    }

    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Opens the connections of `range`, `parallel` at once. Answers how long it took.
    pub(crate) fn open(
        &mut self,
        range: std::ops::Range<usize>,
        parallel: usize,
    ) -> Result<Duration, Failure> {
        let began = Instant::now();
        self.expect_news();
        let wanted = self.tally.live + range.len();
        self.come_back(range);
        while self.tally.live < wanted {
            self.open_more(parallel)?;
            self.progress(Duration::from_millis(100))?;
        }
        Ok(began.elapsed())
    }

    /// Lets connections be opened again by [`Self::open_more`].
    pub(crate) fn come_back(&mut self, range: std::ops::Range<usize>) {
        self.wanted = self.tally.live + range.len();
        self.closed.extend(range);
    }

    /// Opens connections as long as fewer than `parallel` are on their way.
    pub(crate) fn open_more(&mut self, parallel: usize) -> Result<(), Failure> {
        // What is wanted and neither live nor waiting is on its way (or was dropped).
        let mut opening = self
            .wanted
            .saturating_sub(self.tally.live + self.closed.len());
        while opening < parallel
            && let Some(at) = self.closed.pop_front()
        {
            self.dial(at)?;
            opening += 1;
        }
        Ok(())
    }

    /// Messages that clients have not heard, of topics with so many messages each.
    pub(crate) fn behind(&self, published: &[u64]) -> u64 {
        let count = |topic: u32| published.get(usize::try_from(topic).ok()?).copied();
        self.peers
            .iter()
            .filter_map(|peer| Some(count(peer.topic?)?.saturating_sub(peer.next)))
            .sum()
    }

    /// Counts as lost what [`Self::behind`] says now.
    pub(crate) fn missing(&mut self, published: &[u64]) {
        self.tally.lost += self.behind(published);
    }

    fn dial(&mut self, at: usize) -> Result<(), Failure> {
        let server = (at + self.shift) % self.addresses.len().max(1);
        let address = *self
            .addresses
            .get(server)
            .ok_or_else(|| Failure::new("no address"))?;
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(at), both)?;
        let upgrade = wire::upgrade(&address.to_string(), &self.path);
        if let Some(peer) = self.peers.get_mut(at) {
            peer.begin(stream, &upgrade);
        }
        Ok(())
    }

    /// One turn of the loop; waits `pause` at most.
    pub(crate) fn turn(&mut self, pause: Duration) -> Result<(), Failure> {
        match self.poll.poll(&mut self.events, Some(pause)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            let Some(peer) = self.peers.get_mut(event.token().0) else {
                continue;
            };
            let now_ns = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let mut result = Ok(());
            if event.is_writable() {
                result = peer.writable();
            }
            if result.is_ok() && event.is_readable() {
                let (buffer, manner) = (&mut self.buffer, &self.manner);
                result = peer.readable(buffer, manner, &mut self.tally, now_ns);
            }
            if let Err(error) = result {
                ended(peer, &mut self.tally, &error);
            }
        }
        if self.manner.ack_every > 0 && self.acknowledging.1 <= Instant::now() {
            self.acknowledge();
        }
        self.beat()
    }

    /// Each client acknowledges once a second what it has; a tenth of them at a time.
    fn acknowledge(&mut self) {
        let (slice, due) = self.acknowledging;
        for peer in self.peers.iter_mut().skip(slice).step_by(ACK_SLICES) {
            if let Err(error) = peer.acknowledge() {
                ended(peer, &mut self.tally, &error);
            }
        }
        self.acknowledging = ((slice + 1) % ACK_SLICES, due + ACK_PAUSE);
    }

    /// Begins to wait for news, see [`Self::progress`].
    pub(crate) fn expect_news(&mut self) {
        self.heard = Instant::now();
    }

    /// As [`Self::turn`], but an error once nothing was heard for half a minute, or a connection
    /// was dropped.
    pub(crate) fn progress(&mut self, pause: Duration) -> Result<(), Failure> {
        let reads = self.tally.reads;
        self.turn(pause)?;
        if self.tally.reads != reads {
            self.heard = Instant::now();
        }
        match &self.tally.problem {
            Some(problem) if self.tally.dropped > 0 => Err(Failure::new(problem)),
            _ if self.heard.elapsed() > PATIENCE => {
                Err(Failure::new("the server says nothing any more"))
            }
            _ => Ok(()),
        }
    }

    /// Publishes a message on behalf of a peer.
    pub(crate) fn publish(
        &mut self,
        at: usize,
        stamps: &[Stamp],
        size: usize,
    ) -> Result<(), Failure> {
        let mut frames = Vec::with_capacity(stamps.len() * (size + 100));
        for stamp in stamps {
            self.manner.speech.publish(stamp, size, &mut frames);
        }
        match self.peers.get_mut(at) {
            Some(peer) if peer.stage == Stage::Live => Ok(peer.send(&frames)?),
            _ => Err(Failure::new("the publisher is not live")),
        }
    }

    /// From now on clients send the heartbeats that the server asked for.
    pub(crate) fn keep_alive(&mut self) {
        if !self.manner.speech.resumes() {
            return;
        }
        let now = Instant::now();
        let clients = u32::try_from(self.peers.len()).unwrap_or(u32::MAX);
        self.heartbeats = (0_u32..)
            .zip(self.peers.iter().enumerate())
            .filter_map(|(number, (at, peer))| {
                let interval = Duration::from_millis(peer.ticket.as_ref()?.interval_ms);
                Some((now + interval * number / clients, at))
            })
            .collect();
    }

    fn beat(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        while let Some(&(due, at)) = self.heartbeats.front()
            && due <= now
        {
            self.heartbeats.pop_front();
            let Some(peer) = self.peers.get_mut(at) else {
                continue;
            };
            if let (Stage::Live, Some(ticket)) = (peer.stage, &peer.ticket) {
                let next = due + Duration::from_millis(ticket.interval_ms);
                let mut frame = Vec::new();
                crate::speech::Speech::heartbeat(&ticket.token, &mut frame);
                peer.send(&frame)?;
                self.heartbeats.push_back((next, at));
            }
        }
        Ok(())
    }

    /// Resets the connections of `range` at once; they will come back to the next server.
    pub(crate) fn reset(&mut self, range: std::ops::Range<usize>) {
        self.shift += 1;
        for peer in self.peers.get_mut(range).unwrap_or_default() {
            self.tally.live -= usize::from(peer.stage == Stage::Live);
            peer.reset();
        }
    }

    /// Ends all sessions for good and waits for the server's answer.
    pub(crate) fn leave(&mut self) -> Result<(), Failure> {
        self.heartbeats.clear();
        for at in 0..self.peers.len() {
            if let Some(peer) = self.peers.get_mut(at)
                && let Err(error) = peer.leave()
            {
                ended(peer, &mut self.tally, &error);
            }
            if at % 64 == 63 {
                self.turn(Duration::ZERO)?;
            }
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.peers.iter().any(|peer| peer.stage != Stage::Away) && Instant::now() < deadline {
            self.turn(Duration::from_millis(50))?;
        }
        for peer in &mut self.peers {
            peer.reset();
        }
        Ok(())
    }
}

fn ended(peer: &mut Peer, tally: &mut Tally, error: &io::Error) {
    if peer.stage == Stage::Away {
        return;
    }
    if peer.stage != Stage::Leaving {
        let stage = peer.stage;
        tally.dropped(|| format!("connection ended while {stage:?}: {error}"));
    }
    tally.live -= usize::from(peer.stage == Stage::Live);
    peer.reset();
}
