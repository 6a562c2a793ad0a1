//! The stateless 401 (architecture: nonces): a stranger costs this shard one hash, and nobody else anything.

use fairlead_model::ask::Credentials;
use sip_auth::NonceState;
use sip_wire::AuthParams;

use super::*;

/// So many credentials of one request are passed on.
const MAX_CREDENTIALS: usize = 8;

impl Core {
    /// What must be asked about a request that needs an identity: `Ok(None)` where nobody needs credentials,
    /// `Err` after the 401 has left.
    pub(super) fn credentials(
        &mut self,
        request: &Message,
        flow: &Flow,
    ) -> Result<Option<Credentials>, Challenged> {
        let values: Vec<String> = [Header::Authorization, Header::ProxyAuthorization]
            .iter()
            .flat_map(|header| request.headers(*header))
            .take(MAX_CREDENTIALS)
            .filter(|value| self.may_hold(value))
            .map(|value| value.to_string())
            .collect();
        if !values.is_empty() {
            let method = request.method().as_str().to_owned();
            return Ok(Some(Credentials { values, method, uri: request.request_uri().to_owned() }));
        }
        if self.trusted.iter().any(|net| net.contains(&flow.remote.ip())) {
            return Ok(None);
        }
        self.challenge_stateless(request, flow, false);
        Err(Challenged)
    }

    /// Whether credentials can be right at all: of our realm, and with a nonce that we gave out once.
    fn may_hold(&self, value: &str) -> bool {
        let Some(challenger) = &self.challenger else { return false };
        let Ok(params) = AuthParams::parse(value) else { return false };
        params.get("realm").is_some_and(|realm| realm == challenger.realm())
            && params.get("nonce").is_some_and(|nonce| challenger.check_nonce(nonce) != NonceState::Forged)
    }

    /// Values of WWW-Authenticate; none before the registrar has told its keys.
    fn challenges(&mut self, stale: bool) -> Vec<String> {
        let random = self.random.bits();
        self.challenger.as_ref().map(|challenger| challenger.challenge(random, stale)).unwrap_or_default()
    }

    pub(super) fn challenge_stateless(&mut self, request: &Message, flow: &Flow, stale: bool) {
        let values = self.challenges(stale);
        if values.is_empty() {
            // No registrar has told us its keys yet: nobody can be let in.
            let refused = self.whole_edge_refuses("Service Unavailable", "not_briefed");
            return self.refuse_stateless(request, flow, refused);
        }
        let forced = respond::via_differs(request, flow);
        let mut writer = self.answer(request, flow, forced, 401, "Unauthorized", Kind::Stateless);
        for value in &values {
            writer.push(Header::WwwAuthenticate, value);
        }
        self.event(Event::Challenged);
        self.send_stateless(request, flow, 401, writer.finish());
    }

    /// The registrar wants (better) credentials for a request that has a transaction.
    pub(super) fn challenge(&mut self, server: u64, stale: bool, now: Now) {
        let values = self.challenges(stale);
        let Some(known) = self.servers.get(&server) else { return };
        let (request, flow, forced) = (known.request.clone(), known.flow, known.forced);
        if values.is_empty() {
            let refused = self.whole_edge_refuses("Service Unavailable", "not_briefed");
            return self.refuse(server, refused, now);
        }
        let mut writer = self.answer(&request, &flow, forced, 401, "Unauthorized", Kind::Answer);
        for value in &values {
            writer.push(Header::WwwAuthenticate, value);
        }
        self.event(Event::Challenged);
        self.respond(server, 401, writer.finish(), now);
    }
}

/// The request was answered 401.
pub(super) struct Challenged;
