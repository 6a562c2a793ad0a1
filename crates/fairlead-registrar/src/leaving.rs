//! The end of one registrar of several: its pods go to another before it ends, what they asked is answered, and what was
//! promised is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fairlead_model::member::Role;
use fairlead_store::{Notice, Step};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::registrar::Registrar;

/// How long the only registrar waits for another one before it lets its pods go to nobody.
const ALONE: Duration = Duration::from_secs(3);
/// How long streams may take to end.
const STREAMS: Duration = Duration::from_millis(1500);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(50);

/// How far it is.
#[derive(Default)]
pub struct Leaving {
    begun: AtomicBool,
    /// Streams are to end, new ones are not taken.
    closing: watch::Sender<bool>,
    left: AtomicBool,
}

impl Leaving {
    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether new streams are refused.
    pub fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Becomes true when streams are to end.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }
}

impl Registrar {
    /// Ends what other pods have here, in good order: others are told, streams end once another registrar can take their
    /// pods, what waits is written. Takes about five seconds at most.
    pub async fn leave(self: &Arc<Self>) {
        self.leaving.begun.store(true, Ordering::Relaxed);
        let me = self.config.me.pod;
        // Away: the others see the lease end.
        let _ = self.renew().await;
        let until = Instant::now() + ALONE;
        while self.members.streams() > 0 && !self.has_successor() && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
        info!(streams = self.members.streams(), "pods are sent to other registrars");
        self.leaving.closing.send_replace(true);
        let until = Instant::now() + STREAMS;
        while self.members.streams() > 0 && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
        self.write_what_waits().await;
        let waiting = self.journal.len() + self.storage.waiting();
        if waiting > 0 {
            warn!(waiting, "what was promised while the store was away is lost with this registrar");
        }
        let goodbye = vec![Step::Leave { pod: me }, Step::Publish(Notice::Cluster { by: me })];
        // Away: the lease ends by itself.
        let _ = self.storage.store().run(goodbye).await;
        self.leaving.left.store(true, Ordering::Relaxed);
    }

    /// Whether [`Registrar::leave`] has come to its end.
    pub fn has_left(&self) -> bool {
        self.leaving.left.load(Ordering::Relaxed)
    }

    /// Whether another registrar is there that does not end.
    fn has_successor(&self) -> bool {
        let living = self.members.living(self.clock.now());
        let me = self.config.me.pod;
        living.iter().any(|one| one.role == Role::Registrar && one.pod != me && !one.draining)
    }
}
