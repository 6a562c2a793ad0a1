//! The system calls that the standard library has no safe form of: `recvmmsg` and `sendmsg` with packet information.
//!
//! Everything unsafe of this crate is here. Each function takes a borrowed socket and plain buffers, and what it hands
//! out is owned or borrowed in the ordinary way.
#![allow(unsafe_code)]
// Lengths of control messages are of another type on musl.
#![allow(clippy::unnecessary_cast)]

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Datagrams read by one call.
pub const BATCH: usize = 32;

/// The largest datagram that IP can carry.
const LARGEST: usize = 65_535;

/// Room for packet information of either family and the drop counter, aligned as `cmsghdr` wants it.
type Control = [u64; 12];

/// Buffers of one receiving socket, allocated once.
pub struct Slots {
    bytes: Vec<u8>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    lengths: Vec<usize>,
    control_lengths: Vec<usize>,
    count: usize,
}

/// One datagram in its slot.
pub struct Datagram<'s> {
    /// What it carries.
    pub bytes: &'s [u8],
    /// Where it came from, as the socket says.
    pub remote: SocketAddr,
    /// The address that it was sent to, if the system told.
    pub local: Option<IpAddr>,
    /// Datagrams that the system dropped on this socket since it was opened, if it told.
    pub dropped: Option<u32>,
}

impl std::fmt::Debug for Slots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slots").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Slots {
    pub fn new() -> Self {
        Slots {
            bytes: vec![0; BATCH * LARGEST],
            names: vec![no_name(); BATCH],
            controls: vec![[0; 12]; BATCH],
            lengths: vec![0; BATCH],
            control_lengths: vec![0; BATCH],
            count: 0,
        }
    }

    /// Reads what is there, up to [`BATCH`] datagrams, without waiting.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.count = 0;
        let mut vectors: [MaybeUninit<libc::iovec>; BATCH] = [const { MaybeUninit::uninit() }; BATCH];
        let mut headers: [MaybeUninit<libc::mmsghdr>; BATCH] = [const { MaybeUninit::uninit() }; BATCH];
        let buffers = self.bytes.chunks_exact_mut(LARGEST).zip(&mut self.names).zip(&mut self.controls);
        for (((buffer, name), control), (vector, header)) in
            buffers.zip(vectors.iter_mut().zip(headers.iter_mut()))
        {
            let vector =
                vector.write(libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() });
            // SAFETY: all-zero bytes are a valid `mmsghdr`: it holds integers and pointers, which may be null.
            let mut made: libc::mmsghdr = unsafe { mem::zeroed() };
            made.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
            made.msg_hdr.msg_namelen = size::<libc::sockaddr_storage>() as libc::socklen_t;
            made.msg_hdr.msg_iov = vector;
            made.msg_hdr.msg_iovlen = 1;
            made.msg_hdr.msg_control = control.as_mut_ptr().cast();
            made.msg_hdr.msg_controllen = size::<Control>() as _;
            header.write(made);
        }
        // SAFETY: all BATCH headers were written above (the vectors have BATCH entries each), and every pointer in them
        // points into a buffer of `self` or into `vectors`, which live until after the call and are touched by nothing else.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr().cast(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (slot, header) in headers.iter().enumerate().take(count) {
            // SAFETY: every header was written before the call.
            let header = unsafe { header.assume_init_ref() };
            if let Some(length) = self.lengths.get_mut(slot) {
                *length = (header.msg_len as usize).min(LARGEST);
            }
            if let Some(length) = self.control_lengths.get_mut(slot) {
                *length = (header.msg_hdr.msg_controllen as usize).min(size::<Control>());
            }
        }
        self.count = count.min(BATCH);
        Ok(self.count)
    }

    /// The datagrams of the last [`Slots::receive`]. One whose source cannot be read is left out.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        (0..self.count).filter_map(|slot| self.datagram(slot))
    }

    fn datagram(&self, slot: usize) -> Option<Datagram<'_>> {
        let from = slot * LARGEST;
        let bytes = self.bytes.get(from..from + self.lengths.get(slot)?)?;
        let remote = address_of(self.names.get(slot)?)?;
        let (local, dropped) = read_control(self.controls.get(slot)?, *self.control_lengths.get(slot)?);
        Some(Datagram { bytes, remote, local, dropped })
    }
}

fn no_name() -> libc::sockaddr_storage {
    // SAFETY: all-zero bytes are a valid `sockaddr_storage`: it holds integers only.
    unsafe { mem::zeroed() }
}

const fn size<T>() -> usize {
    mem::size_of::<T>()
}

fn address_of(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: a `sockaddr_storage` is large enough and aligned for every address, and its family says that it
            // holds an IPv4 one.
            let name = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, with IPv6.
            let name = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(name.sin6_port), 0, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn read_control(control: &Control, length: usize) -> (Option<IpAddr>, Option<u32>) {
    let (mut local, mut dropped) = (None, None);
    // SAFETY: all-zero bytes are a valid `msghdr`.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_control = control.as_ptr().cast_mut().cast();
    header.msg_controllen = length as _;
    // SAFETY: the header describes `length` initialised octets of `control`, which is aligned for `cmsghdr`; CMSG_FIRSTHDR
    // and CMSG_NXTHDR stay inside them and return null at the end. Nothing is written through the pointers. Each payload is
    // read unaligned and only when the entry is long enough to hold it.
    unsafe {
        let mut entry = libc::CMSG_FIRSTHDR(&header);
        while let Some(head) = entry.as_ref() {
            let payload = (head.cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            let data = libc::CMSG_DATA(entry);
            match (head.cmsg_level, head.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) if payload >= size::<libc::in_pktinfo>() => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    // The destination of the packet; `ipi_spec_dst` is the address of the interface it came in by.
                    local = Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if payload >= size::<libc::in6_pktinfo>() => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) if payload >= size::<u32>() => {
                    dropped = Some(data.cast::<u32>().read_unaligned());
                }
                _ => {}
            }
            entry = libc::CMSG_NXTHDR(&header, entry);
        }
    }
    (local, dropped)
}

/// Sends one datagram, from a certain address of this host if `from` names one. `to` and `from` are of the socket's
/// family.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], to: SocketAddr, from: Option<IpAddr>) -> io::Result<()> {
    let (mut name, name_length) = name_of(to);
    let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control: Control = [0; 12];
    // SAFETY: all-zero bytes are a valid `msghdr`.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = std::ptr::from_mut(&mut name).cast();
    header.msg_namelen = name_length;
    header.msg_iov = &mut vector;
    header.msg_iovlen = 1;
    match from {
        None => {}
        Some(IpAddr::V4(from)) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from(from).to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            write_control(&mut header, &mut control, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        Some(IpAddr::V6(from)) => {
            let info =
                libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: from.octets() }, ipi6_ifindex: 0 };
            write_control(&mut header, &mut control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
    }
    // SAFETY: every pointer in the header points to a local of this function or to `bytes`; sendmsg only reads them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn write_control<T>(
    header: &mut libc::msghdr,
    control: &mut Control,
    level: libc::c_int,
    kind: libc::c_int,
    value: T,
) {
    // SAFETY: these two only compute.
    let (space, length) = unsafe { (libc::CMSG_SPACE(size::<T>() as _), libc::CMSG_LEN(size::<T>() as _)) };
    if space as usize > size::<Control>() {
        return;
    }
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = space as _;
    // SAFETY: `control` is zeroed, aligned for `cmsghdr`, and holds `space` octets (checked above), so CMSG_FIRSTHDR is not
    // null and header and payload fit.
    unsafe {
        let entry = libc::CMSG_FIRSTHDR(header);
        (*entry).cmsg_level = level;
        (*entry).cmsg_type = kind;
        (*entry).cmsg_len = length as _;
        libc::CMSG_DATA(entry).cast::<T>().write_unaligned(value);
    }
}

fn name_of(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    let mut name = no_name();
    let length = match address {
        SocketAddr::V4(v4) => {
            // SAFETY: as in `address_of`; the storage is exclusively ours.
            let name = unsafe { &mut *std::ptr::from_mut(&mut name).cast::<libc::sockaddr_in>() };
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            name.sin_port = v4.port().to_be();
            name.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
            size::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            // SAFETY: as above.
            let name = unsafe { &mut *std::ptr::from_mut(&mut name).cast::<libc::sockaddr_in6>() };
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = v6.port().to_be();
            name.sin6_addr.s6_addr = v6.ip().octets();
            name.sin6_scope_id = v6.scope_id();
            size::<libc::sockaddr_in6>()
        }
    };
    (name, length as libc::socklen_t)
}

/// Asks the system to tell with each datagram where it was sent to, and how many were dropped before it.
pub fn want_packet_information(socket: BorrowedFd<'_>, ipv6: bool) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL)?;
    if ipv6 {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO)
    }
}

fn set(socket: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the pointer and the length describe `on`, which the call only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(&on).cast(),
            size::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
