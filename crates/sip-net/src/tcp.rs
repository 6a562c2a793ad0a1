//! TCP listeners and outgoing connections.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::address::mapped;

/// Opens a listener that other shards have twins of (SO_REUSEPORT). An IPv6 wildcard takes IPv4 as well. Must be called
/// inside a tokio runtime.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // A restarted pod takes its port back though old connections linger.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

/// Connects, from `from` unless that is a wildcard. The port we connect from is the system's choice.
pub async fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    if !from.is_unspecified() {
        let from = SocketAddr::new(from, 0);
        socket.bind(if to.is_ipv6() { mapped(from) } else { from })?;
    }
    socket.connect(to).await
}
