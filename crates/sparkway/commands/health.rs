//! `sparkway health`: one question to the internal listener, without any other tool in the image.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use clap::Args;

use crate::arguments::duration;
use crate::exit::{Exit, Failure, Outcome};

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Whom to ask what.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sparkway health              is the process alive?\n  \
    sparkway health --ready      does it take new clients?")]
pub(crate) struct HealthArgs {
    /// Ask whether the node takes new clients, not only whether it lives
    #[arg(long)]
    pub(crate) ready: bool,
    /// Internal listener of the node, HOST:PORT
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9000")]
    pub(crate) address: String,
    /// Deadline of the whole question
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// Asks, prints the answer's body and exits 0 when the node is well.
///
/// # Errors
/// Unreachable (3), no answer in time (5), not well (1).
pub(crate) fn run(args: &HealthArgs) -> Outcome {
    let until = Instant::now() + args.timeout;
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let (status, body) = get(&args.address, path, until)?;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", body.trim_end());
    if status == 200 {
        Ok(Exit::Ok)
    } else {
        Err(Failure::failed(format!(
            "{}{path} answers {status}",
            args.address
        )))
    }
}

/// Status and body of a GET.
fn get(address: &str, path: &str, until: Instant) -> Result<(u16, String), Failure> {
    let mut stream = connect(address, until)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let failed = |error: &std::io::Error| timed(address, error);
    stream
        .set_write_timeout(Some(left(until)?))
        .map_err(|error| failed(&error))?;
    stream
        .write_all(request.as_bytes())
        .map_err(|error| failed(&error))?;
    let mut answer = Vec::new();
    let mut chunk = [0_u8; 4096];
    while answer.len() as u64 <= ANSWER_BYTES_MAX {
        stream
            .set_read_timeout(Some(left(until)?))
            .map_err(|error| failed(&error))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) => return Err(failed(&error)),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let status = answer
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(|| Failure::failed(format!("{address} does not answer in HTTP")))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}

fn connect(address: &str, until: Instant) -> Result<TcpStream, Failure> {
    let resolved = address
        .to_socket_addrs()
        .map_err(|error| Failure::new(Exit::Unreachable, format!("{address}: {error}")))?;
    let mut last = Failure::new(Exit::Unreachable, format!("{address}: no address"));
    for place in resolved {
        match TcpStream::connect_timeout(&place, left(until)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = timed(address, &error),
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

fn timed(address: &str, error: &std::io::Error) -> Failure {
    let exit = match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Exit::Timeout,
        _ => Exit::Unreachable,
    };
    Failure::new(exit, format!("{address}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn ask(answer: &'static str, timeout_ms: u64) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let node = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 512];
            let length = stream.read(&mut head).unwrap();
            assert!(head[..length].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            if answer.is_empty() {
                let _ = stream.read(&mut head); // until the other side gives up
            }
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let outcome = run(&HealthArgs {
            ready: true,
            address,
            timeout: Duration::from_millis(timeout_ms),
        });
        node.join().unwrap();
        outcome
    }

    #[test]
    fn exit_code_says_whether_the_node_is_well() {
        let ok = ask("HTTP/1.1 200 OK\r\n\r\n{}", 5000);
        assert_eq!(ok.unwrap(), Exit::Ok);
        let unready = ask(
            "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"status\":\"draining\"}",
            5000,
        );
        assert_eq!(unready.unwrap_err().exit, Exit::Failed);
        assert_eq!(ask("", 100).unwrap_err().exit, Exit::Timeout);
        assert_eq!(ask("nonsense", 5000).unwrap_err().exit, Exit::Failed);
    }

    #[test]
    fn closed_port_is_unreachable() {
        let closed = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let outcome = run(&HealthArgs {
            ready: false,
            address: closed.to_string(),
            timeout: Duration::from_secs(5),
        });
        assert_eq!(outcome.unwrap_err().exit, Exit::Unreachable);
    }
}
