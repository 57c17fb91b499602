//! Which rule a peer broke, and the code it must be told.

use sparkway_protocol::CloseReason;
use tokio_tungstenite::tungstenite::error::ProtocolError;

/// A rule of RFC 6455, or a limit, that the peer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The class, with its close code: 1002, 1007, 1008 or 1009.
    pub reason: CloseReason,
    /// What exactly; also the text of the close frame.
    pub detail: &'static str,
}

impl Violation {
    pub(crate) const fn too_large() -> Self {
        Self {
            reason: CloseReason::TooLarge,
            detail: "message too large",
        }
    }

    pub(crate) const fn not_utf8() -> Self {
        Self {
            reason: CloseReason::InvalidPayload,
            detail: "text is not UTF-8",
        }
    }

    pub(crate) const fn protocol(error: Option<&ProtocolError>) -> Self {
        let detail = match error {
            Some(ProtocolError::InvalidOpcode(_)) => "unknown opcode",
            Some(ProtocolError::NonZeroReservedBits) => "reserved bits set",
            Some(ProtocolError::UnmaskedFrameFromClient) => "frame not masked",
            Some(ProtocolError::FragmentedControlFrame) => "fragmented control frame",
            Some(ProtocolError::ControlFrameTooBig) => "control frame over 125 bytes",
            Some(ProtocolError::UnexpectedContinueFrame) => "continuation of nothing",
            Some(ProtocolError::ExpectedFragment(_)) => "new message inside a fragmented one",
            Some(ProtocolError::InvalidCloseSequence) => "close without a whole code",
            _ => "protocol error",
        };
        Self {
            reason: CloseReason::ProtocolError,
            detail,
        }
    }
}
