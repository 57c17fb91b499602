//! Every key and channel of the store, one function each: nothing else builds one.
//!
//! All keys of a partition carry its hash tag, so one script may touch them on a cluster. What
//! people choose (topic, user, node) is always the last part, behind the tag: no name can move a
//! key to another slot or reach another kind of key.
//!
//! | key | type | expires |
//! |---|---|---|
//! | `cfg` | hash: the layout and the cluster key | never |
//! | `nodes` | hash: node to lease end and load | ten leases after the last renewal |
//! | `revoked` | sorted set: revocation by its end | with its last one |
//! | `clock` `gen` | string: newest id; run id of the server that gave it | never |
//! | `holes` | list: `S:F`, newest 16 | never |
//! | `log:` | stream: `prev` `data` `from` `meta` | after the retention age without a publish |
//! | `tip:` | string: newest id of the topic | twice the retention age |
//! | `idem:` | hash: digest to id | three buckets |
//! | `sess:` | hash: the session record | see `scripts/open.lua` |
//! | `user:` | hash: session to node | with its newest session |
//! | `node:` | set: sessions attached to a node | when it is swept empty |
//! | `hosts` | set: nodes that have a `node:` key | when they are swept |
//! | `detached` | sorted set: session by deadline | when they are swept |
//! | `outbox` | stream: events that nobody was told yet: `k` kind `n` session `t` topic `u` user | never |
//! | `outbox-turn` | string: the node that delivers them | with its turn |
//! | `outbox-dead` | stream: events that were given up | never |
//! | `pres:` | hash: session to epoch, node, user, when it went | with its last member |
//! | `online:` | hash: user to his sessions in the topic | with its last member |
//! | `seen:` | hash: user to when he was last there (`$` topics) | never |
//! | `pnode:` | set: members with a connection of a node | when it is swept empty |
//! | `phosts` | set: nodes that have a `pnode:` key | when they are swept |
//! | `leaving` | sorted set: members without a connection by deadline | when they are swept |
//! | `rec:` | hash: key to version and value of an application's record | never |
//! | `swept:` | string: the last answer of one sweeper | ten minutes |

use sparkway_protocol::{NodeId, Partition, Partitions, SessionId, TopicName, UserId};

/// One tag per slot 512, 1536, 2560, …: sixteen slots that spread evenly over 2 to 16 masters
/// (plain digits would leave masters empty).
const TAGS: [&str; Partition::MAX_COUNT] = [
    "ms3", "mws", "pt6", "arf", "mb1", "eoi", "pe4", "acd", "gxm", "ou5", "c0h", "ky8", "gio",
    "qn", "ceb", "rc2",
];

/// How many hash slots a Redis Cluster has.
pub(super) const SLOTS: u16 = 16_384;

/// The slots of all partitions that there can be.
pub(super) fn slots() -> [u16; Partition::MAX_COUNT] {
    TAGS.map(slot)
}

/// Builds keys under one prefix.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: Box<str>,
    stems: Vec<Box<str>>,
}

impl Keys {
    /// Keys of a layout under a checked prefix.
    pub(super) fn new(prefix: &str, partitions: Partitions) -> Self {
        let step = Partition::MAX_COUNT / usize::from(partitions.count());
        let tags = TAGS.iter().step_by(step.max(1));
        Self {
            prefix: prefix.into(),
            stems: tags
                .take(usize::from(partitions.count()))
                .map(|tag| format!("{prefix}:{{{tag}}}:").into_boxed_str())
                .collect(),
        }
    }

    /// What stands in front of every key.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    fn stem(&self, partition: Partition) -> &str {
        // A partition that the layout does not have reaches no data: its stem has no owner.
        self.stems
            .get(partition.index())
            .map_or("nowhere:", |stem| stem)
    }

    fn own(&self, partition: Partition, rest: &str) -> String {
        [self.stem(partition), rest].concat()
    }

    fn named(&self, partition: Partition, kind: &str, name: &str) -> String {
        [self.stem(partition), kind, name].concat()
    }

    /// `sw:cfg`: the layout of the data and the cluster key.
    pub(super) fn cfg(prefix: &str) -> String {
        format!("{prefix}:cfg")
    }

    /// `sw:nodes`: the leases of all nodes.
    pub(super) fn nodes(&self) -> String {
        format!("{}:nodes", self.prefix)
    }

    /// Channel `sw:ctl:NODE`: what other nodes tell this one.
    pub(super) fn control(&self, node: &NodeId) -> String {
        format!("{}:ctl:{node}", self.prefix)
    }

    /// `sw:revoked`: the revocations of tokens that are not over.
    pub(super) fn revoked(&self) -> String {
        format!("{}:revoked", self.prefix)
    }

    /// Channel `sw:revocations`: what was just revoked, for all nodes.
    pub(super) fn revocations(&self) -> String {
        format!("{}:revocations", self.prefix)
    }

    /// `sw:ctl:`, for scripts that learn the node inside.
    pub(super) fn control_stem(&self) -> String {
        format!("{}:ctl:", self.prefix)
    }

    /// `sw:{ms3}:clock`: the newest id of the partition.
    pub(super) fn clock(&self, partition: Partition) -> String {
        self.own(partition, "clock")
    }

    /// `sw:{ms3}:gen`: run id of the server under which the partition was last written.
    pub(super) fn generation(&self, partition: Partition) -> String {
        self.own(partition, "gen")
    }

    /// `sw:{ms3}:holes`: intervals of ids that may have been lost.
    pub(super) fn holes(&self, partition: Partition) -> String {
        self.own(partition, "holes")
    }

    /// `sw:{ms3}:idem:12345`: digests of one time bucket.
    pub(super) fn digests(&self, partition: Partition, bucket: u64) -> String {
        self.named(partition, "idem:", &bucket.to_string())
    }

    /// `sw:{ms3}:log:room:1`: the log of a topic.
    pub(super) fn log(&self, partition: Partition, topic: &TopicName) -> String {
        self.named(partition, "log:", topic.as_str())
    }

    /// `sw:{ms3}:tip:room:1`: the newest id of a topic.
    pub(super) fn tip(&self, partition: Partition, topic: &TopicName) -> String {
        self.named(partition, "tip:", topic.as_str())
    }

    /// `sw:{ms3}:tip:`, what stands before the topic in the key of its tip.
    pub(super) fn tip_stem(&self, partition: Partition) -> String {
        self.own(partition, "tip:")
    }

    /// Channel `sw:{ms3}:ch:room:1`: the announcements of a topic.
    pub(super) fn channel(&self, partition: Partition, topic: &TopicName) -> String {
        self.named(partition, "ch:", topic.as_str())
    }

    /// `sw:{ms3}:ch:`, what stands before the topic in a channel. The channel without a topic says
    /// which holes of the partition grew.
    pub(super) fn channel_stem(&self, partition: Partition) -> String {
        self.own(partition, "ch:")
    }

    /// `sw:{ms3}:sess:UUID`: a session record.
    pub(super) fn session(&self, session: SessionId) -> String {
        self.named(session.partition(), "sess:", &session.to_string())
    }

    /// `sw:{ms3}:sess:`, for scripts that learn the session inside.
    pub(super) fn session_stem(&self, partition: Partition) -> String {
        self.own(partition, "sess:")
    }

    /// `sw:{ms3}:user:ID`: the sessions of a user in this partition.
    pub(super) fn user(&self, partition: Partition, user: &UserId) -> String {
        self.named(partition, "user:", user.as_str())
    }

    /// `sw:{ms3}:user:`, for scripts that learn the user inside.
    pub(super) fn user_stem(&self, partition: Partition) -> String {
        self.own(partition, "user:")
    }

    /// `sw:{ms3}:node:`: in front of a node id, the sessions attached to that node.
    pub(super) fn node_stem(&self, partition: Partition) -> String {
        self.own(partition, "node:")
    }

    /// `sw:{ms3}:hosts`: the nodes that have sessions in this partition.
    pub(super) fn hosts(&self, partition: Partition) -> String {
        self.own(partition, "hosts")
    }

    /// `sw:{ms3}:detached`: sessions without a connection, by deadline.
    pub(super) fn detached(&self, partition: Partition) -> String {
        self.own(partition, "detached")
    }

    /// `sw:{ms3}:outbox`: events that nobody was told yet.
    pub(super) fn outbox(&self, partition: Partition) -> String {
        self.own(partition, "outbox")
    }

    /// `sw:{ms3}:outbox-turn`: the node that delivers them.
    pub(super) fn outbox_turn(&self, partition: Partition) -> String {
        self.own(partition, "outbox-turn")
    }

    /// `sw:{ms3}:outbox-dead`: events that were given up.
    pub(super) fn outbox_dead(&self, partition: Partition) -> String {
        self.own(partition, "outbox-dead")
    }

    /// `sw:{ms3}:rec:chat-users`: the records of a kind.
    pub(super) fn records(&self, partition: Partition, kind: &str) -> String {
        self.named(partition, "rec:", kind)
    }

    /// `sw:{ms3}:pres:`: in front of a topic, its members.
    pub(super) fn members_stem(&self, partition: Partition) -> String {
        self.own(partition, "pres:")
    }

    /// `sw:{ms3}:online:`: in front of a topic, the users in it.
    pub(super) fn online_stem(&self, partition: Partition) -> String {
        self.own(partition, "online:")
    }

    /// `sw:{ms3}:online:room:1`: the users in a topic.
    pub(super) fn online(&self, partition: Partition, topic: &TopicName) -> String {
        self.named(partition, "online:", topic.as_str())
    }

    /// `sw:{ms3}:seen:`: in front of a topic, when users were last in it.
    pub(super) fn seen_stem(&self, partition: Partition) -> String {
        self.own(partition, "seen:")
    }

    /// `sw:{ms3}:seen:$chat`: when users were last in a topic of the gateway.
    pub(super) fn seen(&self, partition: Partition, topic: &TopicName) -> String {
        self.named(partition, "seen:", topic.as_str())
    }

    /// `sw:{ms3}:pnode:`: in front of a node id, the members with a connection of that node.
    pub(super) fn member_node_stem(&self, partition: Partition) -> String {
        self.own(partition, "pnode:")
    }

    /// `sw:{ms3}:phosts`: the nodes that have members in this partition.
    pub(super) fn member_hosts(&self, partition: Partition) -> String {
        self.own(partition, "phosts")
    }

    /// `sw:{ms3}:leaving`: members without a connection, by deadline.
    pub(super) fn leaving(&self, partition: Partition) -> String {
        self.own(partition, "leaving")
    }

    /// `sw:{ms3}:swept:1f…`: what one sweeper was answered last, in case the answer got lost.
    pub(super) fn swept(&self, partition: Partition, sweeper: u64) -> String {
        self.named(partition, "swept:", &format!("{sweeper:016x}"))
    }
}

/// The hash slot of a key on a Redis Cluster: CRC16 of its tag, or of all of it without one.
pub(super) fn slot(key: &str) -> u16 {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map_or(key, |(tag, _)| if tag.is_empty() { key } else { tag });
    crc16(tag.as_bytes()) % SLOTS
}

/// CRC-16/XMODEM: polynomial 0x1021, start 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sixteen() -> Keys {
        Keys::new("sw", Partitions::new(16).unwrap())
    }

    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(slot("foo"), 12_182);
        assert_eq!(slot("{user1000}.following"), slot("user1000"));
        assert_eq!(slot("foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot("foo{{bar}}zap"), crc16(b"{bar") % SLOTS);
    }

    #[test]
    fn partitions_stand_in_evenly_spaced_slots() {
        let keys = sixteen();
        for (at, partition) in Partitions::new(16).unwrap().iter().enumerate() {
            let at = u16::try_from(at).unwrap();
            assert_eq!(slot(&keys.clock(partition)), 512 + at * 1024);
        }
        let two = Keys::new("sw", Partitions::new(2).unwrap());
        let second = Partition::new(1).unwrap();
        assert_eq!(slot(&two.clock(second)), 8704);
    }

    #[test]
    fn names_with_braces_stay_in_their_partition_and_kind() {
        let keys = sixteen();
        let partition = Partition::new(5).unwrap();
        for name in ["}{x}", "{ms3}", "a*b", "log:x", "clock"] {
            let topic = TopicName::parse(name).unwrap();
            for key in [
                keys.log(partition, &topic),
                keys.tip(partition, &topic),
                keys.channel(partition, &topic),
            ] {
                assert_eq!(slot(&key), slot(&keys.clock(partition)), "{key}");
                assert!(key.ends_with(name));
            }
        }
        let topic = TopicName::parse("room:1").unwrap();
        assert_eq!(
            keys.log(Partition::default(), &topic),
            "sw:{ms3}:log:room:1"
        );
    }
}
