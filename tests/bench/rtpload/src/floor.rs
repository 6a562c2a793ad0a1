//! The least that a relay in user space can do: a socket for each side, receive, look up, send.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};

use crate::Streams;
use crate::load::Call;

/// The name of its threads.
const NAME: &str = "floor";

/// Starts it in this process, with calls through it.
pub fn start(streams: &Streams) -> anyhow::Result<(Vec<Call>, &'static str)> {
    let (at_a, at_b) = (UdpSocket::bind(("127.0.43.2", 0))?, UdpSocket::bind(("127.0.43.2", 0))?);
    for socket in [&at_a, &at_b] {
        socket2::SockRef::from(socket).set_recv_buffer_size(4 * 1024 * 1024)?;
    }
    let (mut calls, mut to_b, mut to_a) = (Vec::new(), HashMap::new(), HashMap::new());
    for number in 0..streams.calls {
        let (a, b) = streams.phones(number)?;
        a.connect(at_a.local_addr()?)?;
        b.connect(at_b.local_addr()?)?;
        to_b.insert(a.local_addr()?, b.local_addr()?);
        to_a.insert(b.local_addr()?, a.local_addr()?);
        calls.push(Call { a, b });
    }
    forward(at_a.try_clone()?, at_b.try_clone()?, to_b)?;
    forward(at_b, at_a, to_a)?;
    Ok((calls, NAME))
}

fn forward(from: UdpSocket, by: UdpSocket, to: HashMap<SocketAddr, SocketAddr>) -> std::io::Result<()> {
    std::thread::Builder::new().name(NAME.to_owned()).spawn(move || {
        let mut packet = [0; 2_048];
        while let Ok((length, source)) = from.recv_from(&mut packet) {
            if let Some(to) = to.get(&source)
                && let Err(failed) = by.send_to(&packet[..length], to)
            {
                eprintln!("{failed}");
            }
        }
    })?;
    Ok(())
}
