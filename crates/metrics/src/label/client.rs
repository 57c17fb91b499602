//! Labels of what clients do.

use super::Label;

labels! {
    /// How a handshake ended.
    HandshakeResult "result" {
        /// A connection.
        Ok = "ok",
        /// No valid upgrade request.
        BadRequest = "bad_request",
        /// `Origin` is not allowed.
        Origin = "origin",
        /// Bad or missing credential.
        Auth = "auth",
        /// Over a limit of connections or handshakes.
        Limit = "limit",
        /// The node is going away.
        Draining = "draining",
        /// Sent to another node.
        Rebalance = "rebalance",
        /// Too slow.
        Timeout = "timeout",
        /// The first frame was wrong.
        Protocol = "protocol",
    }
    /// What became of a new certificate.
    ReloadResult "result" {
        /// New connections get it.
        Ok = "ok",
        /// It cannot be used.
        Failed = "failed",
    }
    /// What a connection begins with.
    Opening "result" {
        /// A new session.
        New = "new",
        /// A session taken up again.
        Resumed = "resumed",
    }
    /// Who ended a connection.
    Initiator "initiator" {
        /// The client sent a close.
        Client = "client",
        /// The gateway sent a close.
        Server = "server",
        /// Nobody: the TCP connection was lost.
        Network = "network",
    }
    /// The code of a close.
    CloseCode "code" {
        /// 1000
        Normal = "1000",
        /// 1001
        GoingAway = "1001",
        /// 1002
        ProtocolError = "1002",
        /// 1003
        UnsupportedData = "1003",
        /// 1006: no close frame.
        Abnormal = "1006",
        /// 1007
        InvalidPayload = "1007",
        /// 1008
        Policy = "1008",
        /// 1009
        TooLarge = "1009",
        /// 1011
        Internal = "1011",
        /// 1012
        Restart = "1012",
        /// 1013
        TryAgain = "1013",
        /// 4001
        ChatNoToken = "4001",
        /// 4002
        ChatBadToken = "4002",
        /// 4003
        ChatNoUser = "4003",
        /// 4004
        ChatServerError = "4004",
        /// 4005
        ChatReplaced = "4005",
        /// 4007
        BadHeartbeatToken = "4007",
        /// 4009
        Superseded = "4009",
        /// 4010
        TokenExpired = "4010",
        /// 4011
        Disconnected = "4011",
        /// 4100
        RateLimited = "4100",
        /// 4101
        WriteTimeout = "4101",
        /// 4200
        SessionLost = "4200",
        /// 4400
        UnsupportedVersion = "4400",
        /// Any other one, which clients may choose freely.
        Other = "other",
    }
    /// Which way, seen from the gateway.
    Direction "direction" {
        /// From clients.
        In = "in",
        /// To clients.
        Out = "out",
    }
    /// The kind of a WebSocket frame.
    Opcode "opcode" {
        /// Part of a message that goes on.
        Continuation = "continuation",
        /// Text.
        Text = "text",
        /// Binary.
        Binary = "binary",
        /// Close.
        Close = "close",
        /// Ping.
        Ping = "ping",
        /// Pong.
        Pong = "pong",
    }
    /// Whether a session has a connection.
    SessionState "state" {
        /// It has one on this node.
        Attached = "attached",
        /// It had its last one on this node and can be resumed.
        Detached = "detached",
    }
    /// How a resume ended.
    ResumeResult "result" {
        /// Everything missed was replayed.
        Ok = "ok",
        /// The session's window was over.
        Expired = "expired",
        /// No such session.
        Unknown = "unknown",
        /// Not its token.
        BadToken = "bad_token",
        /// Resumed, but part of what was missed is gone.
        Trimmed = "trimmed",
        /// Somebody else took it over meanwhile.
        Fenced = "fenced",
        /// The store did not answer.
        Unavailable = "unavailable",
        /// Anything else.
        Error = "error",
    }
    /// Where a replay came from.
    ReplaySource "source" {
        /// This node's memory.
        Ring = "ring",
        /// The store's log.
        Stream = "stream",
        /// Nothing was missed.
        None = "none",
    }
    /// Where the former connection of a resumed session was.
    Takeover "kind" {
        /// On this node.
        SameNode = "same_node",
        /// On another node.
        OtherNode = "other_node",
    }
    /// Who published.
    Origin "origin" {
        /// A client.
        Client = "client",
        /// The HTTP API.
        Http = "http",
        /// A backend, through a hook.
        Hook = "hook",
    }
    /// How a publish ended.
    PublishResult "result" {
        /// Stored, or announced when ephemeral.
        Ok = "ok",
        /// Stored before; the repetition was recognised.
        Duplicate = "duplicate",
        /// Not granted.
        Denied = "denied",
        /// Too many in flight or too fast.
        RateLimited = "rate_limited",
        /// Over the limit of bytes.
        TooLarge = "too_large",
        /// Not well-formed.
        Invalid = "invalid",
        /// The store did not answer.
        Unavailable = "unavailable",
        /// Anything else.
        Error = "error",
    }
    /// How a subscription to one topic ended.
    SubscribeResult "result" {
        /// It holds.
        Ok = "ok",
        /// Not granted.
        Denied = "denied",
        /// Too many topics.
        Limit = "limit",
        /// No topic name.
        Invalid = "invalid",
        /// The store did not answer.
        Unavailable = "unavailable",
        /// Anything else.
        Error = "error",
    }
    /// What was too fast or too much.
    RateScope "scope" {
        /// Frames of one connection.
        Frames = "frames",
        /// Bytes of one connection.
        Bytes = "bytes",
        /// Pings and pongs of one connection.
        Control = "control",
        /// Connections of the node.
        Connections = "connections",
        /// Connections of one address.
        AddressConnections = "address_connections",
        /// Handshakes of one address.
        AddressHandshakes = "address_handshakes",
        /// Connections of one user.
        UserConnections = "user_connections",
        /// File descriptors of the process.
        Descriptors = "descriptors",
        /// Handshakes under way: the oldest gave way.
        SlowHandshakes = "slow_handshakes",
        /// Handshakes of the node.
        Handshakes = "handshakes",
        /// Publishes in flight of one connection.
        Publishes = "publishes",
        /// Messages of one connection that are not acknowledged: its delivery paused.
        Unacknowledged = "unacknowledged",
        /// Takeovers of one session.
        Takeovers = "takeovers",
        /// Calls of the HTTP API.
        Api = "api",
        /// Registrations in the chat from one address.
        ChatRegistrations = "chat_registrations",
        /// Logins to the chat from one address, or failed ones to one account.
        ChatLogins = "chat_logins",
        /// Messages of one user over the HTTP paths of the chat.
        ChatMessages = "chat_messages",
    }
    /// Why a credential was refused.
    AuthReason "reason" {
        /// There was none.
        Missing = "missing",
        /// No signed JWT, or too long.
        Malformed = "malformed",
        /// Its algorithm or header is not accepted.
        Algorithm = "algorithm",
        /// No key made its signature.
        Signature = "signature",
        /// It ran out.
        Expired = "expired",
        /// It was revoked.
        Revoked = "revoked",
        /// It is from the future.
        NotYetValid = "not_yet_valid",
        /// A claim is missing or wrong.
        Claims = "claims",
        /// Its issuer publishes no such key.
        KeyUnknown = "key_unknown",
        /// The keys of its issuer, or the backend that decides, cannot be asked.
        Unavailable = "unavailable",
        /// The backend said no.
        Denied = "denied",
    }
}

impl CloseCode {
    /// The label of a close code on the wire; codes that Sparkway does not use are `other`.
    #[must_use]
    pub fn of(code: u16) -> Self {
        let is_it = |label: &&Self| label.as_str().parse() == Ok(code);
        Self::ALL.iter().find(is_it).copied().unwrap_or(Self::Other)
    }
}
