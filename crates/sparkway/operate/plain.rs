//! One HTTP request to an internal listener, with nothing but the standard library.

use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use crate::exit::{Exit, Failure};

/// Longest answer of the API that is read, in bytes: a page of a thousand long messages.
pub(crate) const PAGE_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place(String);

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Place {
    /// `HOST:PORT` as it stands there.
    pub(crate) fn at(address: &str) -> Self {
        Self(address.to_owned())
    }

    /// Reads `http://HOST:PORT` or `HOST:PORT`; without a port it is 9000.
    ///
    /// # Errors
    /// Usage.
    pub(crate) fn parse(url: &str) -> Result<Self, Failure> {
        let rest = match url.split_once("://") {
            None => url,
            Some(("http", rest)) => rest,
            Some((scheme, _)) => {
                return Err(Failure::usage(format!(
                    "--url: {scheme}:// is not the internal listener's; it speaks http://"
                )));
            }
        };
        let authority = rest.trim_end_matches('/');
        if authority.is_empty() || authority.contains(['/', '@', '?', '#', ' ']) {
            return Err(Failure::usage(format!(
                "--url: {url:?} is not http://HOST:PORT"
            )));
        }
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(Self(if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:9000")
        }))
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) key: Option<&'a str>,
    pub(crate) body: &'a str,
    /// Longest answer that is read, in bytes; of a longer one the beginning counts.
    pub(crate) answer_bytes_max: usize,
}

/// Status and body of the answer.
///
/// # Errors
/// Unreachable (3), no answer in time (5), failed (1) when it is no HTTP.
pub(crate) fn ask(
    place: &Place,
    request: &Request<'_>,
    until: Instant,
) -> Result<(u16, String), Failure> {
    let Request {
        method,
        path,
        key,
        body,
        answer_bytes_max,
    } = request;
    let mut stream = connect(place, until)?;
    let key = key.map_or(String::new(), |key| {
        format!("Authorization: Bearer {key}\r\n")
    });
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n{key}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let failed = |error: &std::io::Error| timed(place, error);
    stream
        .set_write_timeout(Some(left(until)?))
        .map_err(|error| failed(&error))?;
    stream
        .write_all(format!("{head}{body}").as_bytes())
        .map_err(|error| failed(&error))?;
    let mut answer = Vec::new();
    let mut chunk = vec![0_u8; 64 * 1024];
    while answer.len() <= *answer_bytes_max {
        stream
            .set_read_timeout(Some(left(until)?))
            .map_err(|error| failed(&error))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) => return Err(failed(&error)),
        }
    }
    if answer.is_empty() {
        // It ended between our word and its answer, as a node does that was drained.
        let text = format!("{place} closed the connection without an answer");
        return Err(Failure::new(Exit::Unreachable, text));
    }
    let answer = String::from_utf8_lossy(&answer);
    let status = answer
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(|| Failure::failed(format!("{place} does not answer in HTTP")))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}

fn connect(place: &Place, until: Instant) -> Result<TcpStream, Failure> {
    let resolved = place
        .0
        .to_socket_addrs()
        .map_err(|error| Failure::new(Exit::Unreachable, format!("{place}: {error}")))?;
    let mut last = Failure::new(Exit::Unreachable, format!("{place}: no address"));
    for address in resolved {
        match TcpStream::connect_timeout(&address, left(until)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = timed(place, &error),
        }
    }
    Err(last)
}

/// Time that is left; never zero, which would mean for ever.
fn left(until: Instant) -> Result<Duration, Failure> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Failure::new(Exit::Timeout, "no answer in time"));
    }
    Ok(left)
}

fn timed(place: &Place, error: &std::io::Error) -> Failure {
    let exit = match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Exit::Timeout,
        _ => Exit::Unreachable,
    };
    Failure::new(exit, format!("{place}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_and_has_a_port() {
        let place = |url: &str| Place::parse(url).map(|place| place.0).ok();
        assert_eq!(
            place("http://10.0.0.1:9001/"),
            Some("10.0.0.1:9001".to_owned())
        );
        assert_eq!(place("node-a"), Some("node-a:9000".to_owned()));
        assert_eq!(place("[::1]:9000"), Some("[::1]:9000".to_owned()));
        for wrong in ["https://a:9000", "ws://a", "", "http://", "a/b", "u@h:1"] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }
}
