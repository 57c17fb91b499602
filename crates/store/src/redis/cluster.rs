//! Which master of a cluster serves which slots.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::dial::Dialer;
use super::link::run_id_of;
use super::resp::Value;
use super::subscriber::is_master;
use super::url::Address;
use super::wire::{Login, Wire};
use crate::StoreError;

/// The longest that one node is waited for.
const ASK_DEADLINE: Duration = Duration::from_millis(500);

/// Most nodes that are asked at once.
const ASKED_MAX: usize = 64;

/// Ranges of slots and their masters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SlotMap {
    ranges: Vec<(u16, u16, Address)>,
}

impl SlotMap {
    /// A map of these ranges.
    #[cfg(test)]
    pub(super) fn of(ranges: impl IntoIterator<Item = (u16, u16, Address)>) -> Self {
        Self {
            ranges: ranges.into_iter().collect(),
        }
    }

    /// The master of a slot.
    pub(super) fn master(&self, slot: u16) -> Option<&Address> {
        let serves = |range: &&(u16, u16, Address)| (range.0..=range.1).contains(&slot);
        self.ranges.iter().find(serves).map(|range| &range.2)
    }

    /// Every master, once.
    pub(super) fn masters(&self) -> BTreeSet<&Address> {
        self.ranges.iter().map(|range| &range.2).collect()
    }

    /// Whether the address serves any slot.
    pub(super) fn has(&self, address: &Address) -> bool {
        self.ranges.iter().any(|range| range.2 == *address)
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

/// What one node of a cluster says of the cluster and of itself.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Where it was asked.
    pub(super) node: Address,
    /// Names its process.
    pub(super) run_id: Box<str>,
    /// Whether the cluster works, and its epoch.
    pub(super) age: Age,
    /// Who serves what.
    pub(super) map: SlotMap,
    /// Whether it is a master. Asked last: a master that loses its slots to its replica becomes
    /// one at once.
    pub(super) is_master: bool,
}

impl View {
    /// Whether the node may be believed in what it says of itself: it is a master of slots in a
    /// cluster that works.
    pub(super) fn is_of_master(&self) -> bool {
        self.is_master && self.age.0 && self.map.has(&self.node)
    }
}

/// How much a view is worth: whether the cluster works in it, and its epoch.
pub(super) type Age = (bool, u64);

/// Asks nodes at once; who does not answer in time is left out.
pub(super) async fn ask_all(dialer: &Dialer, nodes: &[&Address]) -> Vec<View> {
    let asked = nodes.iter().take(ASKED_MAX).map(|node| ask(dialer, node));
    join_all(asked).await.into_iter().flatten().collect()
}

/// The newest view among some: a node that was cut off from the others answers too.
pub(super) fn newest(views: &[View]) -> Option<SlotMap> {
    let newest = views.iter().max_by_key(|view| view.age);
    newest.map(|view| view.map.clone())
}

/// Asks one node.
pub(super) async fn ask(dialer: &Dialer, node: &Address) -> Option<View> {
    if let Ok(Ok(Some(view))) = timeout(ASK_DEADLINE, question(dialer, node)).await {
        return Some(view);
    }
    tracing::debug!(%node, "cluster node does not tell its slots");
    None
}

async fn question(dialer: &Dialer, node: &Address) -> Result<Option<View>, StoreError> {
    let mut wire = Wire::connect(dialer, node, Login::NoDatabase).await?;
    // In one write, and answered in this order.
    wire.queue(&[b"INFO", b"server"]);
    wire.queue(&[b"CLUSTER", b"INFO"]);
    wire.queue(&[b"CLUSTER", b"SLOTS"]);
    wire.queue(&[b"ROLE"]);
    wire.flush().await?;
    let run_id = wire.answer(|info| run_id_of(info.text()?)).await?;
    let age = wire
        .answer(|info| age_in(std::str::from_utf8(info.text()?).ok()?))
        .await?;
    let map = wire.answer(|slots| SlotMap::read(slots, node)).await?;
    let is_master = wire.answer(|role| Some(is_master(role))).await? == Some(true);
    let view = |((run_id, age), map)| View {
        node: node.clone(),
        run_id,
        age,
        map,
        is_master,
    };
    Ok(run_id.zip(age).zip(map).map(view))
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
