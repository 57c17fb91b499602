//! The ceiling of the gateway: the same sockets and the same writes, and nothing else.
//!
//! tungstenite reads with 4 KiB; a message is framed once, its bytes are shared by the queues of
//! all subscribers, and each task writes its queue with vectored writes past tungstenite. No
//! session, no log, no acknowledgement, no bound on the queue. Same protocol as `bare`; it also
//! gives fixed answers to a client of Spark that connects, subscribes and sends heartbeats, so
//! that the round trips of these can be weighed without a gateway behind them.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::rc::Rc;
use std::task::{Poll, Waker};

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Slices of one write.
const SLICES: usize = 64;
/// Messages read before others have their turn.
const READS: usize = 32;
const READ_BYTES: usize = 4096;
const BACKLOG: u32 = 4096;

/// The answers to a client of Spark, as long as the gateway's.
const CONNECTED: &str = r#"{"type":"ws:connect_ack","data":{"ackId":"h","session_id":"04d67e2e-d630-8031-bd3e-00bc5dad3881","heartbeat_token":"AQAAAAEQDUwfRCJMhjyNhgqPjldg","heartbeat_interval":25000,"last_message_id":"0","gateway":{"node":"vm-9b1ad0c74f0d549a","version":"0.1.0","resume_window":120000,"max_message_bytes":65536}}}"#;
const SUBSCRIBED: &str = r#"{"type":"ws:ack","data":{"ackId":"s","result":{"topics":[{"topic":"bench:1","position":"0","recovered":true}],"rejected":[]}}}"#;
const ALIVE: &str = r#"{"type":"ws:heartbeat_ack","data":{}}"#;

/// Everybody on each topic.
type Topics = Rc<RefCell<HashMap<String, Vec<Rc<Seat>>>>>;

/// What waits for one connection.
#[derive(Default)]
struct Seat {
    queue: RefCell<VecDeque<Bytes>>,
    waker: RefCell<Option<Waker>>,
}

impl Seat {
    fn push(&self, frame: Bytes) {
        self.queue.borrow_mut().push_back(frame);
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The socket as tungstenite sees it: it reads, and what it writes waits with the rest.
struct Wire<'a> {
    stream: &'a TcpStream,
    out: &'a mut VecDeque<Bytes>,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.try_read(buffer)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.push_back(Bytes::copy_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Connection {
    stream: TcpStream,
    context: WebSocketContext,
    out: VecDeque<Bytes>,
    seat: Rc<Seat>,
    topics: Topics,
    joined: Option<String>,
}

fn main() -> io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let address = address.parse().map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async move {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let topics = Topics::default();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            spawn_local(upgrade(stream, Rc::clone(&topics)));
        }
    })
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(READ_BYTES)
}

/// In a task of its own: the handshake's state must not live as long as the connection.
async fn upgrade(stream: TcpStream, topics: Topics) {
    let upgraded = tokio_tungstenite::accept_async_with_config(stream, Some(config()));
    let Ok(socket) = Box::pin(upgraded).await else {
        return;
    };
    let mut connection = Connection {
        // The client says nothing before it has read the answer, so nothing was read ahead.
        stream: socket.into_inner(),
        context: WebSocketContext::new(Role::Server, Some(config())),
        out: VecDeque::new(),
        seat: Rc::default(),
        topics,
        joined: None,
    };
    spawn_local(async move {
        // How a connection ends makes no difference here.
        let _ = connection.serve().await;
        connection.leave();
    });
}

impl Connection {
    async fn serve(&mut self) -> Result<(), Error> {
        loop {
            let idle = self.read()?;
            self.out.append(&mut self.seat.queue.borrow_mut());
            self.write()?;
            if idle {
                self.wait().await;
            } else {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Reads what is there; false if there may be more.
    fn read(&mut self) -> Result<bool, Error> {
        for _ in 0..READS {
            let mut wire = Wire {
                stream: &self.stream,
                out: &mut self.out,
            };
            match self.context.read(&mut wire) {
                Ok(Message::Text(text)) => self.obey(text.as_str()),
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(true);
                }
                Err(error) => {
                    self.write()?;
                    return Err(error);
                }
            }
        }
        Ok(false)
    }

    fn obey(&mut self, text: &str) {
        if let Some(topic) = text.strip_prefix('S') {
            self.join(topic, "S");
        } else if let Some(spark) = text.strip_prefix(r#"{"type":""#) {
            self.answer(spark);
        } else if let Some((topic, payload)) =
            text.strip_prefix('P').and_then(|text| text.split_once(' '))
        {
            let frame = framed(payload);
            for seat in self.topics.borrow().get(topic).into_iter().flatten() {
                seat.push(frame.clone());
            }
        }
    }

    fn join(&mut self, topic: &str, answer: &str) {
        let mut topics = self.topics.borrow_mut();
        let seats = topics.entry(topic.to_owned()).or_default();
        seats.push(Rc::clone(&self.seat));
        self.joined = Some(topic.to_owned());
        self.out.push_back(framed(answer));
    }

    /// What follows `{"type":"` in a frame of Spark.
    fn answer(&mut self, spark: &str) {
        if spark.starts_with("topic:subscribe") {
            let named = spark.split_once(r#""topics":[""#);
            let topic = named.and_then(|(_, topics)| topics.split('"').next());
            self.join(topic.unwrap_or_default(), SUBSCRIBED);
        } else if spark.starts_with("ws:connect") {
            self.out.push_back(framed(CONNECTED));
        } else if spark.starts_with("ws:heartbeat") {
            self.out.push_back(framed(ALIVE));
        }
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut filled = 0;
            for (slice, bytes) in slices.iter_mut().zip(&self.out) {
                *slice = IoSlice::new(bytes);
                filled += 1;
            }
            let slices = slices.get(..filled).unwrap_or_default();
            match self.stream.try_write_vectored(slices) {
                Ok(written) => self.written(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        // An idle connection holds no queue.
        self.out = VecDeque::new();
        Ok(())
    }

    fn written(&mut self, mut bytes: usize) {
        while let Some(head) = self.out.front_mut() {
            if bytes < head.len() {
                drop(head.split_to(bytes));
                return;
            }
            bytes -= head.len();
            self.out.pop_front();
        }
    }

    async fn wait(&self) {
        poll_fn(|cx| {
            *self.seat.waker.borrow_mut() = Some(cx.waker().clone());
            let readable = self.stream.poll_read_ready(cx).is_ready();
            let writable = !self.out.is_empty() && self.stream.poll_write_ready(cx).is_ready();
            if readable || writable || !self.seat.queue.borrow().is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    fn leave(&self) {
        let mut topics = self.topics.borrow_mut();
        if let Some(topic) = &self.joined
            && let Some(seats) = topics.get_mut(topic)
        {
            seats.retain(|seat| !Rc::ptr_eq(seat, &self.seat));
            if seats.is_empty() {
                topics.remove(topic);
            }
        }
    }
}

/// One text frame, header and payload.
fn framed(payload: &str) -> Bytes {
    let length = payload.len();
    let mut frame = BytesMut::with_capacity(length + 10);
    frame.put_u8(0x81);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => frame.put_u8(short),
        (_, Ok(long)) => {
            frame.put_u8(126);
            frame.put_u16(long);
        }
        _ => {
            frame.put_u8(127);
            frame.put_u64(length as u64);
        }
    }
    frame.put_slice(payload.as_bytes());
    frame.freeze()
}
