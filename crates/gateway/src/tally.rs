//! What is counted of a connection.

use sparkway_metrics::{CloseCode, Direction, Opcode};
use sparkway_session::Input;
use sparkway_socket::Inbound;

use crate::connection::Connection;
use crate::ending::End;
use crate::shared::Shared;

/// Bytes of a connection that may wait to be counted until it is looked at.
const UNCOUNTED: u64 = 64 * 1024;

impl Connection {
    pub(crate) fn shared(&self) -> &Shared {
        &self.worker.shared
    }

    pub(crate) fn count_frame(&self, frame: &Inbound) {
        let metrics = &self.shared().metrics.socket;
        let (opcode, bytes) = match frame {
            Inbound::Text(text) => (Opcode::Text, text.len()),
            Inbound::Binary(bytes) => (Opcode::Binary, bytes.len()),
            Inbound::Ping | Inbound::Pong => return,
        };
        metrics.frames.at((Direction::In, opcode)).inc();
        metrics.messages.at((Direction::In, self.format)).inc();
        metrics.message_size.at(Direction::In).observe(bytes as f64);
    }

    /// The client is about to be told that it has its session.
    pub(crate) fn count_opening(&self, input: &Input) {
        if matches!(input, Input::Opened(Ok(_)) | Input::Attached(Ok(_))) {
            let took = self.since.elapsed().as_secs_f64();
            self.shared()
                .metrics
                .socket
                .handshake_duration
                .observe(took);
        }
    }

    /// Counts the traffic when much of it is not counted yet.
    pub(crate) fn note_traffic(&mut self) {
        let (now, counted) = (self.link.traffic(), self.counted);
        let bytes = now.bytes_read + now.bytes_written;
        if bytes - counted.bytes_read - counted.bytes_written >= UNCOUNTED {
            self.count_traffic();
        }
    }

    pub(crate) fn count_traffic(&mut self) {
        let traffic = self.link.traffic();
        let bytes = &self.shared().metrics.socket.bytes;
        bytes
            .at(Direction::In)
            .inc_by(traffic.bytes_read - self.counted.bytes_read);
        bytes
            .at(Direction::Out)
            .inc_by(traffic.bytes_written - self.counted.bytes_written);
        self.counted = traffic;
    }

    pub(crate) fn count_end(&mut self, end: End) {
        self.count_traffic();
        let metrics = &self.shared().metrics.socket;
        metrics.connections.at(self.format).dec();
        metrics
            .connections_closed
            .at((end.initiator, CloseCode::of(end.code)))
            .inc();
        metrics
            .connection_duration
            .observe(self.began.elapsed().as_secs_f64());
    }
}
