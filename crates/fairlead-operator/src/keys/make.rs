//! Making keys and certificates.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use super::plan::Life;

/// A certificate and its key, both PEM.
pub(super) struct Made {
    pub certificate: String,
    pub key: String,
}

/// An authority, ECDSA P-256, that signs certificates of pods and no other authorities.
pub(super) fn authority(name: &str, life: Life) -> Result<Made, rcgen::Error> {
    let mut params = params(name, life)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate()?;
    Ok(Made { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
}

/// A pod's certificate, good for both ends of a connection.
pub(super) fn leaf(name: &str, life: Life, authority: &Made) -> Result<Made, rcgen::Error> {
    let signer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
    let mut params = params(name, life)?;
    params.subject_alt_names = vec![SanType::DnsName(Ia5String::try_from(name)?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    Ok(Made { certificate: params.signed_by(&key, &signer)?.pem(), key: key.serialize_pem() })
}

fn params(name: &str, life: Life) -> Result<CertificateParams, rcgen::Error> {
    let time = |seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| rcgen::Error::Time);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // X.520: a common name has at most 64 characters.
    params.distinguished_name.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    params.not_before = time(life.from)?;
    params.not_after = time(life.until)?;
    // RFC 5280 §4.1.2.2: positive, at most 20 octets.
    let mut serial: [u8; 16] = rand::random();
    serial[0] = serial[0] & 0x7f | 0x01;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

/// 32 random bytes in text that fits into a header, an address and a shell.
pub(super) fn secret() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// As text (RFC 7468).
pub(super) fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    // RFC 7468 §2: lines of 64 characters. Base64 is ASCII, so every byte is a character.
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
    format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines.collect::<String>())
}
