//! Why a request had no answer.

use std::net::IpAddr;
use std::time::Duration;

/// Why a client cannot be made: report it at start and end the process.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file with authorities is missing, unreadable or no PEM.
    #[error("authorities: {0}")]
    Authorities(#[source] rustls::pki_types::pem::Error),
    /// The file holds no certificate that can be used.
    #[error("authorities: no certificate inside")]
    NoAuthority,
    /// The TLS library refuses its own defaults.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why a request had no answer. Texts carry no address and no URL: they may reach logs.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// Nothing was sent: no place among the requests under way, within the deadline.
    #[error("too many requests to backends are under way")]
    Busy,
    /// Nothing was sent: the address is one of those that are never asked.
    #[error("the backend's address is refused; allow its network if it is meant")]
    Refused,
    /// Nothing was sent: name, TCP or TLS failed.
    #[error("no connection to the backend: {0}")]
    Connect(String),
    /// The backend may have acted: it did not answer in time.
    #[error("the backend did not answer within {0:?}")]
    Timeout(Duration),
    /// The backend may have acted: the connection broke, or what came was not HTTP.
    #[error("the backend's answer broke off: {0}")]
    Broken(String),
    /// The backend acted: its answer is longer than the bound, in bytes.
    #[error("the backend's answer is longer than {0} bytes")]
    TooLong(usize),
}

impl OutboundError {
    /// Whether the backend cannot have seen the request.
    #[must_use]
    pub const fn was_not_sent(&self) -> bool {
        match self {
            Self::Busy | Self::Refused | Self::Connect(_) => true,
            Self::Timeout(_) | Self::Broken(_) | Self::TooLong(_) => false,
        }
    }
}

/// A name that leads to no address that may be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// Every address is refused.
    #[error("refused address")]
    Refused,
    /// The name is not known, or the resolver does not answer.
    #[error("{0}")]
    Unknown(#[from] std::io::Error),
}

/// Whether a chain of errors begins with a refused address.
pub(crate) fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if matches!(error.downcast_ref(), Some(ResolveError::Refused)) {
            return true;
        }
        next = error.source();
    }
    false
}

/// The innermost reason of a failure: the outer ones say "client error (Connect)".
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// The address, where a URL names one instead of a host.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}
