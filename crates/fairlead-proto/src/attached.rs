//! For roles that ask nothing: staying a member, and knowing who else is one.

use std::sync::Arc;
use std::time::Duration;

use fairlead_model::member::{Briefing, Member};
use tokio::sync::{mpsc, watch};

use crate::link::{Down, RegistrarPort, Up};

/// How often a lease is renewed.
pub const BEAT: Duration = Duration::from_secs(1);

/// After a stream that lasted this long the next one is opened at once.
const LASTED: Duration = Duration::from_secs(1);

/// The longest pause between two attempts to attach.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Attaches `who` and stays attached, at another registrar when one goes, until every receiver of the briefings is
/// dropped. `load` says what a beat says: how much is held, and whether the pod drains.
pub fn stay_attached(
    registrar: Arc<dyn RegistrarPort>,
    who: Member,
    load: impl Fn() -> (u32, bool) + Send + Sync + 'static,
) -> watch::Receiver<Option<Arc<Briefing>>> {
    let (tell, briefings) = watch::channel(None);
    tokio::spawn(async move {
        let mut pause = Duration::from_millis(100);
        while !tell.is_closed() {
            let begun = tokio::time::Instant::now();
            if attached(&*registrar, &who, &load, &tell).await {
                pause = Duration::from_millis(100);
                // A registrar that ends in good order sends us to another one.
                if begun.elapsed() > LASTED {
                    continue;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = tell.closed() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    });
    briefings
}

/// One stream, from its beginning to its end; whether it began at all.
async fn attached(
    registrar: &dyn RegistrarPort,
    who: &Member,
    load: &(impl Fn() -> (u32, bool) + Send + Sync),
    tell: &watch::Sender<Option<Arc<Briefing>>>,
) -> bool {
    let (up, from_us) = mpsc::channel(4);
    let Ok(mut down) = registrar.attach(who.clone(), from_us).await else { return false };
    let mut beats = tokio::time::interval(BEAT);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            next = down.recv() => match next {
                Some(Down::Briefed(briefing)) => {
                    tell.send_replace(Some(briefing));
                }
                Some(Down::Answers(_) | Down::Requalify) => {}
                None => return true,
            },
            _ = beats.tick() => {
                let (load, draining) = load();
                // A full queue is a stream that does not move; its pings will end it.
                if matches!(up.try_send(Up::Beat { load, draining }), Err(mpsc::error::TrySendError::Closed(_))) {
                    return true;
                }
            }
            () = tell.closed() => return true,
        }
    }
}
