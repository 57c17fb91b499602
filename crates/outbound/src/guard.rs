//! Which addresses are never asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Judges addresses after resolution.
///
/// - What is public is open.
/// - What is internal (loopback, private networks) is reached only where the configuration says
///   so: by naming the network, or by writing the address itself (or `localhost`) into the URL.
///   A name that only resolves to it is not enough, or who controls the name reaches it.
/// - What answers everybody with credentials (link-local, the metadata services of clouds) and
///   what no backend can be at is refused unless its network is named.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allow: Vec<IpNet>,
}

/// What an address is to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Public,
    Internal,
    Refused,
}

/// Metadata services outside of the link-local range.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

impl Guard {
    /// A guard that lets the given networks through.
    #[must_use]
    pub const fn new(allow: Vec<IpNet>) -> Self {
        Self { allow }
    }

    /// Whether requests may go to an address that a name was resolved to.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        self.is_named(address) || kind(plain(address)) == Kind::Public
    }

    /// Whether requests may go to an address that the configured URL itself names.
    #[must_use]
    pub fn allows_literal(&self, address: IpAddr) -> bool {
        self.is_named(address) || kind(plain(address)) != Kind::Refused
    }

    /// Whether requests may go to an address that `localhost` was resolved to.
    #[must_use]
    pub fn allows_localhost(&self, address: IpAddr) -> bool {
        self.allows(address) || plain(address).is_loopback()
    }

    fn is_named(&self, address: IpAddr) -> bool {
        let plain = plain(address);
        let named = |network: &IpNet| network.contains(&plain) || network.contains(&address);
        self.allow.iter().any(named)
    }
}

/// An IPv4 address in IPv6 clothes counts as what it leads to.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    match v6.octets() {
        // ::ffff:a.b.c.d, NAT64 (64:ff9b::a.b.c.d), 6to4 (2002:a.b.c.d::)
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
        | [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]
        | [0x20, 0x02, a, b, c, d, ..] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        // ::a.b.c.d, dead and still routed by some
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, rest @ ..] if !v6.is_loopback() => {
            IpAddr::V4(Ipv4Addr::from(rest))
        }
        _ => address,
    }
}

fn kind(address: IpAddr) -> Kind {
    let (is_refused, is_internal) = match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let is_refused = v4.is_link_local()
                || v4.is_multicast()
                || first == 0
                || first >= 240
                || METADATA_V4.contains(&v4);
            let is_shared = first == 100 && (64..128).contains(&second);
            (is_refused, v4.is_loopback() || v4.is_private() || is_shared)
        }
        IpAddr::V6(v6) => {
            let is_refused = v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                || METADATA_V6.contains(&v6);
            (is_refused, v6.is_loopback() || v6.is_unique_local())
        }
    };
    match (is_refused, is_internal) {
        (true, _) => Kind::Refused,
        (false, true) => Kind::Internal,
        (false, false) => Kind::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hands_out_credentials_is_refused_in_every_disguise() {
        let guard = Guard::default();
        for refused in [
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "192.0.0.192",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ] {
            assert!(!guard.allows(refused.parse().unwrap()), "{refused}");
        }
    }

    #[test]
    fn internal_addresses_are_reached_only_where_the_configuration_says_so() {
        let guard = Guard::default();
        for internal in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "fd12::1",
        ] {
            let address = internal.parse().unwrap();
            assert!(!guard.allows(address), "{internal} behind a name");
            assert!(guard.allows_literal(address), "{internal} in the URL");
        }
        for open in ["93.184.216.34", "2606:2800::1", "172.32.0.1", "100.128.0.1"] {
            assert!(guard.allows(open.parse().unwrap()), "{open}");
        }
        assert!(guard.allows_localhost("127.0.0.1".parse().unwrap()));
        assert!(guard.allows_localhost("::1".parse().unwrap()));
        assert!(!guard.allows_localhost("10.0.0.1".parse().unwrap()));
        assert!(!guard.allows_literal("169.254.169.254".parse().unwrap()));
    }

    #[test]
    fn a_network_that_is_allowed_is_let_through_and_its_neighbours_are_not() {
        let guard = Guard::new(vec!["169.254.7.0/24".parse().unwrap()]);
        assert!(guard.allows("169.254.7.9".parse().unwrap()));
        assert!(guard.allows("::ffff:169.254.7.9".parse().unwrap()));
        assert!(!guard.allows("169.254.169.254".parse().unwrap()));
        let cluster = Guard::new(vec!["10.0.0.0/8".parse().unwrap()]);
        assert!(cluster.allows("10.96.0.1".parse().unwrap()));
        assert!(!cluster.allows("127.0.0.1".parse().unwrap()));
    }
}
