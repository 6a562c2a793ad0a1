//! Where phones go, and what is wrong: tables of our own, chan_sip has none.

use fairlead_proto::admin::v1 as pb;

use super::{at_least, plain};
use crate::convert::ERROR;

/// `udp 203.0.113.7:5060`, one a line; or why there is none.
pub fn addresses(answer: &pb::ListAddressesResponse) -> String {
    if answer.addresses.is_empty() {
        return format!("No address yet. {}\n", plain(&answer.reason));
    }
    answer.addresses.iter().map(address).collect()
}

fn address(address: &pb::Address) -> String {
    let host = if address.host.contains(':') { format!("[{}]", address.host) } else { address.host.clone() };
    let mut line = format!("{} {}:{}", plain(&address.transport), plain(&host), address.port);
    if !address.network.is_empty() {
        line += &format!(" network {}", plain(&address.network));
    }
    if !address.destinations.is_empty() {
        line += &format!(" to {}", plain(&address.destinations.join(", ")));
    }
    line + "\n"
}

/// What is wrong, each with what to change in the line below; `no findings` when nothing is.
pub fn findings(answer: &pb::DiagnoseResponse) -> String {
    if answer.findings.is_empty() {
        return "no findings\n".to_owned();
    }
    let width = |head: &str, of: fn(&pb::Finding) -> &str| {
        let longest = answer.findings.iter().map(|finding| of(finding).chars().count()).max();
        longest.unwrap_or_default().max(head.chars().count())
    };
    let code_width = width("Code", |finding| &finding.code);
    let about_width = width("About", |finding| &finding.about);
    let row = |severity: &str, code: &str, about: &str, text: &str| {
        let (severity, code, about) =
            (at_least(severity, 8), at_least(code, code_width), at_least(about, about_width));
        format!("{severity}  {code}  {about}  {}\n", plain(text))
    };
    let mut text = row("Severity", "Code", "About", "What is wrong, and what to change");
    for finding in &answer.findings {
        text += &row(&finding.severity, &finding.code, &finding.about, &finding.text);
        text += &row("", "", "", &format!("-> {}", finding.remedy));
    }
    let errors = answer.findings.iter().filter(|finding| finding.severity == ERROR).count();
    text + &format!("{} findings, {errors} of them errors\n", answer.findings.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_lines_that_a_script_can_read() {
        let address = |transport: &str, host: &str, network: &str, to: &[&str]| pb::Address {
            transport: transport.to_owned(),
            host: host.to_owned(),
            port: 5060,
            network: network.to_owned(),
            destinations: to.iter().map(|to| (*to).to_owned()).collect(),
        };
        let given = vec![
            address("udp", "203.0.113.7", "", &[]),
            address("tcp", "2001:db8::7", "", &[]),
            address("udp", "10.0.0.7", "trunk", &["10.0.0.0/8"]),
        ];
        let answer = pb::ListAddressesResponse { addresses: given, ..Default::default() };
        assert_eq!(
            addresses(&answer),
            "udp 203.0.113.7:5060\ntcp [2001:db8::7]:5060\nudp 10.0.0.7:5060 network trunk to 10.0.0.0/8\n"
        );
        let none = pb::ListAddressesResponse { reason: "Why.".to_owned(), ..Default::default() };
        assert_eq!(addresses(&none), "No address yet. Why.\n");
    }

    #[test]
    fn a_finding_has_its_remedy_below_it() {
        assert_eq!(findings(&pb::DiagnoseResponse::default()), "no findings\n");
        let finding = pb::Finding {
            severity: "error".to_owned(),
            code: "NoAddress".to_owned(),
            about: "edge-fairlead-sip".to_owned(),
            text: "No balancer gave it one.".to_owned(),
            remedy: "Set sip.service.type.".to_owned(),
        };
        let text = findings(&pb::DiagnoseResponse { findings: vec![finding], ..Default::default() });
        assert_eq!(
            text,
            "Severity  Code       About              What is wrong, and what to change\n\
             error     NoAddress  edge-fairlead-sip  No balancer gave it one.\n                                        \
             -> Set sip.service.type.\n1 findings, 1 of them errors\n"
        );
    }
}
