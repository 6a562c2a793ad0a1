//! Waking a worker that waits for its sockets.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// An event that a worker waits for beside its sockets. However many orders come before it looks, it is woken once.
#[derive(Debug)]
pub(crate) struct Wake {
    event: OwnedFd,
    /// It has been woken and has not looked yet.
    woken: AtomicBool,
}

impl Wake {
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Wake { event, woken: AtomicBool::new(false) })
    }

    /// There is something to look at. Call it after that was put where the worker looks.
    pub fn wake(&self) {
        if self.woken.swap(true, Ordering::AcqRel) {
            return;
        }
        // It can only fail because the counter is full, and then the worker has been woken.
        if let Err(failed) = rustix::io::write(&self.event, &1_u64.to_ne_bytes()) {
            tracing::debug!(%failed, "a worker was woken already");
        }
    }

    /// The worker is about to look: what comes from now on wakes it again.
    pub fn look(&self) {
        let mut count = [0; 8];
        // That there is nothing to read is no matter.
        let _ = rustix::io::read(&self.event, &mut count);
        // An exchange, not a store: whoever found it set before must have what it put there seen by what follows.
        self.woken.swap(false, Ordering::AcqRel);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
