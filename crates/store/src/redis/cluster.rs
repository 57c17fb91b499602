//! Which master of a cluster serves which slots.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::dial::Dialer;
use super::resp::Value;
use super::url::Address;
use super::wire::{Login, Wire};
use crate::StoreError;

/// The longest that one node is waited for.
const ASK_DEADLINE: Duration = Duration::from_millis(500);

/// Most nodes that are asked at once.
const ASKED_MAX: usize = 16;

/// Ranges of slots and their masters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SlotMap {
    ranges: Vec<(u16, u16, Address)>,
}

impl SlotMap {
    /// The master of a slot.
    pub(super) fn master(&self, slot: u16) -> Option<&Address> {
        let serves = |range: &&(u16, u16, Address)| (range.0..=range.1).contains(&slot);
        self.ranges.iter().find(serves).map(|range| &range.2)
    }

    /// Every master, once per range.
    pub(super) fn masters(&self) -> impl Iterator<Item = &Address> {
        self.ranges.iter().map(|range| &range.2)
    }

    /// Whether the address serves any slot.
    pub(super) fn has(&self, address: &Address) -> bool {
        self.masters().any(|master| master == address)
    }

    /// Reads the answer to CLUSTER SLOTS. A node that does not know its own name is where it was
    /// asked.
    fn read(answer: &Value<'_>, asked: &Address) -> Option<Self> {
        let mut ranges = Vec::new();
        for range in answer.list()? {
            let [Value::Integer(first), Value::Integer(last), master, ..] = range.list()? else {
                return None;
            };
            let [host, Value::Integer(port), ..] = master.list()? else {
                return None;
            };
            let host = match host.text() {
                None | Some(b"" | b"?") => asked.host.clone(),
                Some(host) => std::str::from_utf8(host).ok()?.into(),
            };
            let port = u16::try_from(*port).ok()?;
            let first = u16::try_from(*first).ok()?;
            let last = u16::try_from(*last).ok()?;
            ranges.push((first, last, Address { host, port }));
        }
        (!ranges.is_empty()).then_some(Self { ranges })
    }
}

/// Asks nodes at once and takes the newest view among the answers: a node that was cut off from
/// the others answers too.
pub(super) async fn ask_slots(dialer: &Dialer, nodes: &[&Address]) -> Option<SlotMap> {
    let asked = nodes.iter().take(ASKED_MAX).map(|node| ask(dialer, node));
    let answers = join_all(asked).await.into_iter().flatten();
    answers.max_by_key(|(age, _)| *age).map(|(_, map)| map)
}

/// How much a view is worth: whether the cluster works in it, and its epoch.
type Age = (bool, u64);

async fn ask(dialer: &Dialer, node: &Address) -> Option<(Age, SlotMap)> {
    let asked = async {
        let mut wire = Wire::connect(dialer, node, Login::NoDatabase).await?;
        let age = wire.ask(&[b"CLUSTER", b"INFO"], |info| {
            age_in(std::str::from_utf8(info.text()?).ok()?)
        });
        let age = age.await?;
        let slots: [&[u8]; 2] = [b"CLUSTER", b"SLOTS"];
        let map = wire.ask(&slots, |answer| SlotMap::read(answer, node));
        Ok::<_, StoreError>(age.zip(map.await?))
    };
    if let Ok(Ok(Some(found))) = timeout(ASK_DEADLINE, asked).await {
        return Some(found);
    }
    tracing::debug!(%node, "cluster node does not tell its slots");
    None
}

fn age_in(info: &str) -> Option<Age> {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
    let works = field("cluster_state:")? == "ok";
    let epoch = field("cluster_current_epoch:")?.parse().ok()?;
    Some((works, epoch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::resp::{Parsed, parse};

    #[test]
    fn working_view_with_the_newest_epoch_is_worth_most() {
        let cut_off = "cluster_state:fail\r\ncluster_current_epoch:9\r\n";
        let old = "cluster_state:ok\r\ncluster_current_epoch:6\r\n";
        let new = "cluster_state:ok\r\ncluster_current_epoch:7\r\n";
        let ages = [cut_off, old, new].map(|info| age_in(info).unwrap());
        assert!(ages.is_sorted());
    }

    #[test]
    fn slots_are_read_with_unknown_hosts_filled_in() {
        let answer = b"*2\r\n*3\r\n:0\r\n:5460\r\n*3\r\n$0\r\n\r\n:7000\r\n$2\r\nid\r\n\
            *4\r\n:5461\r\n:16383\r\n*3\r\n$1\r\nh\r\n:7001\r\n$2\r\nid\r\n*2\r\n$1\r\nr\r\n:1\r\n";
        let Ok(Parsed::Value(value, _)) = parse(answer) else {
            panic!("not a value");
        };
        let asked = Address {
            host: "seed".into(),
            port: 1,
        };
        let map = SlotMap::read(&value, &asked).unwrap();
        assert_eq!(map.master(5460).unwrap().to_string(), "seed:7000");
        assert_eq!(map.master(5461).unwrap().to_string(), "h:7001");
        assert_eq!(map.master(16384), None);
    }
}
