//! What a registrar hands to pods.

use fairlead_model::member::{Briefing, MintKey, NonceKey};
use fairlead_model::peer::{General, NatSetting};

use super::{Unreadable, each, needed, small};
use crate::registrar::v1 as pb;

impl From<Briefing> for pb::Briefing {
    fn from(m: Briefing) -> Self {
        pb::Briefing {
            version: m.version,
            mint_keys: m.mint_keys.into_iter().map(Into::into).collect(),
            nonce_keys: m.nonce_keys.into_iter().map(Into::into).collect(),
            members: m.members.into_iter().map(Into::into).collect(),
            general: Some(m.general.into()),
            trusted: m.trusted.into_iter().map(Into::into).collect(),
            surroundings: Some(m.surroundings.into()),
        }
    }
}

impl TryFrom<pb::Briefing> for Briefing {
    type Error = Unreadable;

    fn try_from(p: pb::Briefing) -> Result<Self, Unreadable> {
        Ok(Briefing {
            version: p.version,
            mint_keys: each(p.mint_keys)?,
            nonce_keys: each(p.nonce_keys)?,
            // A member of a role that this release does not know is none of its business.
            members: p.members.into_iter().filter_map(|member| member.try_into().ok()).collect(),
            general: needed(p.general, "general")?.try_into()?,
            trusted: each(p.trusted)?,
            // An older registrar says nothing of it.
            surroundings: p.surroundings.unwrap_or_default().try_into()?,
        })
    }
}

impl From<MintKey> for pb::MintKey {
    fn from(m: MintKey) -> Self {
        pb::MintKey { version: m.version.into(), key: bytes::Bytes::copy_from_slice(&m.key) }
    }
}

impl TryFrom<pb::MintKey> for MintKey {
    type Error = Unreadable;

    fn try_from(p: pb::MintKey) -> Result<Self, Unreadable> {
        let key = p.key.as_ref().try_into().map_err(|_| Unreadable("key"))?;
        Ok(MintKey { version: small(p.version, "version")?, key })
    }
}

impl From<NonceKey> for pb::NonceKey {
    fn from(m: NonceKey) -> Self {
        pb::NonceKey { id: m.id.into(), epoch: m.epoch, key: bytes::Bytes::copy_from_slice(&m.key) }
    }
}

impl TryFrom<pb::NonceKey> for NonceKey {
    type Error = Unreadable;

    fn try_from(p: pb::NonceKey) -> Result<Self, Unreadable> {
        let key = p.key.as_ref().try_into().map_err(|_| Unreadable("key"))?;
        Ok(NonceKey { id: small(p.id, "id")?, epoch: p.epoch, key })
    }
}

impl From<General> for pb::General {
    fn from(m: General) -> Self {
        pb::General {
            realm: m.realm,
            user_agent: m.user_agent,
            auth_algorithms: m.auth_algorithms,
            t1_min_ms: m.t1_min_ms,
            t1_ms: m.t1_ms,
            timer_b_ms: m.timer_b_ms,
            nat: Some(m.nat.into()),
            max_forwards: m.max_forwards.into(),
            auth_options: m.auth_options,
            tcp_auth_timeout: m.tcp_auth_timeout,
            tcp_auth_limit: m.tcp_auth_limit,
            sdp_session: m.sdp_session,
            sdp_owner: m.sdp_owner,
        }
    }
}

impl TryFrom<pb::General> for General {
    type Error = Unreadable;

    fn try_from(p: pb::General) -> Result<Self, Unreadable> {
        Ok(General {
            realm: p.realm,
            user_agent: p.user_agent,
            auth_algorithms: p.auth_algorithms,
            t1_min_ms: p.t1_min_ms,
            t1_ms: p.t1_ms,
            timer_b_ms: p.timer_b_ms,
            nat: needed(p.nat, "nat")?.into(),
            max_forwards: small(p.max_forwards, "max_forwards")?,
            auth_options: p.auth_options,
            tcp_auth_timeout: p.tcp_auth_timeout,
            tcp_auth_limit: p.tcp_auth_limit,
            sdp_session: p.sdp_session,
            sdp_owner: p.sdp_owner,
        })
    }
}

impl From<NatSetting> for pb::NatSetting {
    fn from(m: NatSetting) -> Self {
        pb::NatSetting {
            force_rport: m.force_rport,
            comedia: m.comedia,
            auto_force_rport: m.auto_force_rport,
            auto_comedia: m.auto_comedia,
        }
    }
}

impl From<pb::NatSetting> for NatSetting {
    fn from(p: pb::NatSetting) -> Self {
        NatSetting {
            force_rport: p.force_rport,
            comedia: p.comedia,
            auto_force_rport: p.auto_force_rport,
            auto_comedia: p.auto_comedia,
        }
    }
}
