//! An edge between two phones that say what the test says.

use fairlead_testkit::{NodeRef, Plan, Sim};
use sip_wire::{Header, Message, Method};

use crate::common::*;

pub const YAN: &str = "198.51.100.8:5060";
pub const SDP: &str =
    "v=0\no=- 5 5 IN IP4 198.51.100.9\ns=-\nc=IN IP4 198.51.100.9\nt=0 0\nm=audio 30000 RTP/AVP 0\n";

pub struct Lab {
    pub sim: Sim,
    pub edge: NodeRef,
    pub zoe: NodeRef,
    pub yan: NodeRef,
    pub branch: u32,
}

impl Lab {
    pub fn new() -> Self {
        let mut sim = Sim::new(1, Plan::PERFECT);
        let edge = sim.add(&[ip(EDGE)], Edge::new(&[ip(EDGE)]));
        sim.node::<Edge>(edge).trust(&["198.51.100.9/32"]);
        sim.node::<Edge>(edge).registrar.targets.insert("yan".to_owned(), vec![target("yan", ip(YAN))]);
        let (zoe, yan) = (sim.add(&[ip(ZOE)], Wire::default()), sim.add(&[ip(YAN)], Wire::default()));
        Lab { sim, edge, zoe, yan, branch: 0 }
    }

    pub fn node(&self, address: &str) -> NodeRef {
        if address == ZOE { self.zoe } else { self.yan }
    }

    pub fn edge(&mut self) -> &mut Edge {
        self.sim.node(self.edge)
    }

    pub fn say(&mut self, from: &'static str, text: &str) {
        let text = text.to_owned();
        self.sim.tell(self.node(from), move |wire: &mut Wire, _| wire.say(from, EDGE, &text));
        self.sim.run_for(ms(20));
    }

    /// The newest request of a method that this one heard.
    pub fn asked(&mut self, who: &str, method: &Method) -> Message {
        let node = self.node(who);
        let heard = &self.sim.node::<Wire>(node).heard;
        heard.iter().rev().find(|m| m.is_request() && m.method() == method).unwrap().clone()
    }

    pub fn count(&mut self, who: &str, method: &Method) -> usize {
        let node = self.node(who);
        self.sim.node::<Wire>(node).heard.iter().filter(|m| m.is_request() && m.method() == method).count()
    }

    pub fn statuses(&mut self, who: &str) -> Vec<u16> {
        let node = self.node(who);
        self.sim.node::<Wire>(node).statuses()
    }

    pub fn answer(&mut self, who: &'static str, request: &Message, status: u16, sdp: &str) {
        let mut writer =
            request.response(status, "Whatever").to_tag("t").header(Header::Contact, format!("<sip:{who}>"));
        if !sdp.is_empty() {
            writer = writer.body("application/sdp", sdp.replace('\n', "\r\n"));
        }
        let text = String::from_utf8(writer.finish().to_vec()).unwrap().replace("\r\n", "\n");
        self.say(who, &text);
    }

    pub fn ask(&mut self, dialog: &mut Dialog, method: &str, sdp: &str) -> String {
        self.branch += 1;
        if !matches!(method, "ACK" | "CANCEL") {
            dialog.cseq += 1;
        }
        let kind = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\n" };
        let text = format!(
            "{method} {} SIP/2.0\nVia: SIP/2.0/UDP {};branch=z9hG4bK{}{};rport\nMax-Forwards: 70\nFrom: {}\nTo: {}\n\
             Call-ID: {}\nCSeq: {} {method}\nContact: <sip:{}>\n{kind}Content-Length: {}\n\n{sdp}",
            dialog.target,
            dialog.me,
            &dialog.me[11..12],
            self.branch,
            dialog.from,
            dialog.to,
            dialog.call_id,
            dialog.cseq,
            dialog.me,
            sdp.replace('\n', "\r\n").len(),
        );
        self.say(dialog.me, &text);
        text
    }

    pub fn ring(&mut self) -> (Dialog, Message, String) {
        let mut zoe = Dialog::of_caller();
        let text = self.ask(&mut zoe, "INVITE", SDP);
        let invite = self.asked(YAN, &Method::Invite);
        self.answer(YAN, &invite, 180, "");
        (zoe, invite, text)
    }

    /// A call that is up: both dialogs.
    pub fn up(&mut self) -> (Dialog, Dialog) {
        let (mut zoe, invite, _) = self.ring();
        self.answer(YAN, &invite, 200, SDP);
        let ok = self.sim.node::<Wire>(self.zoe).response(200).unwrap();
        zoe.follows(&ok);
        self.ask(&mut zoe, "ACK", "");
        let yan = Dialog::of_callee(&invite);
        assert_eq!(self.edge().pods[0].core.bridges().len(), 1);
        (zoe, yan)
    }

    pub fn end(&mut self, mut zoe: Dialog) {
        self.ask(&mut zoe, "BYE", "");
        let bye = self.asked(YAN, &Method::Bye);
        self.answer(YAN, &bye, 200, "");
        self.quiet();
    }

    pub fn quiet(&mut self) {
        quiet(&mut self.sim, self.edge);
    }
}

/// The dialog of one of the two, as it sees it.
pub struct Dialog {
    pub me: &'static str,
    pub target: String,
    pub from: String,
    pub to: String,
    pub call_id: String,
    pub cseq: u32,
}

impl Dialog {
    /// Zoe's, before anybody has answered.
    pub fn of_caller() -> Self {
        Dialog {
            me: ZOE,
            target: "sip:yan@edge.example".to_owned(),
            from: "<sip:zoe@edge.example>;tag=z".to_owned(),
            to: "<sip:yan@edge.example>".to_owned(),
            call_id: "zoes".to_owned(),
            cseq: 0,
        }
    }

    /// Yan's, who answers this INVITE with the tag `t`.
    pub fn of_callee(invite: &Message) -> Self {
        Dialog {
            me: YAN,
            target: invite.contact().unwrap().unwrap().uri.as_str().to_owned(),
            from: format!("{};tag=t", invite.header(Header::To).unwrap()),
            to: invite.header(Header::From).unwrap().to_owned(),
            call_id: invite.call_id().to_owned(),
            cseq: 0,
        }
    }

    /// What a response that makes a dialog says of the other end.
    pub fn follows(&mut self, response: &Message) {
        self.to = response.header(Header::To).unwrap().to_owned();
        self.target = response.contact().unwrap().unwrap().uri.as_str().to_owned();
    }
}
