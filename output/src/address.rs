//! Socket addresses, decoded from the bytes that the kernel was given.

use std::net::{Ipv4Addr, Ipv6Addr};

/// `AF_UNSPEC`: connect(2) with it dissolves an association.
const UNSPEC: u16 = 0;
const LOCAL: u16 = 1;
const INET: u16 = 2;
const INET6: u16 = 10;
const NETLINK: u16 = 16;

/// Families that are named but not taken apart, sorted (socket.h of the kernel).
const OTHER_FAMILIES: [(u16, &str); 14] = [
    (3, "ax25"),
    (4, "ipx"),
    (5, "appletalk"),
    (9, "x25"),
    (15, "key"),
    (17, "packet"),
    (29, "can"),
    (30, "tipc"),
    (31, "bluetooth"),
    (38, "alg"),
    (40, "vsock"),
    (41, "kcm"),
    (42, "qipcrtr"),
    (44, "xdp"),
];

/// Longest address (`struct sockaddr_storage`).
pub(crate) const LONGEST: usize = 128;

/// A decoded `sockaddr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address<'a> {
    /// `AF_INET`.
    Inet {
        /// Address.
        ip: Ipv4Addr,
        /// Port.
        port: u16,
    },
    /// `AF_INET6`.
    Inet6 {
        /// Address.
        ip: Ipv6Addr,
        /// Port.
        port: u16,
        /// Interface that a link-local address belongs to; 0 where none.
        scope_id: u32,
    },
    /// `AF_UNIX` with a file name.
    Path(&'a [u8]),
    /// `AF_UNIX` in the abstract namespace; without the leading NUL.
    Abstract(&'a [u8]),
    /// `AF_UNIX` without a name.
    Unnamed,
    /// `AF_NETLINK`.
    Netlink {
        /// `nl_pid`: 0 is the kernel.
        port_id: u32,
        /// Multicast groups.
        groups: u32,
    },
    /// Another family, or too short for the one it names.
    Other {
        /// `sa_family`; `None` where not even that was there.
        family: Option<u16>,
        /// All the bytes.
        bytes: &'a [u8],
    },
}

impl<'a> Address<'a> {
    /// Decodes `sockaddr` bytes in the byte order of this machine. What cannot be taken apart comes back as bytes.
    pub fn decode(bytes: &'a [u8]) -> Self {
        let Some(family) = bytes.first_chunk().copied().map(u16::from_ne_bytes) else {
            return Self::Other { family: None, bytes };
        };
        let known = match family {
            LOCAL => Some(decode_local(&bytes[2..])),
            INET => decode_inet(bytes),
            INET6 => decode_inet6(bytes),
            NETLINK => decode_netlink(bytes),
            _ => None,
        };
        known.unwrap_or(Self::Other { family: Some(family), bytes })
    }

    /// Bytes that decode to it, of the length that its kind has.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Inet { ip, port } => [&INET.to_ne_bytes()[..], &port.to_be_bytes(), &ip.octets(), &[0; 8]].concat(),
            Self::Inet6 { ip, port, scope_id } => {
                let head = [&INET6.to_ne_bytes()[..], &port.to_be_bytes(), &[0; 4]].concat();
                [&head[..], &ip.octets(), &scope_id.to_ne_bytes()].concat()
            }
            Self::Path(path) => [&LOCAL.to_ne_bytes()[..], path, &[0]].concat(),
            Self::Abstract(name) => [&LOCAL.to_ne_bytes()[..], &[0], name].concat(),
            Self::Unnamed => LOCAL.to_ne_bytes().to_vec(),
            Self::Netlink { port_id, groups } => {
                [&NETLINK.to_ne_bytes()[..], &[0; 2], &port_id.to_ne_bytes(), &groups.to_ne_bytes()].concat()
            }
            Self::Other { bytes, .. } => bytes.to_vec(),
        }
    }

    /// Name of the family; `unknown` where it has none here.
    pub fn family(&self) -> &'static str {
        match self {
            Self::Inet { .. } => "inet",
            Self::Inet6 { .. } => "inet6",
            Self::Path(_) | Self::Abstract(_) | Self::Unnamed => "local",
            Self::Netlink { .. } => "netlink",
            Self::Other { family: Some(number), .. } => family_name(*number),
            Self::Other { family: None, .. } => "unknown",
        }
    }
}

fn family_name(number: u16) -> &'static str {
    match number {
        UNSPEC => "unspec",
        LOCAL => "local",
        INET => "inet",
        INET6 => "inet6",
        NETLINK => "netlink",
        _ => OTHER_FAMILIES
            .binary_search_by_key(&number, |(family, _)| *family)
            .map_or("unknown", |index| OTHER_FAMILIES[index].1),
    }
}

fn field<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

fn decode_local(path: &[u8]) -> Address<'_> {
    match path {
        [] | [0] => Address::Unnamed,
        // An abstract name is all its bytes, NULs included.
        [0, name @ ..] => Address::Abstract(name),
        _ => Address::Path(path.split(|byte| *byte == 0).next().unwrap_or(path)),
    }
}

fn decode_inet(bytes: &[u8]) -> Option<Address<'_>> {
    let port = u16::from_be_bytes(field(bytes, 2)?);
    Some(Address::Inet { ip: Ipv4Addr::from(field::<4>(bytes, 4)?), port })
}

fn decode_inet6(bytes: &[u8]) -> Option<Address<'_>> {
    let port = u16::from_be_bytes(field(bytes, 2)?);
    let ip = Ipv6Addr::from(field::<16>(bytes, 8)?);
    // RFC 2133 programs pass the address without a scope, and the kernel takes it.
    let scope_id = field(bytes, 24).map_or(0, u32::from_ne_bytes);
    Some(Address::Inet6 { ip, port, scope_id })
}

fn decode_netlink(bytes: &[u8]) -> Option<Address<'_>> {
    let port_id = u32::from_ne_bytes(field(bytes, 4)?);
    Some(Address::Netlink { port_id, groups: u32::from_ne_bytes(field(bytes, 8)?) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sockaddr(family: u16, rest: &[u8]) -> Vec<u8> {
        [&family.to_ne_bytes(), rest].concat()
    }

    #[test]
    fn inet_ports_are_big_endian() {
        let bytes = sockaddr(INET, &[0, 9, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Address::decode(&bytes), Address::Inet { ip: Ipv4Addr::LOCALHOST, port: 9 });
    }

    #[test]
    fn inet6_with_and_without_scope() {
        let mut rest = vec![1, 187, 0, 0, 0, 0];
        rest.extend(Ipv6Addr::LOCALHOST.octets());
        let short = sockaddr(INET6, &rest);
        assert_eq!(Address::decode(&short), Address::Inet6 { ip: Ipv6Addr::LOCALHOST, port: 443, scope_id: 0 });
        rest.extend(3_u32.to_ne_bytes());
        let full = sockaddr(INET6, &rest);
        assert_eq!(Address::decode(&full), Address::Inet6 { ip: Ipv6Addr::LOCALHOST, port: 443, scope_id: 3 });
    }

    #[test]
    fn local_names() {
        assert_eq!(Address::decode(&sockaddr(LOCAL, b"/run/x.sock\0\0\0")), Address::Path(b"/run/x.sock"));
        assert_eq!(Address::decode(&sockaddr(LOCAL, b"\0bus\0x")), Address::Abstract(b"bus\0x"));
        assert_eq!(Address::decode(&sockaddr(LOCAL, b"")), Address::Unnamed);
        assert_eq!(Address::decode(&sockaddr(LOCAL, b"\0")), Address::Unnamed);
    }

    #[test]
    fn what_is_not_understood_keeps_its_bytes() {
        let vsock = sockaddr(40, &[1, 2, 3]);
        assert_eq!(Address::decode(&vsock), Address::Other { family: Some(40), bytes: &vsock });
        assert_eq!(Address::decode(&vsock).family(), "vsock");
        let cut = sockaddr(INET, &[0, 9, 127]);
        assert_eq!(Address::decode(&cut), Address::Other { family: Some(INET), bytes: &cut });
        assert_eq!(Address::decode(&cut).family(), "inet");
        assert_eq!(Address::decode(&[7]), Address::Other { family: None, bytes: &[7] });
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..140)) {
            prop_assert!(!Address::decode(&bytes).family().is_empty());
        }
    }
}
