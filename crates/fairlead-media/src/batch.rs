//! Many datagrams a system call: `recvmmsg(2)` and `sendmmsg(2)`. The only place where memory is handed to the kernel.
//!
//! Received datagrams stay where they are and are sent from there, so relaying copies nothing.

#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The longest datagram that is relayed, bytes. Longer ones are dropped.
pub const LONGEST: usize = 2_048;
/// Datagrams that fit into a batch.
pub const CAPACITY: usize = 256;

/// A batch of datagrams.
///
/// The buffers never move or grow after `new`; the headers point into them and are written anew before each call.
pub struct Batch {
    buffers: Box<[[u8; LONGEST]]>,
    names: Box<[Name]>,
    parts: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    received: Vec<Received>,
}

// SAFETY: the raw pointers in `parts` and `headers` point into boxes that the batch owns and are only followed by the
// kernel during a call made with `&mut self`; moving the batch to another thread moves the boxes' owner, not their contents.
unsafe impl Send for Batch {}

/// Room for an address of either family.
#[derive(Clone, Copy)]
#[repr(C)]
union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// A datagram of the batch.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Which buffer.
    pub buffer: u16,
    /// Its length, bytes.
    pub length: u16,
    /// Where it came from, in canonical form.
    pub from: SocketAddr,
}

/// A datagram to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing {
    /// Which socket, by the caller's count.
    pub socket: u32,
    /// Which buffer.
    pub buffer: u16,
    /// How much of it.
    pub length: u16,
    /// Where to.
    pub to: SocketAddr,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        // SAFETY: all three are plain C structs and unions of integers and pointers, for which zeroes are valid.
        let (name, part, header) =
            unsafe { (zeroed::<Name>(), zeroed::<libc::iovec>(), zeroed::<libc::mmsghdr>()) };
        Batch {
            buffers: vec![[0; LONGEST]; CAPACITY].into_boxed_slice(),
            names: vec![name; CAPACITY].into_boxed_slice(),
            parts: vec![part; CAPACITY].into_boxed_slice(),
            headers: vec![header; CAPACITY].into_boxed_slice(),
            received: Vec::with_capacity(CAPACITY),
        }
    }

    /// Forgets what was received.
    pub fn clear(&mut self) {
        self.received.clear();
    }

    /// No more fits.
    pub fn is_full(&self) -> bool {
        self.received.len() >= CAPACITY
    }

    /// What was received since [`Self::clear`].
    pub fn received(&self) -> &[Received] {
        &self.received
    }

    /// The bytes of one of them.
    pub fn bytes(&self, datagram: &Received) -> &[u8] {
        self.buffers
            .get(usize::from(datagram.buffer))
            .and_then(|all| all.get(..usize::from(datagram.length)))
            .unwrap_or(&[])
    }

    /// Receives what is there without waiting, as far as it fits. Returns how many datagrams the socket gave, those
    /// included that were too long and are dropped.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let first = self.received.len();
        let room = CAPACITY - first;
        for at in first..CAPACITY {
            self.parts[at] = libc::iovec { iov_base: self.buffers[at].as_mut_ptr().cast(), iov_len: LONGEST };
            self.point(at, size_of::<Name>());
        }
        let Some(headers) = self.headers.get_mut(first..) else { return Ok(0) };
        // SAFETY: `headers` has `room` entries; each points to one `Name` and to one iovec, which points to one buffer of
        // LONGEST bytes, all owned by `self`, which is borrowed mutably until the call returns.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                room as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        let count = count as usize;
        for at in first..first + count {
            let header = &self.headers[at];
            let whole = header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            let length = header.msg_len as usize;
            if let Some(from) = self.names[at].read(header.msg_hdr.msg_namelen)
                && whole
                && length <= LONGEST
            {
                self.received.push(Received { buffer: at as u16, length: length as u16, from });
            }
        }
        // A datagram that was left out leaves a gap in front of the next one's buffer, which would be used twice: so
        // buffers are named by `Received`, and the next call starts behind the last one used.
        if self.received.len() < first + count {
            self.close_gaps(first, count);
        }
        Ok(count)
    }

    /// Moves datagrams to the front so that `received[n]` is in buffer `n` again.
    fn close_gaps(&mut self, first: usize, count: usize) {
        let mut to = first;
        for at in first..first + count {
            let Some(datagram) =
                self.received.get_mut(to).filter(|datagram| usize::from(datagram.buffer) == at)
            else {
                continue;
            };
            if to != at {
                datagram.buffer = to as u16;
                self.buffers.copy_within(at..=at, to);
            }
            to += 1;
        }
    }

    /// Sends datagrams of this batch, all through one socket. Returns how many left; what a socket refuses is passed
    /// over.
    pub fn send(&mut self, socket: BorrowedFd<'_>, outgoing: &[Outgoing]) -> usize {
        let outgoing = outgoing.get(..CAPACITY).unwrap_or(outgoing);
        for (at, datagram) in outgoing.iter().enumerate() {
            let Some(buffer) = self.buffers.get_mut(usize::from(datagram.buffer)) else { return 0 };
            let length = usize::from(datagram.length).min(LONGEST);
            self.parts[at] = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: length };
            let length = self.names[at].write(datagram.to);
            self.point(at, length);
        }
        let (mut next, mut sent) = (0, 0);
        while next < outgoing.len() {
            let Some(headers) = self.headers.get_mut(next..outgoing.len()) else { break };
            // SAFETY: as in `receive`; the kernel only reads what the headers point to.
            let count = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    headers.as_mut_ptr(),
                    headers.len() as libc::c_uint,
                    libc::MSG_DONTWAIT,
                )
            };
            if count > 0 {
                next += count as usize;
                sent += count as usize;
            } else {
                let refused = io::Error::last_os_error();
                if refused.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                // The first of the rest was refused (a full queue, no route, an earlier ICMP error): go on behind it.
                next += 1;
            }
        }
        sent
    }

    fn point(&mut self, at: usize, name_length: usize) {
        let header = &mut self.headers[at];
        header.msg_len = 0;
        header.msg_hdr.msg_name = (&raw mut self.names[at]).cast();
        header.msg_hdr.msg_namelen = name_length as libc::socklen_t;
        header.msg_hdr.msg_iov = &raw mut self.parts[at];
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = std::ptr::null_mut();
        header.msg_hdr.msg_controllen = 0;
        header.msg_hdr.msg_flags = 0;
    }
}

/// Datagrams that the kernel has dropped since a socket was opened, because its queue was full (wraps around).
pub fn overflowed(socket: BorrowedFd<'_>) -> Option<u32> {
    // sock_diag(7): SK_MEMINFO_DROPS is the ninth of these numbers; old kernels have fewer.
    const DROPS: usize = 8;
    let mut numbers = [0_u32; DROPS + 1];
    let mut length = size_of::<[u32; DROPS + 1]>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is the size of `numbers`, and says how many it wrote.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            numbers.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    (failed == 0 && length as usize >= size_of::<[u32; DROPS + 1]>()).then_some(numbers[DROPS])
}

impl Name {
    fn read(&self, length: libc::socklen_t) -> Option<SocketAddr> {
        // SAFETY: the union is larger than the family field, which both variants have at the same place, and any bytes are
        // valid integers. A variant is only read when the kernel says that it wrote at least its size.
        let family = unsafe { i32::from(self.v4.sin_family) };
        match family {
            libc::AF_INET if length as usize >= size_of::<libc::sockaddr_in>() => {
                let name = unsafe { self.v4 };
                let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
                Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(name.sin_port)))
            }
            libc::AF_INET6 if length as usize >= size_of::<libc::sockaddr_in6>() => {
                let name = unsafe { self.v6 };
                let ip = IpAddr::V6(Ipv6Addr::from(name.sin6_addr.s6_addr)).to_canonical();
                Some(SocketAddr::new(ip, u16::from_be(name.sin6_port)))
            }
            _ => None,
        }
    }

    fn write(&mut self, address: SocketAddr) -> usize {
        // SAFETY: zeroes are valid for both C structs.
        match address {
            SocketAddr::V4(v4) => {
                let mut name: libc::sockaddr_in = unsafe { zeroed() };
                name.sin_family = libc::AF_INET as libc::sa_family_t;
                name.sin_port = v4.port().to_be();
                name.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
                self.v4 = name;
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(v6) => {
                let mut name: libc::sockaddr_in6 = unsafe { zeroed() };
                name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                name.sin6_port = v6.port().to_be();
                name.sin6_addr.s6_addr = v6.ip().octets();
                name.sin6_scope_id = v6.scope_id();
                self.v6 = name;
                size_of::<libc::sockaddr_in6>()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    fn pair(bind: &str) -> (UdpSocket, UdpSocket) {
        (UdpSocket::bind(bind).unwrap(), UdpSocket::bind(bind).unwrap())
    }

    fn relay_one(bind: &str) {
        let (phone, relay) = pair(bind);
        let far = UdpSocket::bind(bind).unwrap();
        for n in 0..5_u8 {
            phone.send_to(&[n; 172], relay.local_addr().unwrap()).unwrap();
        }
        let mut batch = Batch::new();
        while batch.received().len() < 5 {
            let _ = batch.receive(relay.as_fd());
        }
        let to = far.local_addr().unwrap();
        let outgoing: Vec<Outgoing> = batch
            .received()
            .iter()
            .map(|datagram| {
                assert_eq!(datagram.from, phone.local_addr().unwrap());
                Outgoing { socket: 0, buffer: datagram.buffer, length: datagram.length, to }
            })
            .collect();
        assert_eq!(batch.send(relay.as_fd(), &outgoing), 5);
        let mut buffer = [0; 256];
        for n in 0..5_u8 {
            let (length, from) = far.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (&[n; 172][..], relay.local_addr().unwrap()));
        }
    }

    #[test]
    fn what_is_received_is_sent_from_where_it_lies() {
        relay_one("127.0.0.1:0");
        relay_one("[::1]:0");
    }

    #[test]
    fn what_is_too_long_is_left_out_and_the_rest_stays_whole() {
        let (phone, relay) = pair("127.0.0.1:0");
        let to = relay.local_addr().unwrap();
        phone.send_to(&[1; 100], to).unwrap();
        phone.send_to(&[2; LONGEST + 1], to).unwrap();
        phone.send_to(&[3; LONGEST], to).unwrap();
        phone.send_to(&[], to).unwrap();
        let mut batch = Batch::new();
        let mut given = 0;
        while given < 4 {
            given += batch.receive(relay.as_fd()).unwrap_or(0);
        }
        let lengths: Vec<usize> =
            batch.received().iter().map(|datagram| batch.bytes(datagram).len()).collect();
        assert_eq!(lengths, [100, LONGEST, 0]);
        assert!(batch.bytes(&batch.received()[1]).iter().all(|&byte| byte == 3));
    }

    #[test]
    fn what_the_kernel_drops_is_known() {
        let (phone, relay) = pair("127.0.0.1:0");
        socket2::SockRef::from(&relay).set_recv_buffer_size(2_048).unwrap();
        assert_eq!(overflowed(relay.as_fd()), Some(0));
        for _ in 0..100 {
            phone.send_to(&[0; 172], relay.local_addr().unwrap()).unwrap();
        }
        let dropped = overflowed(relay.as_fd()).unwrap();
        assert!((1..100).contains(&dropped), "{dropped}");
    }

    #[test]
    fn a_destination_that_is_refused_does_not_hold_up_the_others() {
        let (phone, relay) = pair("127.0.0.1:0");
        relay.send_to(&[7; 10], relay.local_addr().unwrap()).unwrap();
        let mut batch = Batch::new();
        while batch.received().is_empty() {
            let _ = batch.receive(relay.as_fd());
        }
        let out = |to: &str| Outgoing { socket: 0, buffer: 0, length: 10, to: to.parse().unwrap() };
        let good = phone.local_addr().unwrap().to_string();
        assert_eq!(batch.send(relay.as_fd(), &[out(&good), out("0.0.0.0:0"), out(&good)]), 2);
    }
}
