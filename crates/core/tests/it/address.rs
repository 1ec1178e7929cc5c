//! The caller's address behind proxies, on any input.

use keyward_core::address::{CallerAddress, caller_address};
use proptest::prelude::*;

use crate::given::known;

fn walk(peer: &str, trusted: &[&str], lines: &[&[u8]]) -> CallerAddress {
    let trusted: Vec<ipnet::IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
    caller_address(peer.parse().unwrap(), &trusted, lines.iter().copied())
}

#[test]
fn a_trusted_network_may_be_written_as_mapped_ipv6() {
    assert_eq!(
        walk("10.0.0.1", &["::ffff:10.0.0.0/104"], &[b"8.8.8.8"]),
        known("8.8.8.8")
    );
    // All of IPv6 is not all of IPv4.
    assert_eq!(walk("10.0.0.1", &["::/0"], &[b"8.8.8.8"]), known("10.0.0.1"));
}

#[test]
fn what_the_client_wrote_left_of_its_own_address_is_never_believed() {
    for forged in ["10.0.0.7", "127.0.0.1", "unknown", "garbage garbage"] {
        let line = format!("{forged}, 8.8.8.8, 10.0.0.2");
        assert_eq!(
            walk("10.0.0.1", &["10.0.0.0/8"], &[line.as_bytes()]),
            known("8.8.8.8"),
            "{forged}"
        );
    }
}

#[test]
fn bytes_that_are_no_text_make_the_address_unknown() {
    assert_eq!(
        walk("10.0.0.1", &["10.0.0.0/8"], &[b"\xff, 8.8.8.8"]),
        CallerAddress::Unknown
    );
    // A line that is not reached is not read.
    assert_eq!(
        walk("10.0.0.1", &["10.0.0.0/8"], &[b"\xff", b"8.8.8.8"]),
        known("8.8.8.8")
    );
}

proptest! {
    #[test]
    fn any_lines_are_taken_without_a_panic_and_never_give_a_trusted_client(
        lines in prop::collection::vec("[0-9a-f:.,\\[\\] ]{0,40}|\\PC{0,20}", 0..5),
    ) {
        let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
        prop_assert_eq!(walk("9.9.9.9", &["10.0.0.0/8"], &lines), known("9.9.9.9"));
        let _ = walk("10.0.0.1", &["10.0.0.0/8"], &lines);
    }
}
