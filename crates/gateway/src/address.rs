//! Where a client is, when proxies that are trusted say so.

use std::net::IpAddr;

use sparkway_socket::RequestHead;

use crate::settings::AddressRange;

/// Most hops of `X-Forwarded-For` that are looked at, from the right.
const HOPS: usize = 32;

/// The address of the client: the right-most hop that is no trusted proxy. What stands further
/// left anybody may have written. Without a trusted proxy it is the TCP peer's, whatever the
/// headers say.
pub(crate) fn of_client(head: &RequestHead<'_>, trusted: &[AddressRange]) -> IpAddr {
    let lines = head.headers().get_all("x-forwarded-for");
    let lines: Vec<&str> = lines
        .iter()
        // A line that is not text ends the walk, as a hop that is no address does.
        .map(|line| line.to_str().unwrap_or_default())
        .collect();
    walk(head.peer().ip().to_canonical(), &lines, trusted)
}

/// Whether the client's own connection is encrypted: this node ended its TLS, or a trusted proxy
/// says that it did.
pub(crate) fn is_encrypted(head: &RequestHead<'_>, trusted: &[AddressRange]) -> bool {
    head.is_secure()
        || is_trusted(head.peer().ip(), trusted)
            && head
                .header("x-forwarded-proto")
                .is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
}

fn walk(peer: IpAddr, lines: &[&str], trusted: &[AddressRange]) -> IpAddr {
    let mut nearest = peer;
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    for hop in hops.take(HOPS) {
        if !is_trusted(nearest, trusted) {
            return nearest;
        }
        match address(hop.trim()) {
            Some(address) => nearest = address,
            // A proxy that writes no address hides its client: it stands for all of them.
            None => return nearest,
        }
    }
    nearest
}

/// Whether what this peer says about its clients is believed.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[AddressRange]) -> bool {
    trusted.iter().any(|range| range.contains(address))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(hop: &str) -> Option<IpAddr> {
    let plain = hop.parse().ok();
    let with_port = || Some(hop.parse::<std::net::SocketAddr>().ok()?.ip());
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let found: IpAddr = plain.or_else(with_port).or_else(bracketed)?;
    Some(found.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, lines: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8", "192.0.2.7"]
            .map(|range| AddressRange::parse(range).unwrap());
        walk(peer.parse().unwrap(), lines, &trusted).to_string()
    }

    #[test]
    fn the_right_most_hop_that_is_not_trusted_counts() {
        assert_eq!(client("10.0.0.1", &["203.0.113.5"]), "203.0.113.5");
        let spoofed = ["1.1.1.1, 203.0.113.5, 10.9.9.9"];
        assert_eq!(client("10.0.0.1", &spoofed), "203.0.113.5");
        let lines = ["1.1.1.1", "203.0.113.5", "192.0.2.7,10.1.1.1"];
        assert_eq!(client("10.0.0.1", &lines), "203.0.113.5", "several lines");
        assert_eq!(client("fd00::1", &["[2001:db8::9]:4711"]), "2001:db8::9");
        assert_eq!(client("10.0.0.1", &["198.51.100.1:80"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["::ffff:198.51.100.1"]), "198.51.100.1");
    }

    #[test]
    fn nobody_else_is_believed() {
        assert_eq!(client("203.0.113.9", &["10.0.0.1"]), "203.0.113.9");
        assert_eq!(client("203.0.113.9", &["1.1.1.1, 10.0.0.1"]), "203.0.113.9");
    }

    #[test]
    fn garbage_and_silence_stand_for_the_proxy() {
        for lines in [
            &[][..],
            &[""],
            &["unknown"],
            &["1.1.1.1, _hidden"],
            &["1.1.1.1,"],
        ] {
            assert_eq!(client("10.0.0.1", lines), "10.0.0.1", "{lines:?}");
        }
        let many = vec!["10.0.0.2"; 5000].join(",");
        assert_eq!(
            client("10.0.0.1", &[&format!("1.1.1.1,{many}")]),
            "10.0.0.2"
        );
    }
}
