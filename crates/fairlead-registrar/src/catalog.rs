//! All peers this registrar knows: those of sip.conf, and realtime ones it has loaded and not pruned.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dashmap::DashMap;
use fairlead_model::peer::{GeneralFull, Peer};
use fairlead_routing::StaticAddresses;
use fairlead_store::Columns;
use ipnet::IpNet;
use parking_lot::RwLock;
use tracing::debug;

/// The peers.
pub struct Catalog {
    general: Arc<GeneralFull>,
    statics: BTreeMap<String, Arc<Peer>>,
    realtime: DashMap<String, Realtime>,
    addresses: RwLock<StaticAddresses>,
}

/// A realtime peer as it was loaded.
#[derive(Clone)]
pub struct Realtime {
    /// The peer.
    pub peer: Arc<Peer>,
    /// Its row, to write it again should the store have lost it.
    pub row: Arc<Columns>,
}

impl Catalog {
    /// The peers of sip.conf, and no realtime ones yet.
    pub fn new(general: GeneralFull, peers: Vec<Peer>) -> Self {
        let statics: BTreeMap<_, _> =
            peers.into_iter().map(|peer| (peer.name.clone(), Arc::new(peer))).collect();
        let addresses = RwLock::new(StaticAddresses::of(statics.values()));
        Catalog { general: Arc::new(general), statics, realtime: DashMap::new(), addresses }
    }

    /// `[general]`.
    pub fn general(&self) -> &Arc<GeneralFull> {
        &self.general
    }

    /// The peer of this name, if it is known here. Those of sip.conf come first, as in chan_sip.
    pub fn get(&self, name: &str) -> Option<Arc<Peer>> {
        if let Some(peer) = self.statics.get(name) {
            return Some(Arc::clone(peer));
        }
        self.realtime.get(name).map(|known| Arc::clone(&known.peer))
    }

    /// The row of a realtime peer that is cached here.
    pub fn row(&self, name: &str) -> Option<Arc<Columns>> {
        self.realtime.get(name).map(|known| Arc::clone(&known.row))
    }

    /// Whether sip.conf has it.
    pub fn is_static(&self, name: &str) -> bool {
        self.statics.contains_key(name)
    }

    /// The peers of sip.conf in order of name.
    pub fn statics(&self) -> &BTreeMap<String, Arc<Peer>> {
        &self.statics
    }

    /// Reads a row without keeping it.
    pub fn read(&self, name: &str, row: &Columns) -> Arc<Peer> {
        let row: HashMap<String, String> = row.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let (peer, remarks) = Peer::from_row(name, &row, &self.general.defaults);
        for remark in remarks {
            debug!(peer = name, ?remark, "a column that is not as it should be");
        }
        Arc::new(peer)
    }

    /// Keeps a realtime peer until it is pruned, and returns it. One of sip.conf of that name stays what it is.
    pub fn keep(&self, name: &str, row: Arc<Columns>) -> Arc<Peer> {
        if let Some(peer) = self.get(name) {
            return peer;
        }
        let peer = self.read(name, &row);
        if let Some(address) = peer.static_address() {
            self.addresses.write().set(Arc::clone(&peer), &[address]);
        }
        self.realtime.insert(name.to_owned(), Realtime { peer: Arc::clone(&peer), row });
        peer
    }

    /// Forgets a realtime peer; whether it was cached.
    pub fn forget(&self, name: &str) -> bool {
        let known = self.realtime.remove(name).is_some();
        if known {
            self.addresses.write().remove(name);
        }
        known
    }

    /// Names of cached realtime peers, in no order.
    pub fn cached_names(&self) -> Vec<String> {
        self.realtime.iter().map(|entry| entry.key().clone()).collect()
    }

    /// Cached realtime peers, in no order.
    pub fn cached(&self) -> Vec<Realtime> {
        self.realtime.iter().map(|entry| entry.value().clone()).collect()
    }

    /// How many realtime peers are cached.
    pub fn cached_count(&self) -> usize {
        self.realtime.len()
    }

    /// Does something with the table of configured addresses.
    pub fn with_addresses<T>(&self, look: impl FnOnce(&StaticAddresses) -> T) -> T {
        look(&self.addresses.read())
    }

    /// From where somebody may come without credentials.
    pub fn trusted(&self) -> Vec<IpNet> {
        let cached = self.cached();
        let peers = self.statics.values().chain(cached.iter().map(|known| &known.peer));
        fairlead_routing::trusted(peers.map(Arc::as_ref), &self.addresses.read(), &self.general)
    }
}
