//! sip.conf as a whole: what it comes to, and what is said about it.

use super::*;
use fairlead_model::flow::Transport;
use fairlead_model::peer::{Host, PeerType};

fn said(conf: &SipConf) -> Vec<String> {
    conf.diagnostics.iter().map(Diagnostic::to_string).collect()
}

fn good(text: &str) -> SipConf {
    read_text("sip.conf", text).unwrap_or_else(|broken| panic!("{broken}"))
}

fn peer<'a>(conf: &'a SipConf, name: &str) -> &'a Peer {
    conf.peers.iter().find(|peer| peer.name == name).unwrap()
}

#[test]
fn the_example_is_read_without_a_word() {
    let conf = good(include_str!("../../../../deploy/examples/sip.conf"));
    assert_eq!(said(&conf), [""; 0]);
    let listeners: Vec<_> =
        conf.general.listeners().iter().map(|l| format!("{} {}", l.transport, l.bind)).collect();
    assert_eq!(listeners, ["udp 0.0.0.0:5060", "tcp 0.0.0.0:5060"]);
    let names: Vec<_> = conf.peers.iter().map(|peer| peer.name.as_str()).collect();
    assert_eq!(names, ["2001", "2002"]);
    let bob = peer(&conf, "2002");
    assert!(bob.is_dynamic() && bob.has_secret() && bob.nat.comedia);
    assert_eq!((bob.caller_name.as_str(), bob.qualify_ms, bob.max_contacts), ("Bob", Some(2000), 2));
    assert!(bob.allows_transport(Transport::Tcp));
}

#[test]
fn the_examples_trunk_is_read_without_a_word() {
    let text = include_str!("../../../../deploy/examples/sip.conf");
    let uncommented: Vec<_> = text
        .lines()
        .map(|line| match line.strip_prefix(';') {
            Some(rest) if !rest.starts_with(' ') => rest,
            _ => line,
        })
        .collect();
    let conf = good(&uncommented.join("\n"));
    assert_eq!(said(&conf), [""; 0]);
    let carrier = peer(&conf, "carrier");
    assert_eq!(carrier.host, Host::Static("sip.carrier.example.com".to_owned()));
    assert!(carrier.answers_challenges() && carrier.insecure.invite && !carrier.has_secret());
}

#[test]
fn golden_every_diagnostic_names_file_line_and_option() {
    let text = r"; comments count as lines
[general]
bindaddr=0.0.0.0
realm=example.com
srvlookup=yes
nat=route
secrte=oops
secret=misplaced
maxexpirey=300
register => ann:hush@trunk.example.com/ann
tlsverifyclient=yes
alwaysauthreject=no

[authentication]
auth=ann:hush@example.com
realm=x

[base](!)
type=friend
host=dynamic
allow=ulaw
qualify=often

[2001](base)
secret=s1
directmedia=nonat
[2002](base)
secret=s2
username=bob
deny=1.2.3.4/99
[2003]
secret=s3
[2004]
type=phone
[2005]
type=peer
secret=s5
[2006](base)
[2001]
callerid=Ann <2001>
realm=x
";
    let conf = good(text);
    let golden = "\
sip.conf:5: warning: option 'srvlookup': 'yes' is not yet honoured, only no
sip.conf:6: warning: option 'nat': 'route' is not allowed, but no, or a list of force_rport, comedia, auto_force_rport, auto_comedia
sip.conf:7: warning: option 'secrte' is not known; is 'secret' meant?
sip.conf:8: warning: option 'secret' belongs into a peer's section
sip.conf:9: warning: option 'maxexpirey' is now called 'maxexpiry'
sip.conf:10: warning: option 'register' is not yet honoured
sip.conf:11: warning: option 'tlsverifyclient' has no effect
sip.conf:12: warning: option 'alwaysauthreject': 'no' is not yet honoured, only yes
sip.conf:15: warning: option 'auth' is not yet honoured
sip.conf:16: warning: option 'realm' belongs into another section
sip.conf:21: warning: option 'allow' is not yet honoured
sip.conf:22: warning: option 'qualify': 'often' is not allowed, but yes (2000 ms), no, or milliseconds from 1 to 60000
sip.conf:26: warning: option 'directmedia': 'nonat' is not yet honoured, only no
sip.conf:29: warning: option 'username' is now called 'defaultuser'
sip.conf:30: warning: option 'deny': '1.2.3.4/99' is not allowed, but ADDRESS, ADDRESS/BITS or ADDRESS/MASK (nobody is let in until this is corrected)
sip.conf:31: warning: section [2003] has no 'type' (peer, user or friend) and is left out
sip.conf:34: warning: option 'type': 'phone' is not allowed, but one of peer user friend
sip.conf:33: warning: section [2004] has a wrong 'type' (peer, user or friend) and is left out
sip.conf:35: warning: peer '2005' has no 'host'; it is taken as host=dynamic
sip.conf:38: warning: peer '2006' has no 'secret': anybody may use its name
sip.conf:39: warning: section [2001] is there already; these lines are added to it
sip.conf:41: warning: option 'realm' belongs into [general]";
    let mut golden: Vec<_> = golden.lines().map(str::to_owned).collect();
    golden.sort_by_key(|line| line.split(':').nth(1).and_then(|n| n.parse::<usize>().ok()));
    assert_eq!(said(&conf), golden);
    let names: Vec<_> = conf.peers.iter().map(|peer| peer.name.as_str()).collect();
    assert_eq!(names, ["2001", "2002", "2005", "2006"]);
    assert_eq!(peer(&conf, "2001").caller_name, "Ann");
    assert_eq!(conf.general.max_expiry, 300);
    assert!(!format!("{conf:?}").contains("hush"), "secrets are not printed");
}

#[test]
fn only_broken_syntax_stops() {
    let broken = read_text("sip.conf", "[general]\nsecrte=x\nnonsense\n").unwrap_err();
    assert_eq!(
        broken.to_string(),
        "sip.conf:2: warning: option 'secrte' is not known; is 'secret' meant?\n\
         sip.conf:3: error: this line is no 'option = value', no section and no comment"
    );
}

#[test]
fn general_holds_for_peers_above_it() {
    let conf = good("[2001]\ntype=friend\nhost=dynamic\nsecret=x\n[general]\nnat=comedia\n");
    assert!(peer(&conf, "2001").nat.comedia);
}

#[test]
fn a_peer_replaces_scalars_and_goes_on_with_lists() {
    let conf = good(
        "[general]\nnat=force_rport\ndisallow=all\nallow=ulaw\n\
         [2001]\ntype=user\nsecret=x\nnat=comedia\nallow=alaw\nmailbox=1\nmailbox=2,3\n",
    );
    let peer = peer(&conf, "2001");
    assert!(!peer.nat.force_rport && peer.nat.comedia, "nat is replaced as a whole");
    assert_eq!(peer.media.codecs.words(), "(ulaw|alaw)");
    assert_eq!(peer.mail.mailboxes, ["1", "2", "3"]);
    assert_eq!(peer.kind, PeerType::User);
}

#[test]
fn a_secret_may_hold_semicolons_and_equal_signs() {
    let conf = good("[2001]\ntype=friend\nhost=dynamic\nsecret=a\\;b=c ; not this\n");
    assert_eq!(peer(&conf, "2001").secret.as_ref().map(|s| s.expose()), Some("a;b=c"));
}

#[test]
fn a_minimum_above_the_maximum_gives_way() {
    let conf = good("[general]\nminexpiry=600\nmaxexpiry=300\n");
    assert_eq!(
        said(&conf),
        ["sip.conf:3: warning: option 'minexpiry' (600) is more than 'maxexpiry' (300), which holds"]
    );
    assert_eq!(conf.general.min_expiry, 300);
}

#[test]
fn an_md5secret_needs_md5() {
    let phone = "[7]\ntype=user\nmd5secret=0123456789abcdef0123456789abcdef\n";
    assert_eq!(said(&good(phone)), [""; 0]);
    let conf = good(&format!("[general]\nauth_algorithms=sha-256\n{phone}"));
    assert_eq!(
        said(&conf),
        ["sip.conf:3: warning: peer '7' has only an 'md5secret', but 'auth_algorithms' has no MD5"]
    );
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let broken = read("sip.conf", &mut crate::no_includes).unwrap_err();
    assert_eq!(broken.to_string(), "sip.conf:1: error: there is no such file");
    let broken = read("sip.conf", &mut |_| Err("permission denied".to_owned())).unwrap_err();
    assert_eq!(broken.to_string(), "sip.conf:1: error: the file cannot be read: permission denied");
}

#[test]
fn a_thousand_phones_of_one_template_say_a_thing_once() {
    let mut text = "[phone](!)\ntype=friend\nhost=dynamic\nallow=ulaw\n".to_owned();
    for number in 0..1000 {
        text += &format!("[{number}](phone)\nsecret=pw{number}\n");
    }
    let conf = good(&text);
    assert_eq!(conf.peers.len(), 1000);
    assert_eq!(said(&conf), ["sip.conf:4: warning: option 'allow' is not yet honoured"]);
}
