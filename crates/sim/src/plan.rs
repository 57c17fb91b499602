//! A schedule as data: who is there, what they do and when, and what breaks.

use crate::dice::Dice;

/// Everything that a run does. Two runs of one plan are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where it comes from; delays and losses are drawn from it.
    pub seed: u64,
    /// Nodes.
    pub nodes: usize,
    /// Hubs per node: threads of a real one.
    pub workers: usize,
    /// Partitions of the data.
    pub partitions: u8,
    /// Topics.
    pub topics: usize,
    /// Entries that a log keeps, where it keeps few.
    pub kept: Option<u32>,
    /// Entries that a ring keeps.
    pub ring: usize,
    /// Entries per page.
    pub page: usize,
    /// Bytes that wait for a connection.
    pub outbox: usize,
    /// Bytes that fit into a connection's pipe.
    pub pipe: usize,
    /// Bytes of filling in a message.
    pub filling: usize,
    /// How slowly everything goes.
    pub pace: Pace,
    /// What each client does.
    pub clients: Vec<Script>,
    /// What breaks, and when (milliseconds).
    pub faults: Vec<(u64, Fault)>,
}

/// How slowly everything goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Chances in a thousand that a step of a slow task is held up.
    pub hold: u32,
    /// Chances in a thousand that a call of the store takes time, each way.
    pub store: u32,
    /// Chances in a thousand that an announcement takes time.
    pub feed: u32,
    /// Chances in a thousand that a client takes its time.
    pub client: u32,
    /// Chances in a thousand that a call of the store fails, done or not.
    pub fails: u32,
    /// The longest of these times, in milliseconds.
    pub longest: u64,
}

/// What a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// It names only its newest id on resume, not one per partition.
    pub names_one: bool,
    /// Each with its time in milliseconds.
    pub moves: Vec<(u64, Move)>,
}

/// Something that a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// Follows a topic.
    Follow(usize),
    /// Follows a topic no longer.
    Leave(usize),
    /// Publishes in a topic, so many messages at once.
    Publish(usize, u32),
    /// Its connection is cut; it resumes.
    Cut,
    /// Its connection goes silent both ways; it resumes elsewhere.
    Freeze,
    /// It resumes elsewhere, and goes on listening and publishing on the old connection.
    Haunt,
    /// Reads nothing for so many milliseconds.
    Stall(u64),
}

/// Something that breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A node dies, and another takes its place after so many milliseconds.
    Kill {
        /// Which.
        node: usize,
        /// For how long.
        ms: u64,
    },
    /// A node stands still for so many milliseconds.
    Stop {
        /// Which.
        node: usize,
        /// For how long.
        ms: u64,
    },
    /// A node's feeds lose their connection for so many milliseconds.
    Deafen {
        /// Which.
        node: usize,
        /// For how long.
        ms: u64,
    },
    /// A node's next announcement is lost although its connection holds. Drawn where a partition
    /// has one topic only: with several, nothing shows the loss before the topic's next entry.
    LosePush {
        /// Which.
        node: usize,
    },
    /// The store answers a node nothing for so many milliseconds.
    Part {
        /// Which.
        node: usize,
        /// For how long.
        ms: u64,
    },
    /// The store loses its newest entries.
    Rewind {
        /// How many of a partition.
        entries: usize,
    },
    /// All connections are cut at once.
    CutAll,
}

/// How long clients act, in milliseconds.
const ACTING_MS: u64 = 1200;
/// How long a fault lasts at most, in milliseconds.
pub const LONGEST_MS: u64 = 700;

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let dice = Dice::new(seed);
        let nodes = 1 + dice.index(3);
        let topics = 1 + dice.index(3);
        let partitions = if dice.happens(150) { 2 } else { 1 };
        let kept = dice.happens(150).then(|| dice.of(2..8));
        let small = dice.happens(350);
        let mut plan = Self {
            seed,
            nodes,
            workers: 1 + dice.index(2),
            partitions,
            topics,
            kept: kept.map(|kept| u32::try_from(kept).unwrap_or(8)),
            ring: if small { 2 } else { 4 + dice.index(60) },
            page: if small { 2 } else { 4 + dice.index(60) },
            outbox: if dice.happens(300) { 600 } else { 64 << 10 },
            pipe: if dice.happens(300) { 256 } else { 16 << 10 },
            filling: if dice.happens(300) { 120 } else { 2 },
            pace: Pace {
                hold: *dice.one(&[0, 30, 120, 300]).unwrap_or(&0),
                store: *dice.one(&[0, 100, 400, 800]).unwrap_or(&0),
                feed: *dice.one(&[0, 100, 400]).unwrap_or(&0),
                client: *dice.one(&[0, 0, 100, 300]).unwrap_or(&0),
                fails: *dice.one(&[0, 0, 0, 30, 120]).unwrap_or(&0),
                longest: *dice.one(&[10, 60, 150]).unwrap_or(&10),
            },
            clients: Vec::new(),
            faults: Vec::new(),
        };
        let clients = 2 + dice.index(3);
        plan.clients = (0..clients).map(|_| plan.script(&dice)).collect();
        plan.faults = plan.breakages(&dice);
        let rewinds = |(_, fault): &(u64, Fault)| matches!(fault, Fault::Rewind { .. });
        if plan.faults.iter().any(rewinds) {
            // Who follows a topic no longer is not told what of it is gone.
            for client in &mut plan.clients {
                client
                    .moves
                    .retain(|(_, what)| !matches!(what, Move::Leave(_)));
            }
        }
        plan
    }

    fn script(&self, dice: &Dice) -> Script {
        let mut moves = Vec::new();
        for topic in 0..self.topics {
            if dice.happens(700) {
                moves.push((dice.of(0..ACTING_MS / 3), Move::Follow(topic)));
            }
        }
        for _ in 0..4 + dice.index(10) {
            let topic = dice.index(self.topics);
            let what = match dice.of(0..100) {
                0..60 => Move::Publish(topic, if dice.happens(150) { 5 } else { 1 }),
                60..68 => Move::Follow(topic),
                68..73 => Move::Leave(topic),
                73..85 => Move::Cut,
                85..89 => Move::Freeze,
                89..94 => Move::Haunt,
                _ => Move::Stall(dice.of(50..600)),
            };
            moves.push((dice.of(0..ACTING_MS), what));
        }
        moves.sort_by_key(|(at, _)| *at);
        Script {
            names_one: self.partitions > 1 && dice.happens(300),
            moves,
        }
    }

    fn breakages(&self, dice: &Dice) -> Vec<(u64, Fault)> {
        if dice.happens(250) {
            return Vec::new();
        }
        let mut faults = Vec::new();
        // What the store loses is told, but it excuses much: most plans do without.
        let may_lose = dice.happens(200);
        for _ in 0..=dice.index(4) {
            let (node, ms) = (dice.index(self.nodes), dice.of(10..LONGEST_MS));
            let fault = match dice.of(0..100) {
                30..45 => Fault::Kill { node, ms },
                45..60 => Fault::Stop { node, ms },
                60..72 => Fault::Part { node, ms },
                72..80 => Fault::CutAll,
                80..88 if self.topics == 1 => Fault::LosePush { node },
                88..100 if may_lose => Fault::Rewind {
                    entries: 1 + dice.index(4),
                },
                _ => Fault::Deafen { node, ms },
            };
            faults.push((dice.of(0..ACTING_MS), fault));
        }
        faults.sort_by_key(|(at, _)| *at);
        faults
    }
}
