//! `sip show channel`: one leg of a call, one fact a line.

use fairlead_proto::admin::v1 as pb;

use super::{formats, plain, yes_no};

/// What `sip show channel PREFIX` prints of each leg that fits; with `pods` also who has it.
pub fn channel(leg: &pb::Channel, pods: bool) -> String {
    let mut page = Page("\n  * SIP Call\n".to_owned());
    // One codec list stands for all three: the edge passes what the phones agree on and adds nothing of its own.
    let codecs = formats(&leg.formats);
    let format = leg.formats.first().map(std::slice::from_ref).unwrap_or_default();
    page.wide("Curr. trans. direction:  ", if leg.outgoing { "Outgoing" } else { "Incoming" });
    page.line("Call-ID:", &leg.call_id);
    page.line("Owner channel ID:", &owner(leg));
    page.wide("Our Codec Capability:   ", &codecs);
    page.wide("Non-Codec Capability (DTMF):   ", "1");
    page.wide("Their Codec Capability:   ", &codecs);
    page.wide("Joint Codec Capability:   ", &codecs);
    page.line("Format:", &formats(format));
    page.line("T.38 support", "No");
    page.line("Video support", "No");
    page.line("MaxCallBR:", "384 kbps");
    page.line("Theoretical Address:", &leg.theoretical_address);
    page.line("Received Address:", &leg.received_address);
    page.line("SIP Transfer mode:", "open");
    page.line("Force rport:", yes_no(leg.force_rport));
    if !leg.audio_address.is_empty() {
        page.line("Audio IP:", &format!("{} (local)", leg.audio_address));
    }
    page.line("Our Tag:", &leg.local_tag);
    page.line("Their Tag:", &leg.remote_tag);
    page.line("SIP User agent:", &leg.user_agent);
    page.given("Username:", &leg.user);
    page.given("Peername:", &leg.peer);
    page.given("Original uri:", &leg.uri);
    page.given("Caller-ID:", number(&leg.caller_id));
    page.line("Need Destroy:", yes_no(leg.ending));
    page.line("Last Message:", &leg.last_message);
    page.line("Promiscuous Redir:", "No");
    page.line("Route:", &route(leg));
    page.line("DTMF Mode:", "rfc2833");
    page.line(
        "SIP Options:",
        &if leg.options.is_empty() { "(none)".to_owned() } else { leg.options.join(" ") },
    );
    page.line("Session-Timer:", "Inactive");
    page.line("Transport:", &leg.transport);
    page.line("Media:", if leg.relay.is_empty() { "None" } else { "RTP" });
    if pods {
        page.line("Pod:", &leg.pod);
        page.line("Relay:", &leg.relay);
    }
    page.0 + "\n\n"
}

struct Page(String);

impl Page {
    /// A label in the common column.
    fn line(&mut self, label: &str, value: &str) {
        self.0 += &format!("  {label:<24}{}\n", plain(value));
    }

    /// A label with a gap of its own.
    fn wide(&mut self, label: &str, value: &str) {
        self.0 += &format!("  {label}{}\n", plain(value));
    }

    fn given(&mut self, label: &str, value: &str) {
        if !value.is_empty() {
            self.line(label, value);
        }
    }
}

/// The route set; without one, once there is a dialog, the remote target alone, as chan_sip has it.
fn route(leg: &pb::Channel) -> String {
    if !leg.route.is_empty() {
        leg.route.join(",")
    } else if leg.answered_ms.is_some() && !leg.uri.is_empty() {
        format!("<{}>", leg.uri)
    } else {
        "N/A".to_owned()
    }
}

/// `SIP/alice-0000001f`: the name of a channel is its peer and the number of its call.
fn owner(leg: &pb::Channel) -> String {
    let peer = if leg.peer.is_empty() { "guest" } else { &leg.peer };
    let number: u64 = leg.call.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or_default();
    format!("SIP/{peer}-{number:08x}")
}

/// Of `"name" <number>` the number.
fn number(caller_id: &str) -> &str {
    let inner = caller_id.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or(caller_id, |(number, _)| number)
}
