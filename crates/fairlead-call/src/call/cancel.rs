//! CANCEL, and its glare with 200 (RFC 3261 §9, §15.1.2).

use super::*;

impl Call {
    /// A CANCEL came for an INVITE of this call that has no final response yet; the core answered the CANCEL itself.
    pub fn cancel(&mut self, server: ServerRef, cancel: &Message, now: Now) {
        let passed = crate::passes::pick(cancel, crate::passes::request_headers(&Method::Cancel));
        if self.a.server == Some(server) && self.a.dialog.is_none() {
            return self.refuse_caller(Cause::Cancelled, passed, EndedBy::Cancel, now);
        }
        let Step::Up(up) = &self.step else { return };
        let Some(reinvite) = up.reinvite.as_ref().filter(|reinvite| reinvite.server == server) else {
            return;
        };
        if reinvite.ticket.is_none() {
            // §9.2: nobody was asked yet. What the relay will say of the offer is waited for no more.
            self.waits.retain(|(_, wait)| !matches!(wait, Wait::ReOffer));
            return self.reinvite_refused(487, Vec::new(), now);
        }
        // The other leg's final response, 487 or a 200 that crossed the CANCEL, answers the INVITE as always.
        if let Some(ticket) = reinvite.ticket.filter(|ticket| self.is_open(*ticket)) {
            self.outputs.push_back(Output::Cancel { ticket, passed });
        }
    }

    /// The tag of a refusal of leg A's INVITE: that of the early dialog that the caller heard last, or a first one. The
    /// answer to its CANCEL has the same (RFC 3261 §9.2).
    pub fn caller_tag(&self) -> String {
        match (&self.a.dialog, self.a.early.last()) {
            (Some(dialog), _) => dialog.local_tag.clone(),
            (None, Some(early)) => early.tag.clone(),
            (None, None) => self.names.tag(0),
        }
    }

    /// Leg A's INVITE gets its failure, and whatever leg B has is ended.
    pub(super) fn refuse_caller(&mut self, cause: Cause, passed: Vec<Passed>, by: EndedBy, now: Now) {
        if matches!(self.step, Step::Ending) {
            return;
        }
        let refusal = cause.refusal();
        if let (Some(server), Some(invite)) = (self.a.server, self.a.invite.as_ref()) {
            let tag = self.caller_tag();
            // On its way to leg B a CANCEL's Reason passes; in the 487 it would only be an echo.
            let back = if cause == Cause::Cancelled { &[][..] } else { &passed[..] };
            let message = self.refusal(server, invite, &refusal, back, Some(&tag));
            self.respond(server, refusal.status, message);
        }
        self.record.status = refusal.status;
        let forward = if cause == Cause::Cancelled { passed } else { Vec::new() };
        self.end(by, forward, now);
    }
}
