//! Networks of addresses: whom a server behind proxies believes.

#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr};
use core::str::FromStr;

/// A list of networks, such as `127.0.0.0/8, 10.1.2.3, 2001:db8::/32`. The default has none.
///
/// An IPv4 address that is written as one of IPv6 (`::ffff:10.1.2.3`) counts as the IPv4 address that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    /// In bits.
    prefix: u32,
}

/// Why a text is no list of [`Networks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NetworksError {
    /// Not an address, or one with something behind it that is not `/` and a number.
    Address,
    /// A prefix of more bits than the address has.
    Prefix,
    /// An address with bits behind its prefix: `10.1.2.3/8` for `10.0.0.0/8`.
    HostBits,
}

impl Networks {
    /// This machine: `127.0.0.0/8` and `::1`.
    #[must_use]
    pub fn loopback() -> Self {
        let v4 = Network { address: IpAddr::from([127, 0, 0, 0]), prefix: 8 };
        Self([v4, Network { address: Ipv6Addr::LOCALHOST.into(), prefix: 128 }].into())
    }

    /// Whether the address is in one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }
}

/// Networks between commas or spaces; an address without a prefix stands for itself.
impl FromStr for Networks {
    type Err = NetworksError;

    fn from_str(text: &str) -> Result<Self, NetworksError> {
        let networks = text.split([',', ' ']).filter(|network| !network.is_empty());
        networks.map(Network::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl Network {
    fn parse(text: &str) -> Result<Self, NetworksError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworksError::Address)?;
        let most = bits(address).1;
        let prefix = match prefix {
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                prefix.parse().map_err(|_| NetworksError::Address)?
            }
            Some(_) => return Err(NetworksError::Address),
            None => most,
        };
        if prefix > most {
            return Err(NetworksError::Prefix);
        }
        let network = match (address.to_canonical(), prefix) {
            (address @ IpAddr::V4(_), 96..) => Self { address, prefix: prefix - (most - bits(address).1) },
            _ => Self { address, prefix },
        };
        if behind(network.address, network.prefix) { Err(NetworksError::HostBits) } else { Ok(network) }
    }

    fn contains(self, address: IpAddr) -> bool {
        let ((ours, width), (theirs, other)) = (bits(self.address), bits(address));
        width == other && (ours ^ theirs).checked_shr(width - self.prefix).unwrap_or(0) == 0
    }
}

/// The bits of an address, and how many there are.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

/// Whether there are bits behind the prefix.
fn behind(address: IpAddr, prefix: u32) -> bool {
    let (bits, width) = bits(address);
    bits.trailing_zeros() < width - prefix
}

impl fmt::Display for NetworksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "not a list of networks: write 10.0.0.0/8, 192.0.2.1, 2001:db8::/32",
            Self::Prefix => {
                "a network's prefix is longer than its address: at most /32 for IPv4, /128 for IPv6"
            }
            Self::HostBits => {
                "an address has bits behind its prefix: write 10.0.0.0/8 for the network of 10.1.2.3"
            }
        })
    }
}

impl core::error::Error for NetworksError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(networks: &str, address: &str) -> bool {
        networks.parse::<Networks>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn addresses_are_in_their_networks() {
        for (networks, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "::2"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::ffff:11.1.1.1"),
            ("::ffff:10.0.0.0/104", "10.1.1.1", "11.1.1.1"),
            ("192.0.2.1, 10.0.0.0/8,, 2001:db8::/32", "10.9.9.9", "192.0.2.3"),
            ("", "::1", "::1"),
        ] {
            assert_eq!(contains(networks, inside), !networks.is_empty(), "{networks} {inside}");
            assert!(!contains(networks, outside), "{networks} {outside}");
        }
        assert!(Networks::loopback().contains([127, 9, 9, 9].into()));
        assert!(Networks::loopback().contains(Ipv6Addr::LOCALHOST.into()));
        assert!(!Networks::loopback().contains([128, 0, 0, 1].into()));
    }

    #[test]
    fn lists_that_are_wrong_are_refused() {
        for (text, error) in [
            ("localhost", NetworksError::Address),
            ("10.0.0.0/", NetworksError::Address),
            ("10.0.0.0/+8", NetworksError::Address),
            ("10.0.0.0/8/8", NetworksError::Address),
            ("10.0.0.0/99999999999", NetworksError::Address),
            ("10.0.0.0/33", NetworksError::Prefix),
            ("::/129", NetworksError::Prefix),
            ("10.1.2.3/8", NetworksError::HostBits),
            ("2001:db8::1/64", NetworksError::HostBits),
            ("0.0.0.1/0", NetworksError::HostBits),
        ] {
            assert_eq!(text.parse::<Networks>(), Err(error), "{text}");
        }
    }
}
