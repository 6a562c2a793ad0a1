//! Addresses of the edge, findings, diagnoses.

use fairlead_model::surroundings::{Diagnosis, Finding, MediaAddress, Severity, SipAddress, Surroundings};

use super::{Unreadable, each, known, needed, same_enum, small};
use crate::common::v1 as pb;

same_enum!(pb::Severity, Severity, "severity", { Warning = Warning, Error = Error });

impl From<Finding> for pb::Finding {
    fn from(m: Finding) -> Self {
        pb::Finding {
            code: m.code,
            severity: pb::Severity::from(m.severity).into(),
            about: m.about,
            text: m.text,
            remedy: m.remedy,
        }
    }
}

impl TryFrom<pb::Finding> for Finding {
    type Error = Unreadable;

    fn try_from(p: pb::Finding) -> Result<Self, Unreadable> {
        Ok(Finding {
            code: p.code,
            severity: known::<pb::Severity>(p.severity, "severity")?.try_into()?,
            about: p.about,
            text: p.text,
            remedy: p.remedy,
        })
    }
}

impl From<Diagnosis> for pb::DiagnoseResponse {
    fn from(m: Diagnosis) -> Self {
        pb::DiagnoseResponse {
            clock_ms: m.clock_ms,
            version: m.version,
            mtu: m.mtu,
            findings: m.findings.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::DiagnoseResponse> for Diagnosis {
    type Error = Unreadable;

    fn try_from(p: pb::DiagnoseResponse) -> Result<Self, Unreadable> {
        Ok(Diagnosis { clock_ms: p.clock_ms, version: p.version, mtu: p.mtu, findings: each(p.findings)? })
    }
}

impl From<SipAddress> for pb::SipAddress {
    fn from(m: SipAddress) -> Self {
        pb::SipAddress {
            network: m.network,
            transport: pb::Transport::from(m.transport).into(),
            host: m.host,
            port: m.port.into(),
            destinations: m.destinations.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::SipAddress> for SipAddress {
    type Error = Unreadable;

    fn try_from(p: pb::SipAddress) -> Result<Self, Unreadable> {
        Ok(SipAddress {
            network: p.network,
            transport: known::<pb::Transport>(p.transport, "transport")?.try_into()?,
            host: p.host,
            port: small(p.port, "port")?,
            destinations: each(p.destinations)?,
        })
    }
}

impl From<MediaAddress> for pb::MediaAddress {
    fn from(m: MediaAddress) -> Self {
        pb::MediaAddress {
            pod: m.pod,
            network: m.network,
            address: Some(m.address.into()),
            destinations: m.destinations.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::MediaAddress> for MediaAddress {
    type Error = Unreadable;

    fn try_from(p: pb::MediaAddress) -> Result<Self, Unreadable> {
        Ok(MediaAddress {
            pod: p.pod,
            network: p.network,
            address: needed(p.address, "address")?.try_into()?,
            destinations: each(p.destinations)?,
        })
    }
}

impl From<Surroundings> for pb::Surroundings {
    fn from(m: Surroundings) -> Self {
        pb::Surroundings {
            sip: m.sip.into_iter().map(Into::into).collect(),
            media: m.media.into_iter().map(Into::into).collect(),
            nodes: m.nodes.into_iter().map(Into::into).collect(),
            findings: m.findings.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::Surroundings> for Surroundings {
    type Error = Unreadable;

    fn try_from(p: pb::Surroundings) -> Result<Self, Unreadable> {
        Ok(Surroundings {
            sip: each(p.sip)?,
            media: each(p.media)?,
            nodes: each(p.nodes)?,
            findings: each(p.findings)?,
        })
    }
}
