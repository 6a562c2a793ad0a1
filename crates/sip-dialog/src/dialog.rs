//! One dialog as one of its ends knows it.

use serde::{Deserialize, Serialize};
use sip_wire::{Header, Message, Method};

use crate::routes::{record_routes, target};
use crate::{DialogError, DialogId, InDialog, OutOfOrder};

/// CSeq numbers stay below this (§8.1.1.5).
const CSEQ_END: u32 = 1 << 31;

/// How far a dialog jumps when somebody goes on with a written copy, past all that its former holder may have sent.
const RESUME_STEP: u32 = 1_000;

/// Where a dialog is (§12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Made by a provisional response.
    Early,
    /// A 2xx was sent or received.
    Confirmed,
}

/// The state of a dialog (§12): a plain value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// Their tag; empty for a peer of RFC 2543.
    #[serde(default)]
    pub remote_tag: String,
    /// The From value of our requests, tag included.
    pub local: String,
    /// The To value of our requests, tag included.
    pub remote: String,
    /// CSeq number of our last request.
    pub local_cseq: u32,
    /// CSeq number of their last request, before the first `None`.
    #[serde(default)]
    pub remote_cseq: Option<u32>,
    /// URI of their Contact.
    pub remote_target: String,
    /// Route values of our requests, topmost first.
    #[serde(default)]
    pub route_set: Vec<String>,
    /// Whether it was made by a request to a `sips:` URI.
    #[serde(default)]
    pub secure: bool,
    /// Early or confirmed.
    pub state: State,
}

impl Dialog {
    /// As who answers `request` with our tag (§12.1.1). Our own requests begin after `cseq`, which should be
    /// random below 2^31. Early until [`confirm`](Self::confirm).
    pub fn uas(request: &Message, local_tag: &str, cseq: u32) -> Result<Dialog, DialogError> {
        let number = request.cseq().map_err(|_| DialogError::CSeq)?.number;
        request.to().map_err(|_| DialogError::Party)?;
        request.from().map_err(|_| DialogError::Party)?;
        let header = |header| request.header(header).unwrap_or_default();
        let to = header(Header::To);
        let local = match request.to_tag() {
            Some(_) => to.to_owned(),
            None => format!("{to};tag={local_tag}"),
        };
        Ok(Dialog {
            call_id: request.call_id().to_owned(),
            local_tag: local_tag.to_owned(),
            remote_tag: request.from_tag().map(|tag| tag.to_string()).unwrap_or_default(),
            local,
            remote: header(Header::From).to_owned(),
            local_cseq: cseq.min(CSEQ_END - 1),
            remote_cseq: Some(number),
            remote_target: target(request)?.ok_or(DialogError::Contact)?,
            route_set: record_routes(request)?,
            secure: is_sips(request.request_uri()),
            state: State::Early,
        })
    }

    /// As who sent `request` and was answered `response`, 101 to 299 with a To tag (§12.1.2).
    ///
    /// A response without Contact breaks §12.1.1, but is common in 18x; the target is then the Request-URI until a
    /// later response or request brings one.
    pub fn uac(request: &Message, response: &Message) -> Result<Dialog, DialogError> {
        let number = request.cseq().map_err(|_| DialogError::CSeq)?.number;
        response.to().map_err(|_| DialogError::Party)?;
        let remote_tag = response.to_tag().ok_or(DialogError::NoTag)?.to_string();
        let mut route_set = record_routes(response)?;
        route_set.reverse();
        let state = if response.status().is_some_and(|status| status >= 200) {
            State::Confirmed
        } else {
            State::Early
        };
        Ok(Dialog {
            call_id: request.call_id().to_owned(),
            local_tag: request.from_tag().map(|tag| tag.to_string()).unwrap_or_default(),
            remote_tag,
            local: request.header(Header::From).unwrap_or_default().to_owned(),
            remote: response.header(Header::To).unwrap_or_default().to_owned(),
            local_cseq: number,
            remote_cseq: None,
            remote_target: target(response)?.unwrap_or_else(|| request.request_uri().to_owned()),
            route_set,
            secure: is_sips(request.request_uri()),
            state,
        })
    }

    /// As who sent an INVITE of which only the 2xx is left: the transaction and whoever wanted it are gone, and it is to
    /// be acknowledged and ended (§13.2.2.4). The Contact must be there: nothing else says where to.
    pub fn of_answer(response: &Message) -> Result<Dialog, DialogError> {
        let number = response.cseq().map_err(|_| DialogError::CSeq)?.number;
        response.from().map_err(|_| DialogError::Party)?;
        response.to().map_err(|_| DialogError::Party)?;
        let mut route_set = record_routes(response)?;
        route_set.reverse();
        Ok(Dialog {
            call_id: response.call_id().to_owned(),
            local_tag: response.from_tag().map(|tag| tag.to_string()).unwrap_or_default(),
            remote_tag: response.to_tag().ok_or(DialogError::NoTag)?.to_string(),
            local: response.header(Header::From).unwrap_or_default().to_owned(),
            remote: response.header(Header::To).unwrap_or_default().to_owned(),
            local_cseq: number.min(CSEQ_END - 1),
            remote_cseq: None,
            remote_target: target(response)?.ok_or(DialogError::Contact)?,
            route_set,
            secure: false,
            state: State::Confirmed,
        })
    }

    /// What identifies it.
    pub fn id(&self) -> DialogId {
        DialogId {
            call_id: self.call_id.clone(),
            local_tag: self.local_tag.clone(),
            remote_tag: self.remote_tag.clone(),
        }
    }

    /// Whether a request that came in belongs to it.
    pub fn owns_request(&self, request: &Message) -> bool {
        request.call_id() == self.call_id
            && request.to_tag().is_some_and(|tag| *tag == *self.local_tag)
            && request.from_tag().is_none_or(|tag| *tag == *self.remote_tag)
            && (request.from_tag().is_some() || self.remote_tag.is_empty())
    }

    /// Whether a response that came in belongs to it.
    pub fn owns_response(&self, response: &Message) -> bool {
        response.call_id() == self.call_id
            && response.from_tag().is_some_and(|tag| *tag == *self.local_tag)
            && response.to_tag().map_or(self.remote_tag.is_empty(), |tag| *tag == *self.remote_tag)
    }

    /// Confirms an early dialog that we answer: our 2xx leaves.
    pub fn confirm(&mut self) {
        self.state = State::Confirmed;
    }

    /// Confirms a dialog of ours by the 2xx that came in: route set and target are those of this response
    /// (§13.2.2.4).
    pub fn confirm_by(&mut self, response: &Message) -> Result<(), DialogError> {
        let mut route_set = record_routes(response)?;
        route_set.reverse();
        let target = target(response)?;
        self.route_set = route_set;
        if let Some(target) = target {
            self.remote_target = target;
        }
        self.state = State::Confirmed;
        Ok(())
    }

    /// Checks the order of a request that came in and notes its CSeq (§12.2.2). ACK and CANCEL carry the number
    /// of their INVITE and are not checked. A repetition by the transport never gets here: its transaction
    /// absorbs it.
    pub fn check_order(&mut self, request: &Message) -> Result<(), OutOfOrder> {
        if let Some(number) = self.order_of(request)? {
            self.remote_cseq = Some(number);
        }
        Ok(())
    }

    /// What [`check_order`](Self::check_order) would say, without noting anything.
    pub fn is_in_order(&self, request: &Message) -> bool {
        self.order_of(request).is_ok()
    }

    /// The number to note, if the method has one of its own.
    fn order_of(&self, request: &Message) -> Result<Option<u32>, OutOfOrder> {
        if matches!(request.method(), Method::Ack | Method::Cancel) {
            return Ok(None);
        }
        let Ok(cseq) = request.cseq() else {
            return Err(OutOfOrder { got: 0, last: self.remote_cseq.unwrap_or(0) });
        };
        match self.remote_cseq {
            Some(last) if cseq.number <= last => Err(OutOfOrder { got: cseq.number, last }),
            _ => Ok(Some(cseq.number)),
        }
    }

    /// Takes the Contact of a target refresh, if it has one, as the new remote target (§12.2): of a request when
    /// it is answered 2xx (RFC 6141 §4), of a 2xx to ours. Other methods change nothing.
    pub fn refresh_target(&mut self, message: &Message) -> Result<(), DialogError> {
        if !is_target_refresh(message.method()) {
            return Ok(());
        }
        if let Some(target) = target(message)? {
            self.remote_target = target;
        }
        Ok(())
    }

    /// The next request of ours (§12.2.1.1), with the next CSeq. For ACK see [`ack`](Self::ack).
    pub fn request(&mut self, method: Method) -> InDialog {
        // Past the end there is nothing the RFC allows; staying there makes the peer refuse by itself.
        self.local_cseq = (self.local_cseq + 1).min(CSEQ_END - 1);
        InDialog::new(self, method, self.local_cseq)
    }

    /// The ACK for the 2xx to our INVITE with this CSeq (§13.2.2.4).
    pub fn ack(&self, invite_cseq: u32) -> InDialog {
        InDialog::new(self, Method::Ack, invite_cseq)
    }

    /// The dialog as somebody goes on with it who has only a written copy: our CSeq jumps by 1000, past whatever
    /// was sent after the copy was made.
    #[must_use]
    pub fn resumed(&self) -> Dialog {
        let local_cseq = self.local_cseq.saturating_add(RESUME_STEP).min(CSEQ_END - 1);
        Dialog { local_cseq, ..self.clone() }
    }
}

/// Methods whose Contact moves the target (§12.2; RFC 3311, RFC 6665, RFC 3515).
fn is_target_refresh(method: &Method) -> bool {
    matches!(method, Method::Invite | Method::Update | Method::Subscribe | Method::Notify | Method::Refer)
}

fn is_sips(uri: &str) -> bool {
    uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sips:"))
}
