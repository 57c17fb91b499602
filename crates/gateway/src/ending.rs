//! How connections end, as it is counted.

use sparkway_metrics::Initiator;
use sparkway_socket::Closed;

/// How a connection ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) initiator: Initiator,
    pub(crate) code: u16,
}

impl End {
    /// The code of a connection that ended without a close frame.
    pub(crate) const CUT: u16 = 1006;

    pub(crate) const fn of(closed: &Closed) -> Self {
        match closed {
            Closed::Peer { code, .. } => {
                let code = match code {
                    Some(code) => *code,
                    None => 1005,
                };
                Self {
                    initiator: Initiator::Client,
                    code,
                }
            }
            Closed::Violation(violation) => Self {
                initiator: Initiator::Server,
                code: violation.reason.code(),
            },
            Closed::Gone(_) => Self {
                initiator: Initiator::Network,
                code: 1006,
            },
        }
    }
}
