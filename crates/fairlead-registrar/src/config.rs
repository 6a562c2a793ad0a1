//! How a registrar works.

use std::ops::RangeInclusive;
use std::time::Duration;

use fairlead_model::member::Member;

/// What a registrar must be told besides its store and sip.conf.
#[derive(Clone, Debug)]
pub struct RegistrarConfig {
    /// Who it is, as other pods see it.
    pub me: Member,
    /// How long a key of nonces is the current one; a nonce is good for two to three times that. All registrars of
    /// a cluster should have the same.
    pub nonce_period: Duration,
    /// How long a pod counts as there after its last beat.
    pub lease: Duration,
    /// From which Retry-After values one is drawn while the store is away, seconds.
    pub retry_after: RangeInclusive<u32>,
    /// How often peers that others wrote into the store are looked for; zero never.
    pub reindex_every: Duration,
    /// Peers are written by the operator role: until it has said that all are there, nobody is called unknown.
    pub await_peers: bool,
}

impl RegistrarConfig {
    /// The usual values.
    pub fn new(me: Member) -> Self {
        RegistrarConfig {
            me,
            nonce_period: Duration::from_secs(300),
            lease: Duration::from_secs(4),
            retry_after: 5..=30,
            reindex_every: Duration::from_secs(600),
            await_peers: false,
        }
    }
}
