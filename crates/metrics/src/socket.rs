//! Connections, frames, bytes.

use sparkway_protocol::Format;

use crate::family::{Builder, Counters, Gauges, Histograms, NETWORK};
use crate::{
    CloseCode, Direction, Gauge, HandshakeResult, Histogram, Initiator, Opcode, Opening,
    ReloadResult,
};

const LIFETIMES: &[f64] = &[
    1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0,
];
const SIZES: &[f64] = &[
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
];

/// What the socket station counts.
#[derive(Clone, Debug)]
pub struct SocketMetrics {
    /// Live connections.
    pub connections: Gauges<Format>,
    /// Connections that began a session or took one up.
    pub connections_opened: Counters<(Format, Opening)>,
    /// Handshakes by result.
    pub handshakes: Counters<HandshakeResult>,
    /// Seconds from accept to the connected ack.
    pub handshake_duration: Histogram,
    /// Attempts to replace the certificate of the public listener.
    pub tls_reloads: Counters<ReloadResult>,
    /// Ended connections.
    pub connections_closed: Counters<(Initiator, CloseCode)>,
    /// Seconds that connections lasted.
    pub connection_duration: Histogram,
    /// Most connections that this node takes; 0 for no limit.
    pub connection_limit: Gauge,
    /// Frames.
    pub frames: Counters<(Direction, Opcode)>,
    /// Bytes.
    pub bytes: Counters<Direction>,
    /// Messages, joined from fragments.
    pub messages: Counters<(Direction, Format)>,
    /// Bytes of messages.
    pub message_size: Histograms<Direction>,
    /// Bytes that wait in all outboxes.
    pub send_queue_bytes: Gauge,
    /// Messages that wait in all outboxes.
    pub send_queue_messages: Gauge,
}

impl SocketMetrics {
    pub(crate) fn new(builder: &mut Builder) -> Self {
        Self {
            connections: builder.gauges(
                "connections",
                "Live connections of this node, by wire format. The sum is what to scale on.",
            ),
            connections_opened: builder.counters(
                "connections_opened_total",
                "Connections that began a session (new) or took one up again (resumed). Many resumed at once are a reconnect storm.",
            ),
            handshakes: builder.counters(
                "handshakes_total",
                "Handshakes by result; everything but ok was refused.",
            ),
            handshake_duration: builder.histogram(
                "handshake_duration_seconds",
                NETWORK,
                "Time from accepting the TCP connection to the first answer to the client.",
            ),
            tls_reloads: builder.counters(
                "tls_reloads_total",
                "Attempts to replace the certificate of the public listener after its files changed. After failed the former one stays in use until it runs out.",
            ),
            connections_closed: builder.counters(
                "connections_closed_total",
                "Ended connections, by who ended them and the close code; 1006 is a lost TCP connection.",
            ),
            connection_duration: builder.histogram(
                "connection_duration_seconds",
                LIFETIMES,
                "How long ended connections had lasted. A peak at one value is a proxy's timeout.",
            ),
            connection_limit: builder.gauge(
                "connection_limit",
                "Most connections that this node takes; 0 means no limit. Compare with sparkway_connections.",
            ),
            frames: builder.counters(
                "frames_total",
                "WebSocket frames by direction and opcode.",
            ),
            bytes: builder.counters(
                "socket_bytes_total",
                "Bytes read from and written to sockets, framing included, TLS excluded.",
            ),
            messages: builder.counters(
                "messages_total",
                "Messages from and to clients by wire format, heartbeats and acks included.",
            ),
            message_size: builder.histograms(
                "message_size_bytes",
                SIZES,
                "Size of messages from and to clients.",
            ),
            send_queue_bytes: builder.gauge(
                "send_queue_bytes",
                "Bytes that wait in the outboxes of all connections. Rises when clients read slowly.",
            ),
            send_queue_messages: builder.gauge(
                "send_queue_messages",
                "Messages that wait in the outboxes of all connections.",
            ),
        }
    }
}
