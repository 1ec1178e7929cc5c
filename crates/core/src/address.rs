//! From where a request comes, behind proxies that are trusted and others that are not.
//!
//! `X-Forwarded-For` is written by whoever sends it; only what a trusted proxy appended can be believed. So the
//! chain is walked from the right, past trusted networks, and the first untrusted address is the caller. The
//! leftmost entry is the client's own claim and means nothing.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// Most entries of a forwarded chain that are read; a longer chain is unknown.
const MAX_HOPS: usize = 64;

/// The caller's address, as far as it can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallerAddress {
    /// This one; IPv4-mapped IPv6 is written as IPv4.
    Known(IpAddr),
    /// It can't be said, and every address list refuses it.
    Unknown,
}

impl std::fmt::Display for CallerAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Known(ip) => ip.fmt(formatter),
            Self::Unknown => formatter.write_str("unknown"),
        }
    }
}

/// The caller of a request that came over a connection from `peer` with these `X-Forwarded-For` lines, in the order
/// in which they stand in the request.
pub fn caller_address<'a>(
    peer: IpAddr,
    trusted: &[IpNet],
    forwarded_lines: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> CallerAddress {
    let peer = peer.to_canonical();
    let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network_contains(network, ip));
    if !is_trusted(peer) {
        return CallerAddress::Known(peer);
    }
    let mut nearest = peer;
    let mut hops = 0;
    for line in forwarded_lines.rev() {
        let Ok(line) = std::str::from_utf8(line) else {
            return CallerAddress::Unknown;
        };
        for entry in line.rsplit(',') {
            hops += 1;
            let Some(ip) = (hops <= MAX_HOPS).then(|| parse_entry(entry.trim())).flatten() else {
                return CallerAddress::Unknown;
            };
            if !is_trusted(ip) {
                return CallerAddress::Known(ip);
            }
            nearest = ip;
        }
    }
    CallerAddress::Known(nearest)
}

/// Whether `network` holds the canonical address `ip`. IPv4-mapped IPv6 counts as IPv4 on both sides: a network
/// written `::ffff:10.0.0.0/104` is `10.0.0.0/8`, and `::/0` holds no IPv4 address.
pub(crate) fn network_contains(network: &IpNet, ip: IpAddr) -> bool {
    match (network, ip) {
        (IpNet::V6(mapped), IpAddr::V4(ip)) => {
            mapped.prefix_len() >= 96 && mapped.contains(&ip.to_ipv6_mapped())
        }
        _ => network.contains(&ip),
    }
}

/// An address with or without a port, as proxies write it: `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]`, `[::1]:5`.
fn parse_entry(entry: &str) -> Option<IpAddr> {
    let bare = entry
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(entry);
    bare.parse::<IpAddr>()
        .ok()
        .or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(peer: &str, trusted: &[&str], lines: &[&str]) -> CallerAddress {
        let trusted: Vec<IpNet> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        caller_address(
            peer.parse().unwrap(),
            &trusted,
            lines.iter().map(|line| line.as_bytes()),
        )
    }

    fn known(text: &str) -> CallerAddress {
        CallerAddress::Known(text.parse().unwrap())
    }

    #[test]
    fn a_peer_that_is_no_trusted_proxy_is_the_caller_whatever_it_claims() {
        assert_eq!(walk("9.9.9.9", &[], &["1.1.1.1"]), known("9.9.9.9"));
        assert_eq!(walk("9.9.9.9", &["10.0.0.0/8"], &["10.0.0.1"]), known("9.9.9.9"));
    }

    #[test]
    fn the_first_untrusted_address_from_the_right_is_the_caller() {
        let trusted = ["10.0.0.0/8"];
        assert_eq!(
            walk("10.0.0.1", &trusted, &["1.1.1.1, 2.2.2.2, 10.0.0.2"]),
            known("2.2.2.2")
        );
        assert_eq!(
            walk("10.0.0.1", &trusted, &["1.1.1.1", "2.2.2.2,10.0.0.2"]),
            known("2.2.2.2")
        );
        assert_eq!(walk("10.0.0.1", &trusted, &["10.0.0.3"]), known("10.0.0.3"));
        assert_eq!(walk("10.0.0.1", &trusted, &[]), known("10.0.0.1"));
    }

    #[test]
    fn mapped_addresses_count_as_ipv4_and_ports_are_left_out() {
        let trusted = ["10.0.0.0/8", "::1/128"];
        assert_eq!(
            walk("::ffff:10.0.0.1", &trusted, &["::ffff:8.8.8.8"]),
            known("8.8.8.8")
        );
        assert_eq!(
            walk("::1", &trusted, &["[2001:db8::1]:443"]),
            known("2001:db8::1")
        );
        assert_eq!(walk("::1", &trusted, &["8.8.8.8:1234"]), known("8.8.8.8"));
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let trusted = ["10.0.0.0/8"];
        for line in ["", "unknown", "1.1.1.1,", "1.1.1.999", "_hidden"] {
            assert_eq!(
                walk("10.0.0.1", &trusted, &[line]),
                CallerAddress::Unknown,
                "{line}"
            );
        }
        let endless = ["10.0.0.2"; 65].join(",");
        assert_eq!(walk("10.0.0.1", &trusted, &[&endless]), CallerAddress::Unknown);
    }
}
