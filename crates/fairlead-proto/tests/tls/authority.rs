//! Who signs certificates, and writes them where a pod finds them.

use std::path::Path;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::OffsetDateTime;

pub const HOUR: i64 = 3600;

pub fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// Who signs.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    pub fn leaf(&self, names: &[&str], lives: i64) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = OffsetDateTime::from_unix_timestamp(now() - 60).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(now() + lives).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// One after the other, as somebody who writes files by hand does.
    pub fn write(&self, dir: &Path, names: &[&str], lives: i64, trusted: &[&Authority]) {
        let (chain, key) = self.leaf(names, lives);
        let trusted: String = trusted.iter().map(|ca| ca.pem.as_str()).collect();
        std::fs::write(dir.join("ca.crt"), trusted).unwrap();
        std::fs::write(dir.join("tls.crt"), chain).unwrap();
        std::fs::write(dir.join("tls.key"), key).unwrap();
    }
}
