//! A broadcast server as it is usually written with tokio-tungstenite: a task for each connection,
//! a channel of messages to each, one `send` per message, buffers as they come.
//!
//! `S<topic>` subscribes and is answered `S`; `P<topic> <payload>` sends the payload to everybody
//! on the topic. The argument is the address to listen on.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// Who is on which topic, by number of connection.
#[derive(Clone, Default)]
struct Topics(Arc<Mutex<HashMap<String, Vec<Subscriber>>>>);

struct Subscriber {
    connection: u64,
    outbox: UnboundedSender<Message>,
}

impl Topics {
    fn subscribe(&self, topic: &str, subscriber: Subscriber) {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        topics.entry(topic.to_owned()).or_default().push(subscriber);
    }

    fn publish(&self, topic: &str, payload: &str) {
        let payload = Utf8Bytes::from(payload);
        let topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for subscriber in topics.get(topic).into_iter().flatten() {
            // One that is about to leave hears nothing.
            let _ = subscriber.outbox.send(Message::Text(payload.clone()));
        }
    }

    fn leave(&self, connection: u64) {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        topics.retain(|_, subscribers| {
            subscribers.retain(|subscriber| subscriber.connection != connection);
            !subscribers.is_empty()
        });
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    // One core is what it gets; more threads would only cost it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind(address).await?;
        let topics = Topics::default();
        let mut connection = 0;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            connection += 1;
            tokio::spawn(serve(stream, connection, topics.clone()));
        }
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "an unbounded channel is part of how it is usually written"
)]
async fn serve(stream: TcpStream, connection: u64, topics: Topics) {
    let (sender, receiver) = unbounded_channel();
    let subscriber = |outbox: &UnboundedSender<Message>| Subscriber {
        connection,
        outbox: outbox.clone(),
    };
    // How a connection ends makes no difference here.
    let _ = converse(stream, &topics, receiver, || subscriber(&sender)).await;
    topics.leave(connection);
}

async fn converse(
    stream: TcpStream,
    topics: &Topics,
    mut outbox: UnboundedReceiver<Message>,
    subscriber: impl Fn() -> Subscriber,
) -> Result<(), Error> {
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    if let Some(topic) = text.strip_prefix('S') {
                        topics.subscribe(topic, subscriber());
                        socket.send(Message::text("S")).await?;
                    } else if let Some((topic, payload)) =
                        text.strip_prefix('P').and_then(|text| text.split_once(' '))
                    {
                        topics.publish(topic, payload);
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            message = outbox.recv() => match message {
                Some(message) => socket.send(message).await?,
                None => return Ok(()),
            },
        }
    }
}
