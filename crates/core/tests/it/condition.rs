//! Address lists at their edges.

use std::net::IpAddr;

use keyward_core::address::CallerAddress;
use keyward_core::condition::{AddressRule, Conditions};

use crate::given::{known, only};

#[test]
fn an_empty_list_admits_nobody_and_no_list_everybody() {
    for address in [known("10.0.0.1"), known("::1"), CallerAddress::Unknown] {
        assert!(!only(&[]).admits(address), "{address}");
        assert!(AddressRule::Anywhere.admits(address), "{address}");
    }
    assert!(!only(&["0.0.0.0/0", "::/0"]).admits(CallerAddress::Unknown));
}

#[test]
fn the_first_and_the_last_address_of_a_network_are_in_it() {
    #[rustfmt::skip]
    let cases = [
        ("192.0.2.64/26", ["192.0.2.64", "192.0.2.127"], ["192.0.2.63", "192.0.2.128"]),
        ("192.0.2.7/32",  ["192.0.2.7", "192.0.2.7"],    ["192.0.2.6", "192.0.2.8"]),
        ("192.0.2.77/26", ["192.0.2.64", "192.0.2.127"], ["192.0.2.63", "192.0.2.128"]),
        ("2001:db8::/126",["2001:db8::", "2001:db8::3"], ["2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::4"]),
    ];
    for (network, inside, outside) in cases {
        let rule = only(&[network]);
        assert!(
            inside.iter().all(|address| rule.admits(known(address))),
            "{network}"
        );
        assert!(
            !outside.iter().any(|address| rule.admits(known(address))),
            "{network}"
        );
    }
}

#[test]
fn mapped_ipv6_counts_as_ipv4_in_the_address_and_in_the_list() {
    let mapped: IpAddr = "::ffff:10.1.2.3".parse().unwrap();
    assert!(only(&["10.0.0.0/8"]).admits(CallerAddress::Known(mapped)));
    assert!(only(&["::ffff:10.0.0.0/104"]).admits(known("10.1.2.3")));
    assert!(!only(&["::ffff:10.0.0.0/104"]).admits(known("11.1.2.3")));
    // All of IPv6 does not take IPv4 in by way of the mapping.
    assert!(!only(&["::/0"]).admits(known("10.1.2.3")));
    assert!(!only(&["::/0"]).admits(CallerAddress::Known(mapped)));
    assert!(!only(&["0.0.0.0/0"]).admits(known("2001:db8::1")));
}

#[test]
fn conditions_read_back_as_they_were_written_and_unknown_ones_are_refused() {
    let text = r#"{"not_before":1,"expires_at":null,"addresses":{"only":["10.0.0.1/8"]},"rate_limit":{"requests":2,"per_ms":1000}}"#;
    let read: Conditions = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
    for bad in [
        r#"{"not_before":1,"expires_at":null,"addresses":"anywhere","rate_limit":null,"weekdays":[]}"#,
        r#"{"not_before":1.5,"expires_at":null,"addresses":"anywhere","rate_limit":null}"#,
        r#"{"not_before":1,"expires_at":null,"addresses":"everywhere","rate_limit":null}"#,
        r#"{"not_before":1,"expires_at":null,"addresses":{"only":["10.0.0.0/33"]},"rate_limit":null}"#,
        r#"{"not_before":1,"expires_at":null,"rate_limit":null}"#,
    ] {
        assert!(serde_json::from_str::<Conditions>(bad).is_err(), "{bad}");
    }
}
