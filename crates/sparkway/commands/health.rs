//! `sparkway health`: one question to the internal listener, without any other tool in the image.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use clap::Args;

use crate::arguments::duration;
use crate::exit::{Exit, Failure, Outcome};
use crate::operate::plain::{Place, Request, ask};

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

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
    #[arg(
        long,
        value_name = "ADDRESS",
        // The node's own variable: a container that moves its listener moves its check along.
        env = "SPARKWAY__INTERNAL__LISTEN",
        default_value = "127.0.0.1:9000"
    )]
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
    let question = Request {
        method: "GET",
        path,
        key: None,
        body: "",
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    let address = reachable(&args.address);
    let (status, body) = ask(&Place::at(&address), &question, until)?;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", body.trim_end());
    if status == 200 {
        Ok(Exit::Ok)
    } else {
        Err(Failure::failed(format!("{address}{path} answers {status}")))
    }
}

/// A node that listens on all addresses is asked on this machine's own.
fn reachable(listen: &str) -> String {
    let Ok(mut address) = listen.parse::<SocketAddr>() else {
        return listen.to_owned();
    };
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address.to_string()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpListener;

    use super::*;

    fn answered(answer: &'static str, timeout_ms: u64) -> Outcome {
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
        let ok = answered("HTTP/1.1 200 OK\r\n\r\n{}", 5000);
        assert_eq!(ok.unwrap(), Exit::Ok);
        let unready = answered(
            "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"status\":\"draining\"}",
            5000,
        );
        assert_eq!(unready.unwrap_err().exit, Exit::Failed);
        assert_eq!(answered("", 100).unwrap_err().exit, Exit::Timeout);
        assert_eq!(answered("nonsense", 5000).unwrap_err().exit, Exit::Failed);
    }

    #[test]
    fn listener_on_all_addresses_is_asked_on_this_machine() {
        assert_eq!(reachable("0.0.0.0:9000"), "127.0.0.1:9000");
        assert_eq!(reachable("[::]:9100"), "[::1]:9100");
        assert_eq!(reachable("192.0.2.1:9000"), "192.0.2.1:9000");
        assert_eq!(reachable("node:9000"), "node:9000");
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
