//! To which addresses a relay sends: an open relay is a door into the network it stands in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which peers clients may reach (RFC 8656 §21.1.5 and §21.1.6).
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerPolicy {
    /// Whether networks of one's own are among them: tests, and installations without internet.
    pub(super) private: bool,
}

impl PeerPolicy {
    /// Whether a relay may send there.
    pub(super) fn allow(self, address: IpAddr) -> bool {
        match reach(address) {
            AddressScope::World => true,
            AddressScope::Private => self.private,
            AddressScope::Nobody => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressScope {
    World,
    /// This machine and the networks around it.
    Private,
    /// Groups, reserved addresses, and the services a cloud has for its machines alone.
    Nobody,
}

fn reach(address: IpAddr) -> AddressScope {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

/// The special-purpose registry of IPv4 (RFC 6890), and what clouds put there.
fn reach_v4(address: Ipv4Addr) -> AddressScope {
    let [a, b, c, d] = address.octets();
    let metadata = matches!(
        [a, b, c, d],
        [100, 100, 100, 200] | [168, 63, 129, 16] // Alibaba, Azure; 169.254.169.254 is link-local
    );
    if metadata
        || a == 0
        || a >= 224 // groups, reserved, broadcast
        || address.is_link_local()
        || [a, b, c] == [192, 0, 0] // IETF; Oracle's metadata is 192.0.0.192
        || [a, b, c] == [192, 88, 99] // relays of 6to4 (RFC 7526)
        || (a == 198 && b & 0xfe == 18)
    {
        AddressScope::Nobody
    } else if address.is_loopback() || address.is_private() || (a == 100 && b & 0xc0 == 64) {
        AddressScope::Private
    } else {
        AddressScope::World
    }
}

/// An IPv6 address can carry an IPv4 address, which then decides.
fn reach_v6(address: Ipv6Addr) -> AddressScope {
    let s = address.segments();
    let [.., c, d] = s;
    match s {
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressScope::Private, // loopback
        [0, 0, 0, 0, 0, 0xffff, ..] => reach_v4(embedded(c, d)), // mapped (RFC 4291)
        [0, ..] => AddressScope::Nobody,                   // unspecified, compatible
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => reach_v4(embedded(c, d)), // NAT64 (RFC 6052)
        [0x64, 0xff9b, ..] => AddressScope::Nobody,        // NAT64 of one's own (RFC 8215)
        [0x2001, 0, ..] => AddressScope::Nobody,           // Teredo
        [0x2002, high, low, ..] => reach_v4(embedded(high, low)), // 6to4 (RFC 3056)
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => AddressScope::Nobody, // Amazon's metadata
        [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => AddressScope::Nobody, // Google's metadata
        [first, ..] if first & 0xfe00 == 0xfc00 => AddressScope::Private, // unique local (RFC 4193)
        [first, ..] if first & 0xff80 == 0xfe80 => AddressScope::Nobody, // link-local, site-local
        [first, ..] if first & 0xe000 != 0x2000 => AddressScope::Nobody, // groups, and not yet given out
        _ => AddressScope::World,
    }
}

const fn embedded(high: u16, low: u16) -> Ipv4Addr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(addresses: &[&str], expected: AddressScope) {
        for address in addresses {
            assert_eq!(reach(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn public_peer_addresses_are_recognized_in_all_notations() {
        all(
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
            AddressScope::World,
        );
    }

    #[test]
    fn private_peer_addresses_are_recognized_in_all_notations() {
        all(
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
        all(
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
            AddressScope::Nobody,
        );
    }

    #[test]
    fn setting_allows_private_peers_but_never_forbidden_ones() {
        let [strict, lax] = [false, true].map(|private| PeerPolicy { private });
        let [home, metadata, world]: [IpAddr; 3] =
            ["192.168.1.1", "169.254.169.254", "8.8.8.8"].map(|a| a.parse().unwrap());

        assert_eq!([home, metadata, world].map(|a| strict.allow(a)), [false, false, true]);
        assert_eq!([home, metadata, world].map(|a| lax.allow(a)), [true, false, true]);
    }
}
