//! Reads the logs as any client can.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chaos::checker::history::{Key, Stored, Topic};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::member::Field;
use crate::wire::{Heard, Wire};

/// Messages per page.
const PAGE: usize = 500;

/// How long it is tried again: a node that has just been overrun turns newcomers away.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(500);

/// The logs of these topics, oldest entry first.
pub(crate) async fn logs(
    field: &Field,
    topics: &[Topic],
) -> anyhow::Result<BTreeMap<Topic, Vec<Stored>>> {
    let end = Instant::now() + PATIENCE;
    // Any node can be asked: one of them may be worn out.
    let mut ports = field.ports.iter().copied().cycle();
    loop {
        match read(ports.next().context("a port")?, topics).await {
            Err(_) if Instant::now() < end => sleep(PAUSE).await,
            read => return read,
        }
    }
}

async fn read(port: u16, topics: &[Topic]) -> anyhow::Result<BTreeMap<Topic, Vec<Stored>>> {
    let (heard, mut hearing) = mpsc::channel(8);
    let wire = Wire::dial(port, 0, heard).await?;
    wire.send(&json!({"type": "ws:connect", "data": {}}));
    let mut logs = BTreeMap::new();
    for topic in topics {
        let mut log: Vec<Stored> = Vec::new();
        loop {
            let after = log.last().map_or(0, |last| last.id).to_string();
            let data = json!({"topic": **topic, "after": after, "limit": PAGE});
            wire.send(&json!({"type": "topic:history", "id": "h", "data": data}));
            let page = answer(&mut hearing).await?;
            let messages = page["messages"].as_array().context("messages")?;
            log.extend(messages.iter().filter_map(stored));
            // A page may end early where its messages are large.
            if messages.is_empty() || page["complete"] == true {
                break;
            }
        }
        logs.insert(topic.clone(), log);
    }
    Ok(logs)
}

fn stored(message: &Value) -> Option<Stored> {
    let id = message["id"].as_str()?.parse().ok()?;
    let number = |at: usize| u32::try_from(message["data"][at].as_u64()?).ok();
    let key = Key {
        publisher: number(0)?,
        number: number(1)?,
    };
    Some(Stored { id, key })
}

async fn answer(hearing: &mut mpsc::Receiver<(u32, Heard)>) -> anyhow::Result<Value> {
    loop {
        let heard = timeout(Duration::from_secs(10), hearing.recv()).await?;
        match heard.context("the connection ended")?.1 {
            Heard::Frame(frame) if frame["data"]["ackId"] == "h" => {
                if frame["type"] != "ws:ack" {
                    bail!("history was refused: {frame}");
                }
                return Ok(frame["data"]["result"].clone());
            }
            Heard::Frame(_) => {}
            Heard::Closed(code) => bail!("the connection ended with {code:?}"),
        }
    }
}
