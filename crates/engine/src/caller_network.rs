//! From which network somebody comes, as coarse as throttling needs it.
//!
//! Whoever has one IPv6 address usually has the whole /64, and often a /48; limits that count single addresses would be none.
//! A caller whose address is not known shares one place with all others of that kind.

use std::net::IpAddr;

use keyward_core::address::CallerAddress;

/// A network that is counted as one caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Network {
    /// One IPv4 address.
    V4([u8; 4]),
    /// An IPv6 /64.
    V6([u8; 8]),
    /// An IPv6 /48.
    V6Wide([u8; 6]),
    /// Callers over the socket, and those behind a proxy that does not say.
    Unknown,
}

impl Network {
    /// The network that a caller is counted by first.
    pub(crate) fn of(address: CallerAddress) -> Self {
        match address {
            CallerAddress::Known(IpAddr::V4(ip)) => Self::V4(ip.octets()),
            CallerAddress::Known(IpAddr::V6(ip)) => {
                let octets = ip.octets();
                octets
                    .first_chunk::<8>()
                    .map_or(Self::Unknown, |net| Self::V6(*net))
            }
            CallerAddress::Unknown => Self::Unknown,
        }
    }

    /// The wider one around it, where there is one.
    pub(crate) fn wider(self) -> Option<Self> {
        match self {
            Self::V6(net) => net.first_chunk::<6>().map(|wide| Self::V6Wide(*wide)),
            Self::V4(_) | Self::V6Wide(_) | Self::Unknown => None,
        }
    }
}
