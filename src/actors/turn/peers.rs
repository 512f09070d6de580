//! Which addresses a relay sends to: an open relay would give access to the network it stands in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which peers clients may reach (RFC 8656 §21.1.5 and §21.1.6).
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerPolicy {
    /// Whether private networks are allowed, for tests and for installations without internet
    /// access.
    pub(super) allow_private: bool,
}

impl PeerPolicy {
    /// Whether a relay may send to this address.
    pub(super) fn allow(self, address: IpAddr) -> bool {
        match scope_of(address) {
            AddressScope::Public => true,
            AddressScope::Private => self.allow_private,
            AddressScope::Forbidden => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressScope {
    Public,
    /// This machine and private networks.
    Private,
    /// Multicast, reserved addresses, and metadata services of cloud providers.
    Forbidden,
}

fn scope_of(address: IpAddr) -> AddressScope {
    match address {
        IpAddr::V4(address) => scope_of_v4(address),
        IpAddr::V6(address) => scope_of_v6(address),
    }
}

/// The IPv4 special-purpose registry (RFC 6890), and addresses of cloud metadata services.
fn scope_of_v4(address: Ipv4Addr) -> AddressScope {
    let [a, b, c, d] = address.octets();
    let metadata = matches!(
        [a, b, c, d],
        [100, 100, 100, 200] | [168, 63, 129, 16] // Alibaba, Azure; 169.254.169.254 is link-local
    );
    if metadata
        || a == 0
        || a >= 224 // multicast, reserved, broadcast
        || address.is_link_local()
        || [a, b, c] == [192, 0, 0] // IETF; Oracle's metadata service is 192.0.0.192
        || [a, b, c] == [192, 88, 99] // 6to4 relays (RFC 7526)
        || (a == 198 && b & 0xfe == 18)
    {
        AddressScope::Forbidden
    } else if address.is_loopback() || address.is_private() || (a == 100 && b & 0xc0 == 64) {
        AddressScope::Private
    } else {
        AddressScope::Public
    }
}

/// The scope of an IPv6 address; an embedded IPv4 address decides it.
fn scope_of_v6(address: Ipv6Addr) -> AddressScope {
    let s = address.segments();
    let [.., c, d] = s;
    match s {
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressScope::Private, // loopback
        [0, 0, 0, 0, 0, 0xffff, ..] => scope_of_v4(embedded(c, d)), // mapped (RFC 4291)
        [0, ..] => AddressScope::Forbidden,                // unspecified, compatible
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => scope_of_v4(embedded(c, d)), // NAT64 (RFC 6052)
        [0x64, 0xff9b, ..] => AddressScope::Forbidden,     // local-use NAT64 (RFC 8215)
        [0x2001, 0, ..] => AddressScope::Forbidden,        // Teredo
        [0x2002, high, low, ..] => scope_of_v4(embedded(high, low)), // 6to4 (RFC 3056)
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => AddressScope::Forbidden, // Amazon's metadata service
        [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => AddressScope::Forbidden, // Google's metadata service
        [first, ..] if first & 0xfe00 == 0xfc00 => AddressScope::Private, // unique local (RFC 4193)
        [first, ..] if first & 0xff80 == 0xfe80 => AddressScope::Forbidden, // link-local, site-local
        // multicast, and unassigned
        [first, ..] if first & 0xe000 != 0x2000 => AddressScope::Forbidden,
        _ => AddressScope::Public,
    }
}

const fn embedded(high: u16, low: u16) -> Ipv4Addr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_scope(addresses: &[&str], expected: AddressScope) {
        for address in addresses {
            assert_eq!(scope_of(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn public_peer_addresses_are_recognized_in_all_notations() {
        assert_scope(
            &[
                "8.8.8.8",
                "100.63.255.255",
                "100.128.0.1",
                "172.15.0.1",
                "172.32.0.1",
                "192.0.1.1",
                "198.20.0.1",
                "::ffff:8.8.8.8",
                "64:ff9b::808:808",
                "2002:808:808::1",
                "2001:4860:4860::8888",
            ],
            AddressScope::Public,
        );
    }

    #[test]
    fn private_peer_addresses_are_recognized_in_all_notations() {
        assert_scope(
            &[
                "127.0.0.1",
                "127.255.255.254",
                "10.1.2.3",
                "172.16.0.1",
                "172.31.255.255",
                "192.168.1.1",
                "100.64.0.1",
                "100.127.255.255",
                "::1",
                "::ffff:127.0.0.1",
                "::ffff:10.0.0.1",
                "64:ff9b::7f00:1",
                "64:ff9b::a00:1",
                "2002:7f00:1::1",
                "2002:c0a8:1::1",
                "fc00::1",
                "fd12:3456::1",
            ],
            AddressScope::Private,
        );
    }

    #[test]
    fn multicast_reserved_and_metadata_addresses_are_forbidden() {
        assert_scope(
            &[
                "0.0.0.0",
                "0.1.2.3",
                "169.254.0.1",
                "169.254.169.254",
                "100.100.100.200",
                "168.63.129.16",
                "192.0.0.192",
                "192.88.99.1",
                "198.18.0.1",
                "198.19.255.255",
                "224.0.0.1",
                "239.255.255.250",
                "240.0.0.1",
                "255.255.255.255",
                "::",
                "::127.0.0.1",
                "::ffff:169.254.169.254",
                "::ffff:0:127.0.0.1",
                "64:ff9b::a9fe:a9fe",
                "64:ff9b:1::7f00:1",
                "2001:0:4136:e378:8000:63bf:3fff:fdd2",
                "2002:a9fe:a9fe::1",
                "fd00:ec2::254",
                "fd20:ce::254",
                "fe80::1",
                "fec0::1",
                "ff02::1",
            ],
            AddressScope::Forbidden,
        );
    }

    #[test]
    fn setting_allows_private_peers_but_never_forbidden_ones() {
        let [strict, permissive] = [false, true].map(|allow_private| PeerPolicy { allow_private });
        let [home, metadata, public]: [IpAddr; 3] =
            ["192.168.1.1", "169.254.169.254", "8.8.8.8"].map(|a| a.parse().unwrap());

        assert_eq!([home, metadata, public].map(|a| strict.allow(a)), [false, false, true]);
        assert_eq!([home, metadata, public].map(|a| permissive.allow(a)), [true, false, true]);
    }
}
