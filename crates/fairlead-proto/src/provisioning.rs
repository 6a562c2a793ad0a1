//! What the operator role asks of a registrar: as with [`crate::operator`], a trait, a server, a client.

use fairlead_model::operator::PeerPage;
use fairlead_model::provision::{Marked, PeerNews, Provision, Provisioned, Withdrawn};
use fairlead_model::surroundings::{Diagnosis, Surroundings};
use tokio::sync::mpsc;

use crate::operator::{Page, Unanswered};

/// What a registrar does for the operator role.
#[async_trait::async_trait]
pub trait ProvisioningPort: Send + Sync + 'static {
    /// Writes a realtime peer with its mark, at once for every registrar.
    async fn provision(&self, peer: Provision) -> Result<Provisioned, Unanswered>;
    /// Removes a marked peer and its contacts.
    async fn withdraw(&self, name: &str, uid: &str) -> Result<Withdrawn, Unanswered>;
    /// Marked peers. A limit of 0 or above [`crate::operator::PAGE`] means that.
    async fn list_marked(&self, page: PeerPage) -> Result<Page<Marked>, Unanswered>;
    /// First how all peers are, then what happens to them. The stream ends when its reader falls too far behind.
    async fn follow(&self) -> Result<mpsc::Receiver<PeerNews>, Unanswered>;
    /// Replaces what lies around the edge, for every pod.
    async fn set_surroundings(&self, surroundings: Surroundings) -> Result<(), Unanswered>;
    /// Says whether all peers have been written since the store was emptied: until then nobody can say that a name is
    /// unknown.
    async fn set_complete(&self, is_complete: bool) -> Result<(), Unanswered>;
}

/// What every pod says of itself.
#[async_trait::async_trait]
pub trait DiagnosisPort: Send + Sync + 'static {
    /// What is wrong, as far as it can tell by itself.
    async fn diagnose(&self) -> Result<Diagnosis, Unanswered>;
}
