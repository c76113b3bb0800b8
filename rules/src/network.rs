//! Internet addresses: what `-F daddr` compares, and what a call was given.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

/// Bits before an IPv4 address within IPv6 (RFC 4291, section 2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// A range of addresses. An IPv4 address is one within IPv6 as well, whichever kind of socket reaches it, so it is kept as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(Ipv6Net);

/// Why a text is no [`Network`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadNetwork {
    /// No address, with or without the length of its prefix.
    Unreadable,
    /// There are bits behind the prefix; the network that has none.
    BitsBehindPrefix(Network),
}

impl Network {
    /// From an address, or an address, a slash, and the length of the prefix in bits.
    ///
    /// # Errors
    /// If it is neither, or has bits behind its prefix.
    pub fn parse(text: &str) -> Result<Self, BadNetwork> {
        let single = || text.parse::<IpAddr>().map(IpNet::from);
        let given = text.parse::<IpNet>().or_else(|_| single()).map_err(|_| BadNetwork::Unreadable)?;
        let network = Self::within_ipv6(given.trunc()).ok_or(BadNetwork::Unreadable)?;
        if given == given.trunc() { Ok(network) } else { Err(BadNetwork::BitsBehindPrefix(network)) }
    }

    fn within_ipv6(network: IpNet) -> Option<Self> {
        match network {
            IpNet::V4(network) => {
                let length = network.prefix_len() + MAPPED_BITS;
                Ipv6Net::new(network.addr().to_ipv6_mapped(), length).ok().map(Self)
            }
            IpNet::V6(network) => Some(Self(network)),
        }
    }

    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: &Ipv6Addr) -> bool {
        self.0.contains(address)
    }

    /// Its bits, and a bit for each of its prefix; most significant first.
    #[must_use]
    pub fn bits_and_mask(&self) -> (u128, u128) {
        (self.0.network().to_bits(), self.0.netmask().to_bits())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, length) = (self.0.addr(), self.0.prefix_len());
        let (address, length, all) = match (address.to_ipv4_mapped(), length.checked_sub(MAPPED_BITS)) {
            (Some(address), Some(length)) => (IpAddr::from(address), length, 32),
            _ => (IpAddr::from(address), length, 128),
        };
        if length == all { write!(out, "{address}") } else { write!(out, "{address}/{length}") }
    }
}

/// A socket address that a call was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketAddress {
    /// `AF_*`
    pub family: u16,
    /// Of the internet's families: address and port.
    pub inet: Option<(Ipv6Addr, u16)>,
}

impl SocketAddress {
    /// From a `struct sockaddr`; `None` if not even its family is there.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        /// Of ip(7) and ipv6(7).
        const AF_INET: u16 = 2;
        const AF_INET6: u16 = 10;
        let family = u16::from_ne_bytes(*bytes.first_chunk()?);
        let part = |start: usize, length: usize| bytes.get(start..start + length);
        let address = match family {
            AF_INET => {
                part(4, 4).and_then(|ip| <[u8; 4]>::try_from(ip).ok()).map(|ip| Ipv4Addr::from(ip).to_ipv6_mapped())
            }
            AF_INET6 => part(8, 16).and_then(|ip| <[u8; 16]>::try_from(ip).ok()).map(Ipv6Addr::from),
            _ => None,
        };
        let port = part(2, 2).and_then(|port| <[u8; 2]>::try_from(port).ok()).map(u16::from_be_bytes);
        Some(Self { family, inet: address.zip(port) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_printed_as_they_are_written() {
        for text in ["10.0.0.0/8", "192.0.2.7", "0.0.0.0/0", "2001:db8::/32", "::1", "::/0"] {
            assert_eq!(Network::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Network::parse("::ffff:10.0.0.0/104").unwrap(), Network::parse("10.0.0.0/8").unwrap());
        for text in ["", "10.0.0.0/33", "10.0.0", "::g", "host", "10.0.0.0/", "10.0.0.0/-1"] {
            assert_eq!(Network::parse(text), Err(BadNetwork::Unreadable), "{text}");
        }
        let whole = Network::parse("10.0.0.0/8").unwrap();
        assert_eq!(Network::parse("10.1.0.0/8"), Err(BadNetwork::BitsBehindPrefix(whole)));
    }

    #[test]
    fn an_ipv4_address_is_the_same_by_either_kind_of_socket() {
        let network = Network::parse("10.0.0.0/8").unwrap();
        let by_inet = [2, 0, 0, 22, 10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0];
        let by_inet6 =
            [&[10, 0, 0, 22, 0, 0, 0, 0][..], &Ipv4Addr::new(10, 1, 2, 3).to_ipv6_mapped().octets()].concat();
        for bytes in [&by_inet[..], &by_inet6] {
            let address = SocketAddress::parse(bytes).unwrap();
            let (ip, port) = address.inet.unwrap();
            assert!(network.contains(&ip) && port == 22, "{address:?}");
            assert_eq!(ip.to_bits() & network.bits_and_mask().1, network.bits_and_mask().0);
        }
        assert_eq!(SocketAddress::parse(&[1, 0, b'/']), Some(SocketAddress { family: 1, inet: None }));
        assert_eq!(SocketAddress::parse(&by_inet[..6]), Some(SocketAddress { family: 2, inet: None }));
        assert_eq!(SocketAddress::parse(&[1]), None);
    }
}
