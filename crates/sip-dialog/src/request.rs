//! A request inside a dialog: where it goes and what its head says (RFC 3261 §12.2.1.1).

use sip_wire::{Header, Method, NameAddr, RequestWriter, Uri};

use crate::Dialog;

/// The parts of a request that its dialog decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InDialog {
    /// The method.
    pub method: Method,
    /// The Request-URI.
    pub request_uri: String,
    /// Route values, topmost first.
    pub routes: Vec<String>,
    /// CSeq number.
    pub cseq: u32,
    /// The URI of the next hop: whom to send it to, unless the peer is reached by its flow.
    pub next_hop: String,
}

impl InDialog {
    pub(crate) fn new(dialog: &Dialog, method: Method, cseq: u32) -> InDialog {
        // A target was read when it was taken; a written copy may hold anything.
        let target = &match Uri::parse(&dialog.remote_target) {
            Ok(uri) => for_request_line(&uri),
            Err(_) => dialog.remote_target.clone(),
        };
        let plain = |routes: Vec<String>, next_hop: &str| InDialog {
            method: method.clone(),
            request_uri: target.clone(),
            routes,
            cseq,
            next_hop: next_hop.to_owned(),
        };
        let Some((first, rest)) = dialog.route_set.split_first() else {
            return plain(Vec::new(), target);
        };
        let Ok(first) = NameAddr::parse(first) else {
            // It could be read when the dialog was made.
            return plain(dialog.route_set.clone(), target);
        };
        if first.uri.has_lr() {
            return plain(dialog.route_set.clone(), first.uri.as_str());
        }
        // A strict router wants to see itself in the Request-URI; the target travels as the last Route.
        let request_uri = for_request_line(&first.uri);
        let mut routes = rest.to_vec();
        routes.push(format!("<{target}>"));
        InDialog { method: method.clone(), next_hop: request_uri.clone(), request_uri, routes, cseq }
    }

    /// The head of the request, to be completed with Contact, body and whatever else it says.
    pub fn writer(&self, dialog: &Dialog, via: &str, max_forwards: u8) -> RequestWriter {
        let mut writer = RequestWriter::new(&self.method, &self.request_uri)
            .header(Header::Via, via)
            .header(Header::MaxForwards, max_forwards.to_string());
        for route in &self.routes {
            writer = writer.header(Header::Route, route);
        }
        writer
            .header(Header::From, &dialog.local)
            .header(Header::To, &dialog.remote)
            .header(Header::CallId, &dialog.call_id)
            .header(Header::CSeq, format!("{} {}", self.cseq, self.method.as_str()))
    }
}

/// A URI without what §19.1.1 does not allow in a Request-URI: headers and the `method` parameter.
fn for_request_line(uri: &Uri) -> String {
    let mut kept = uri.without_params().to_owned();
    for (name, value) in uri.params().filter(|(name, _)| !name.eq_ignore_ascii_case("method")) {
        kept.push(';');
        kept.push_str(name);
        if let Some(value) = value {
            kept.push('=');
            kept.push_str(value);
        }
    }
    kept
}
