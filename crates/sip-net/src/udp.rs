//! One UDP socket of one shard.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;

use crate::address::{mapped, plain};
use crate::sys::{self, Slots};

/// A datagram with the addresses that the socket saw.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// What it carries.
    pub bytes: Bytes,
    /// Where it was sent to: never a wildcard.
    pub local: SocketAddr,
    /// Where it came from.
    pub remote: SocketAddr,
}

/// Why a datagram did not leave.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    /// The socket's buffer is full.
    #[error("the socket's buffer is full")]
    Full,
    /// The socket is of another address family.
    #[error("the socket is of another address family")]
    Family,
    /// The system refused.
    #[error("the system refused: {0}")]
    Socket(#[from] io::Error),
}

/// A UDP socket that other shards have twins of (SO_REUSEPORT).
#[derive(Debug)]
pub struct UdpSocket {
    socket: tokio::net::UdpSocket,
    local: SocketAddr,
    ipv6: bool,
    slots: Slots,
    dropped: u32,
}

impl UdpSocket {
    /// Opens one. An IPv6 wildcard takes IPv4 as well. `receive_buffer` is what the system is asked for, octets; it may
    /// grant less. Must be called inside a tokio runtime.
    pub fn bind(address: SocketAddr, receive_buffer: usize) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        // The system caps both at its own limits; that is no reason not to start.
        let _ = socket.set_recv_buffer_size(receive_buffer);
        let _ = socket.set_send_buffer_size(receive_buffer);
        sys::want_packet_information(socket.as_fd(), address.is_ipv6())?;
        socket.bind(&address.into())?;
        let socket: std::net::UdpSocket = socket.into();
        let local = socket.local_addr()?;
        Ok(UdpSocket {
            socket: tokio::net::UdpSocket::from_std(socket)?,
            local,
            ipv6: local.is_ipv6(),
            slots: Slots::new(),
            dropped: 0,
        })
    }

    /// What it is bound to, with the port that was chosen when 0 was asked for.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether it can send to this address.
    pub fn reaches(&self, remote: SocketAddr) -> bool {
        match (self.local.ip(), remote.ip()) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => true,
            (IpAddr::V6(local), IpAddr::V4(_)) => local.is_unspecified(),
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
        }
    }

    /// Takes what has arrived, a batch at most, into `into`. Errors of single packets (an ICMP answer to one that was
    /// sent) are no errors here.
    pub fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<Datagram>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_recv_ready(cx))?;
            let (socket, slots, mut count) = (&self.socket, &mut self.slots, 0);
            let received = socket.try_io(Interest::READABLE, || {
                count = slots.receive(socket.as_fd())?;
                // Fewer than there was room for: nothing more is there now, so wait for the next to arrive.
                if count < sys::BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match received {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    if error.kind() == io::ErrorKind::Interrupted || is_of_one_packet(&error) {
                        continue;
                    }
                    return Poll::Ready(Err(error));
                }
                _ if count == 0 => continue,
                _ => {}
            }
            for datagram in self.slots.datagrams() {
                if let Some(dropped) = datagram.dropped {
                    self.dropped = dropped;
                }
                let ip = datagram.local.unwrap_or(self.local.ip());
                into.push(Datagram {
                    bytes: Bytes::copy_from_slice(datagram.bytes),
                    local: plain(SocketAddr::new(ip, self.local.port())),
                    remote: plain(datagram.remote),
                });
            }
            return Poll::Ready(Ok(count));
        }
    }

    /// Sends a datagram, from `from` if that is one of this host's addresses (RFC 3581 §4: answers leave from where the
    /// request went to). Never waits.
    pub fn send(&self, bytes: &[u8], from: Option<IpAddr>, to: SocketAddr) -> Result<(), NotSent> {
        if !self.reaches(to) {
            return Err(NotSent::Family);
        }
        // A socket bound to one address needs no telling, and a wildcard is none.
        let from = from.filter(|ip| self.local.ip().is_unspecified() && !ip.is_unspecified());
        let (to, from) = if self.ipv6 {
            (mapped(to), from.map(|ip| mapped(SocketAddr::new(ip, 0)).ip()))
        } else {
            (to, from)
        };
        loop {
            match sys::send(self.socket.as_fd(), bytes, to, from) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(NotSent::Full),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Err(NotSent::Full),
                Err(error) => return Err(NotSent::Socket(error)),
            }
        }
    }

    /// How many datagrams the system dropped on this socket because nobody took them in time.
    pub fn dropped(&self) -> u32 {
        self.dropped
    }
}

/// Errors that a socket reports at the next call because of a packet that was sent before.
fn is_of_one_packet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    ) || matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::EPROTO))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn receive(socket: &mut UdpSocket) -> Vec<Datagram> {
        let mut batch = Vec::new();
        poll_fn(|cx| socket.poll_receive(cx, &mut batch)).await.unwrap();
        batch
    }

    #[tokio::test]
    async fn a_wildcard_socket_of_both_families_tells_plain_addresses_and_answers_from_where_it_was_asked() {
        let mut ours = UdpSocket::bind("[::]:0".parse().unwrap(), 1 << 20).unwrap();
        let port = ours.local().port();
        let phone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        // 127.0.0.7 is not the address that routing would choose for an answer.
        phone.send_to(b"ask", ("127.0.0.7", port)).unwrap();
        let batch = receive(&mut ours).await;
        assert_eq!(batch.len(), 1);
        let first = &batch[0];
        assert_eq!(&first.bytes[..], b"ask");
        assert_eq!(first.local, SocketAddr::new("127.0.0.7".parse().unwrap(), port));
        assert_eq!(first.remote, phone.local_addr().unwrap());

        ours.send(b"answer", Some(first.local.ip()), first.remote).unwrap();
        let mut buffer = [0; 64];
        let (length, from) = phone.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"answer");
        assert_eq!(from, first.local);

        let phone = std::net::UdpSocket::bind("[::1]:0").unwrap();
        phone.send_to(b"six", ("::1", port)).unwrap();
        let batch = receive(&mut ours).await;
        assert_eq!(batch[0].local, SocketAddr::new("::1".parse().unwrap(), port));
        ours.send(b"answer", Some(batch[0].local.ip()), batch[0].remote).unwrap();
        assert_eq!(phone.recv_from(&mut buffer).unwrap().1, batch[0].local);
    }

    #[tokio::test]
    async fn a_batch_is_taken_at_once_and_an_icmp_answer_does_not_end_the_socket() {
        let mut ours = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
        let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        ours.send(b"nobody is there", None, closed).unwrap();
        let phone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..100_u8 {
            phone.send_to(&[number], ours.local()).unwrap();
        }
        let mut seen = Vec::new();
        while seen.len() < 100 {
            seen.extend(receive(&mut ours).await.iter().map(|datagram| datagram.bytes[0]));
        }
        assert_eq!(seen, (0..100).collect::<Vec<u8>>());
    }

    #[tokio::test]
    async fn twins_share_a_port() {
        let first = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), 1 << 16).unwrap();
        let second = UdpSocket::bind(first.local(), 1 << 16).unwrap();
        assert_eq!(first.local(), second.local());
    }

    #[tokio::test]
    async fn an_ipv4_socket_refuses_ipv6() {
        let ours = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), 1 << 16).unwrap();
        assert!(matches!(ours.send(b"x", None, "[::1]:9".parse().unwrap()), Err(NotSent::Family)));
    }
}
