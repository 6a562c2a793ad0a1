//! Where to listen in a pod that may have one address family only.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// `EAFNOSUPPORT` of `socket(2)` on Linux: a kernel without IPv6.
const NO_SUCH_FAMILY: i32 = 97;

/// The address to listen on: the wildcard of IPv6, which takes IPv4 as well, becomes that of IPv4 where there is no IPv6
/// (a cluster of IPv4 alone). Whatever else is wrong with an address shows when it is bound.
pub fn usable(address: SocketAddr) -> SocketAddr {
    usable_if(address, || UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).map(drop))
}

fn usable_if(address: SocketAddr, try_ipv6: impl FnOnce() -> io::Result<()>) -> SocketAddr {
    let is_wildcard = address.is_ipv6() && address.ip().is_unspecified();
    if is_wildcard && try_ipv6().is_err_and(|error| lacks_family(&error)) {
        return SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    }
    address
}

fn lacks_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(NO_SUCH_FAMILY) || error.kind() == io::ErrorKind::AddrNotAvailable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_falls_back_to_ipv4_only_where_there_is_no_ipv6() {
        let wildcard: SocketAddr = "[::]:7002".parse().unwrap();
        let missing = || Err(io::Error::from_raw_os_error(NO_SUCH_FAMILY));
        assert_eq!(usable_if(wildcard, missing), "0.0.0.0:7002".parse().unwrap());
        assert_eq!(usable_if(wildcard, || Ok(())), wildcard);
        let other = || Err(io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(usable_if(wildcard, other), wildcard);
        let one: SocketAddr = "[::1]:7002".parse().unwrap();
        assert_eq!(usable_if(one, missing), one, "an address that was meant is not another");
    }
}
