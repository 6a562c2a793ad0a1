//! Who claims which SIP name: the older object wins (creation, then UID).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use fairlead_model::provision::Mark;
use sha2::{Digest, Sha256};

use super::secrets::SecretRef;
use crate::crd::SipPeerSpec;

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A `SipPeer` object, as far as the plan needs it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Which object.
    pub key: Key,
    /// Its UID.
    pub uid: String,
    /// When it was made, seconds since 1970.
    pub created: i64,
    /// Its generation.
    pub generation: i64,
    /// The SIP name that it claims.
    pub sip_name: String,
    /// Its status says that this generation is served, so whoever led before had heard so of every registrar.
    pub is_served: bool,
    /// What it asks for, or why that cannot be read.
    pub spec: Result<Arc<SipPeerSpec>, String>,
}

impl Wanted {
    /// Nothing about it has changed that matters here.
    pub fn is_same(&self, other: &Wanted) -> bool {
        self.uid == other.uid && self.generation == other.generation && self.sip_name == other.sip_name
    }

    /// The Secrets that it names.
    pub fn secrets(&self, namespace: &str) -> BTreeSet<SecretRef> {
        let keys = self.spec.as_ref().map(|spec| spec.secret_keys()).unwrap_or_default();
        keys.into_iter()
            .map(|key| SecretRef { namespace: namespace.to_owned(), name: key.name.clone() })
            .collect()
    }

    /// The mark of a peer with these columns. Its generation covers the values of Secrets, salted with the UID.
    pub fn mark(&self, columns: &BTreeMap<String, String>) -> Mark {
        let mut hash = Sha256::new();
        hash.update(self.uid.as_bytes());
        for (column, text) in columns {
            // Lengths keep two columns from reading like one.
            hash.update((column.len() as u64).to_be_bytes());
            hash.update(column.as_bytes());
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        let digest = hash.finalize();
        let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Mark {
            origin: format!("sippeer/{}", self.key),
            uid: self.uid.clone(),
            generation: format!("{}-{short}", self.generation),
        }
    }
}

/// All objects, and their claims.
#[derive(Debug, Default)]
pub struct Claims {
    objects: HashMap<Key, Arc<Wanted>>,
    by_uid: HashMap<String, Key>,
    by_name: HashMap<String, BTreeMap<(i64, String), Key>>,
}

impl Claims {
    /// Takes an object in; the SIP names whose claims changed.
    pub fn put(&mut self, wanted: Wanted) -> BTreeSet<String> {
        let mut touched = BTreeSet::new();
        touched.extend(self.remove(&wanted.key));
        touched.insert(wanted.sip_name.clone());
        let claim = (wanted.created, wanted.uid.clone());
        self.by_name.entry(wanted.sip_name.clone()).or_default().insert(claim, wanted.key.clone());
        self.by_uid.insert(wanted.uid.clone(), wanted.key.clone());
        self.objects.insert(wanted.key.clone(), Arc::new(wanted));
        touched
    }

    /// Forgets an object; the SIP name that it claimed.
    pub fn remove(&mut self, key: &Key) -> Option<String> {
        let gone = self.objects.remove(key)?;
        self.by_uid.remove(&gone.uid);
        if let Some(claims) = self.by_name.get_mut(&gone.sip_name) {
            claims.remove(&(gone.created, gone.uid.clone()));
            if claims.is_empty() {
                self.by_name.remove(&gone.sip_name);
            }
        }
        Some(gone.sip_name.clone())
    }

    /// An object.
    pub fn get(&self, key: &Key) -> Option<&Arc<Wanted>> {
        self.objects.get(key)
    }

    /// The object with this UID.
    pub fn by_uid(&self, uid: &str) -> Option<&Key> {
        self.by_uid.get(uid)
    }

    /// Objects of a namespace with their UIDs.
    pub fn of_namespace(&self, namespace: &str) -> Vec<(Key, String)> {
        let here = self.objects.values().filter(|wanted| wanted.key.namespace == namespace);
        here.map(|wanted| (wanted.key.clone(), wanted.uid.clone())).collect()
    }

    /// Who has the name.
    pub fn winner(&self, name: &str) -> Option<&Arc<Wanted>> {
        self.objects.get(self.by_name.get(name)?.values().next()?)
    }

    /// Who else claims it.
    pub fn losers(&self, name: &str) -> Vec<Key> {
        self.by_name.get(name).map(|claims| claims.values().skip(1).cloned().collect()).unwrap_or_default()
    }

    /// All SIP names that are claimed.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }
}
