//! Peers that somebody looks after and somebody else changed: Redis need not tell of changes, so their records are read
//! one page after the other.

use std::time::Duration;

use fairlead_store::{Notice, Step, marked};
use tracing::{debug, warn};

use crate::registrar::Registrar;

/// How often a page is read.
pub const EVERY: Duration = Duration::from_secs(5);
/// How many records a page has: 10,000 peers are through in 100 s.
const PAGE: u32 = 512;

impl Registrar {
    /// Reads the page behind `after` and tells of records that are not as their owner wrote them. Returns where the next
    /// page begins. Only the first of the registrars does it.
    pub(crate) async fn look_for_drift(&self, after: Option<String>) -> Option<String> {
        if self.members.rank(self.clock.now()) != 0 {
            return None;
        }
        let rows = match self.marked_rows(after.as_deref(), PAGE).await {
            Ok(rows) => rows,
            Err(error) => {
                debug!(%error, "records of marked peers cannot be read");
                return after;
            }
        };
        let next = rows.last().filter(|_| rows.len() == PAGE as usize).map(|(name, _)| name.clone());
        let drifted = rows.into_iter().filter(|(_, row)| {
            // One without its row or its mark is somebody's doing as well.
            row.as_deref().is_none_or(|row| marked::mark_of(row).is_none() || marked::has_drifted(row))
        });
        let drifted: Vec<String> = drifted.map(|(name, _)| name).collect();
        if !drifted.is_empty() {
            warn!(count = drifted.len(), "records of marked peers were changed by somebody else");
        }
        let by = self.config.me.pod;
        for name in &drifted {
            self.metrics.drifted.inc();
            self.followers.drifted(name);
        }
        let notices = drifted.into_iter().map(|name| Step::Publish(Notice::Drifted { by, name }));
        // Not heard: it is found again with the next round.
        let _ = self.storage.store().run(notices.collect()).await;
        next
    }
}
