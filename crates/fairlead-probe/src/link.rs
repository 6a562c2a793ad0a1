//! How a phone's SIP messages go to the edge and come back: one UDP socket, or one TCP connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use sip_wire::{Frame, Limits, Message, StreamFramer, is_keep_alive};
use tokio::io::Interest;
use tokio::net::{TcpStream, UdpSocket};

/// Which way SIP goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    #[default]
    Udp,
    /// A connection.
    Tcp,
}

impl Transport {
    /// As Via has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
        }
    }
}

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(4);
/// Octets that may wait to be sent; a phone that has more than this to say has nobody to say it to.
const WAITING: usize = 256 * 1024;

/// The way to the edge of one phone.
#[derive(Debug)]
pub(crate) struct Link {
    kind: Kind,
    local: SocketAddr,
    /// Somebody said that nobody listens there (ICMP).
    pub refused: bool,
}

#[derive(Debug)]
enum Kind {
    Udp { socket: UdpSocket, buffer: Box<[u8]> },
    Tcp { stream: TcpStream, framer: StreamFramer, outgoing: BytesMut, buffer: Box<[u8]> },
}

impl Link {
    /// Opens it. The local address is the one that packets to the edge leave from.
    pub async fn open(transport: Transport, remote: SocketAddr) -> io::Result<Link> {
        let any: IpAddr = if remote.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
        let kind = match transport {
            Transport::Udp => {
                let socket = UdpSocket::bind((any, 0)).await?;
                // Connected: what comes from elsewhere is not for us, and a closed port is told at once.
                socket.connect(remote).await?;
                socket.writable().await?;
                Kind::Udp { socket, buffer: vec![0; 65_536].into() }
            }
            Transport::Tcp => {
                let stream = tokio::time::timeout(CONNECT, TcpStream::connect(remote))
                    .await
                    .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                stream.set_nodelay(true)?;
                let framer = StreamFramer::new(Limits::DEFAULT);
                Kind::Tcp { stream, framer, outgoing: BytesMut::new(), buffer: vec![0; 16_384].into() }
            }
        };
        let local = match &kind {
            Kind::Udp { socket, .. } => socket.local_addr()?,
            Kind::Tcp { stream, .. } => stream.local_addr()?,
        };
        Ok(Link { kind, local, refused: false })
    }

    /// Ours.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Which it is.
    pub fn transport(&self) -> Transport {
        match self.kind {
            Kind::Udp { .. } => Transport::Udp,
            Kind::Tcp { .. } => Transport::Tcp,
        }
    }

    /// Sends, without waiting: a datagram that does not go is as good as lost, the rest of a stream goes with
    /// [`Self::receive`].
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match &mut self.kind {
            Kind::Udp { socket, .. } => match socket.try_send(message) {
                Ok(_) => Ok(()),
                Err(refused) if refused.kind() == io::ErrorKind::WouldBlock => Ok(()),
                // The ICMP answer to an earlier one: the next may get through, as pods come.
                Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                    self.refused = true;
                    Ok(())
                }
                Err(failed) => Err(failed),
            },
            Kind::Tcp { stream, outgoing, .. } => {
                if outgoing.len() + message.len() > WAITING {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                outgoing.extend_from_slice(message);
                push(stream, outgoing)
            }
        }
    }

    /// The next message. May be dropped at any time without losing one.
    pub async fn receive(&mut self) -> io::Result<Message> {
        match &mut self.kind {
            Kind::Udp { socket, buffer } => loop {
                match socket.recv(buffer).await {
                    Ok(length) => {
                        let datagram = buffer.get(..length).unwrap_or_default();
                        self.refused = false;
                        if is_keep_alive(datagram) {
                            continue;
                        }
                        // What cannot be read is nothing that a phone could answer.
                        if let Ok(message) = Message::parse(Bytes::copy_from_slice(datagram)) {
                            return Ok(message);
                        }
                    }
                    Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => self.refused = true,
                    Err(failed) => return Err(failed),
                }
            },
            Kind::Tcp { stream, framer, outgoing, buffer } => loop {
                match framer.next_frame() {
                    Ok(Some(Frame::Message(message))) => return Ok(message),
                    Ok(Some(_)) => continue,
                    Ok(None) => {}
                    Err(_) => return Err(io::ErrorKind::InvalidData.into()),
                }
                let interest = if outgoing.is_empty() {
                    Interest::READABLE
                } else {
                    Interest::READABLE | Interest::WRITABLE
                };
                let ready = stream.ready(interest).await?;
                if ready.is_writable() {
                    push(stream, outgoing)?;
                }
                if ready.is_readable() {
                    match stream.try_read(buffer) {
                        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                        Ok(length) => framer.push(buffer.get(..length).unwrap_or_default()),
                        Err(blocked) if blocked.kind() == io::ErrorKind::WouldBlock => {}
                        Err(failed) => return Err(failed),
                    }
                }
            },
        }
    }
}

fn push(stream: &TcpStream, outgoing: &mut BytesMut) -> io::Result<()> {
    while !outgoing.is_empty() {
        match stream.try_write(outgoing) {
            Ok(length) => outgoing.advance(length),
            Err(blocked) if blocked.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(failed) => return Err(failed),
        }
    }
    Ok(())
}
