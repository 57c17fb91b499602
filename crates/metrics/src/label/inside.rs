//! Labels of what happens inside.

use super::Label;

labels! {
    /// What became of a message for one connection.
    Delivery "result" {
        /// In its outbox.
        Queued = "queued",
        /// Not, because the outbox was full; it is fed from the log.
        DroppedSlow = "dropped_slow",
        /// Not, because the connection is closing.
        DroppedClosed = "dropped_closed",
    }
    /// By which way a message reached a connection.
    DeliverySource "source" {
        /// The feed.
        Live = "live",
        /// The log, after a gap.
        Repair = "repair",
        /// The log or the ring, after a resume.
        Replay = "replay",
    }
    /// Whether a message had to be encoded.
    EncodeResult "result" {
        /// No: another connection of the same format had it already.
        Shared = "shared",
        /// Yes.
        Fresh = "fresh",
    }
    /// What is done with a connection whose outbox is full.
    SlowAction "action" {
        /// Fed from the log until it has caught up.
        Coalesced = "coalesced",
        /// Something that is not kept was left out.
        Dropped = "dropped",
        /// Closed.
        Disconnected = "disconnected",
    }
    /// What happened to a user in a topic.
    PresenceWord "change" {
        /// He came.
        Join = "join",
        /// He left.
        Leave = "leave",
        /// He stayed away for too long.
        Timeout = "timeout",
    }
    /// How a repair of a gap ended.
    RepairResult "result" {
        /// Everything was found.
        Ok = "ok",
        /// Part of it is gone from the log.
        Trimmed = "trimmed",
        /// Given up.
        Failed = "failed",
    }
    /// What the store asked Redis for, in the words of the `Store` trait.
    RedisOp "op" {
        /// Append to logs.
        Append = "append",
        /// Announce what is not kept.
        Announce = "announce",
        /// Read forward.
        Read = "read",
        /// Read a page.
        History = "history",
        /// Newest id of a topic.
        Tip = "tip",
        /// Newest id of a partition.
        Clock = "clock",
        /// Intervals that may be lost.
        Holes = "holes",
        /// Create a session.
        Open = "open",
        /// Read a session.
        Load = "load",
        /// Take a session over.
        Claim = "claim",
        /// Write changes of a session.
        Remember = "remember",
        /// Write a session again.
        Restore = "restore",
        /// Mark sessions as without connection.
        Detach = "detach",
        /// End a session.
        End = "end",
        /// Renew or give up the node's lease.
        Lease = "lease",
        /// Read the leases.
        Nodes = "nodes",
        /// Expire sessions.
        Sweep = "sweep",
        /// Everything else: checks at a connection, pings.
        Setup = "setup",
    }
    /// How a command of Redis ended.
    CommandResult "result" {
        /// Answered.
        Ok = "ok",
        /// Not answered in time.
        Timeout = "timeout",
        /// The slot moved to another node.
        Moved = "moved",
        /// The script was not loaded.
        NoScript = "noscript",
        /// Redis is out of memory.
        OutOfMemory = "oom",
        /// Redis is loading its data.
        Loading = "loading",
        /// Redis is a replica.
        ReadOnly = "readonly",
        /// No connection.
        Connection = "connection",
        /// Anything else.
        Error = "error",
    }
    /// What a connection to Redis is for.
    RedisRole "role" {
        /// Commands.
        Command = "command",
        /// The feed.
        Pubsub = "pubsub",
    }
    /// Whether a connection to Redis works.
    LinkState "state" {
        /// It does.
        Up = "up",
        /// It is being made again.
        Down = "down",
    }
    /// What became of a message of the feed.
    BusResult "result" {
        /// Handed on.
        Delivered = "delivered",
        /// Nobody here follows its topic any more.
        NoSubscriber = "no_subscriber",
        /// Seen before.
        Duplicate = "duplicate",
        /// Something before it is missing.
        Gap = "gap",
    }
    /// What became of a finished span.
    SpanResult "result" {
        /// It waits for its export.
        Queued = "queued",
        /// There was no room for it.
        Dropped = "dropped",
    }
    /// What a node is doing.
    NodeState "state" {
        /// Not ready yet.
        Starting = "starting",
        /// Serving.
        Ready = "ready",
        /// Going away.
        Draining = "draining",
        /// Gone.
        Stopped = "stopped",
    }
    /// What always holds in a node.
    Invariant "invariant" {
        /// A worker gets the entries of a partition in id order.
        PartitionOrder = "partition_order",
        /// What is handed on of a topic continues what was handed on before.
        TopicChain = "topic_chain",
        /// A session goes live no earlier than behind what it was given.
        SeatPosition = "seat_position",
        /// The epoch of a session never falls.
        EpochRises = "epoch_rises",
    }
    /// How a drain closes connections.
    DrainPhase "phase" {
        /// At its rate.
        Paced = "paced",
        /// All that are left, at the deadline.
        Forced = "forced",
    }
}
