//! Peers that the operator role looks after.

use fairlead_model::provision::{Mark, Marked, PeerNews, Provision, Provisioned, Withdrawn};

use super::{Unreadable, needed, same_enum};
use crate::registrar::v1 as pb;

same_enum!(pb::WithdrawOutcome, Withdrawn, "outcome", {
    Removed = Removed, Absent = Absent, NotYours = NotYours,
});

impl From<Mark> for pb::Mark {
    fn from(m: Mark) -> Self {
        pb::Mark { origin: m.origin, uid: m.uid, generation: m.generation }
    }
}

impl From<pb::Mark> for Mark {
    fn from(p: pb::Mark) -> Self {
        Mark { origin: p.origin, uid: p.uid, generation: p.generation }
    }
}

impl From<Provision> for pb::ProvisionRequest {
    fn from(m: Provision) -> Self {
        pb::ProvisionRequest {
            name: m.name,
            columns: m.columns.into_iter().collect(),
            mark: Some(m.mark.into()),
            instead_of: m.instead_of,
            forget: m.forget,
        }
    }
}

impl TryFrom<pb::ProvisionRequest> for Provision {
    type Error = Unreadable;

    fn try_from(p: pb::ProvisionRequest) -> Result<Self, Unreadable> {
        let mark: Mark = needed(p.mark, "mark")?.into();
        if mark.uid.is_empty() || mark.origin.is_empty() {
            return Err(Unreadable("mark"));
        }
        if p.name.is_empty() {
            return Err(Unreadable("name"));
        }
        Ok(Provision {
            name: p.name,
            columns: p.columns.into_iter().collect(),
            mark,
            instead_of: p.instead_of,
            forget: p.forget,
        })
    }
}

impl From<Provisioned> for pb::ProvisionResponse {
    fn from(m: Provisioned) -> Self {
        use pb::provision_response::Outcome;
        let outcome = match m {
            Provisioned::Written { put_right, silent } => Outcome::Written(pb::Written { put_right, silent }),
            Provisioned::Unchanged => Outcome::Unchanged(pb::Unchanged {}),
            Provisioned::Taken(by) => Outcome::Taken(pb::Taken { by: by.map(Into::into) }),
            Provisioned::Invalid(reasons) => Outcome::Invalid(pb::Invalid { reasons }),
        };
        pb::ProvisionResponse { outcome: Some(outcome) }
    }
}

impl TryFrom<pb::ProvisionResponse> for Provisioned {
    type Error = Unreadable;

    fn try_from(p: pb::ProvisionResponse) -> Result<Self, Unreadable> {
        use pb::provision_response::Outcome;
        Ok(match needed(p.outcome, "outcome")? {
            Outcome::Written(written) => {
                Provisioned::Written { put_right: written.put_right, silent: written.silent }
            }
            Outcome::Unchanged(pb::Unchanged {}) => Provisioned::Unchanged,
            Outcome::Taken(taken) => Provisioned::Taken(taken.by.map(Into::into)),
            Outcome::Invalid(invalid) => Provisioned::Invalid(invalid.reasons),
        })
    }
}

impl From<Marked> for pb::Marked {
    fn from(m: Marked) -> Self {
        pb::Marked { name: m.name, mark: Some(m.mark.into()) }
    }
}

impl TryFrom<pb::Marked> for Marked {
    type Error = Unreadable;

    fn try_from(p: pb::Marked) -> Result<Self, Unreadable> {
        Ok(Marked { name: p.name, mark: needed(p.mark, "mark")?.into() })
    }
}

impl From<PeerNews> for pb::FollowResponse {
    fn from(m: PeerNews) -> Self {
        use pb::follow_response::News;
        let news = match m {
            PeerNews::Peer(view) => News::Peer((*view).into()),
            PeerNews::Gone(name) => News::Gone(name),
            PeerNews::Told => News::Told(pb::Told {}),
            PeerNews::Emptied => News::Emptied(pb::Emptied {}),
            PeerNews::Resumed => News::Resumed(pb::Resumed {}),
            PeerNews::Changed(name) => News::Changed(name),
        };
        pb::FollowResponse { news: Some(news) }
    }
}

impl TryFrom<pb::FollowResponse> for PeerNews {
    type Error = Unreadable;

    fn try_from(p: pb::FollowResponse) -> Result<Self, Unreadable> {
        use pb::follow_response::News;
        Ok(match needed(p.news, "news")? {
            News::Peer(view) => PeerNews::Peer(Box::new(view.try_into()?)),
            News::Gone(name) => PeerNews::Gone(name),
            News::Told(pb::Told {}) => PeerNews::Told,
            News::Emptied(pb::Emptied {}) => PeerNews::Emptied,
            News::Resumed(pb::Resumed {}) => PeerNews::Resumed,
            News::Changed(name) => PeerNews::Changed(name),
        })
    }
}
