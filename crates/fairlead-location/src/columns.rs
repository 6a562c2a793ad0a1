//! The columns that SIP writes into a peer's row.

use fairlead_model::binding::{Binding, QualifyState};
use fairlead_model::id::UnixMillis;
use fairlead_model::peer::{GeneralFull, RuntimeColumns};
use sip_wire::Uri;

use crate::order::first;

/// What the row says of these bindings: the contact that would be called first, or nothing.
///
/// `ipaddr` and `port` are where requests go, as in chan_sip: the packet's source for a contact reached by its
/// flow, else the Contact's own address (the source again where that is a name). `regserver` is the pod that holds
/// the flow; whoever writes the row may put the pod's name there instead.
pub fn runtime_columns(bindings: &[Binding], general: &GeneralFull, now: UnixMillis) -> RuntimeColumns {
    let Some(binding) = first(bindings, now) else {
        return RuntimeColumns::cleared(general.rt_save_sysname, general.rt_save_path);
    };
    let uri = Uri::parse(&binding.uri).ok();
    let signalled = uri.as_ref().filter(|_| !binding.by_flow).and_then(|uri| {
        let port = uri.port().unwrap_or(binding.flow.transport.default_port());
        uri.host_ip().map(|ip| (ip, port))
    });
    let (ip, port) = signalled.unwrap_or((binding.flow.remote.ip(), binding.flow.remote.port()));
    RuntimeColumns {
        ipaddr: ip.to_canonical().to_string(),
        port,
        regseconds: binding.expires_at.seconds(),
        fullcontact: binding.uri.clone(),
        useragent: binding.user_agent.clone(),
        lastms: match binding.qualify.state {
            QualifyState::Unreachable => -1,
            QualifyState::Unknown => 0,
            QualifyState::Ok | QualifyState::Lagged => {
                i32::try_from(binding.qualify.rtt_ms).unwrap_or(i32::MAX)
            }
        },
        regserver: general.rt_save_sysname.then(|| binding.flow.pod.to_string()),
        defaultuser: uri.as_ref().and_then(|uri| uri.decoded_user()).map(|user| user.into_owned()),
        path: general.rt_save_path.then(|| binding.path.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{NOW, binding};

    #[test]
    fn a_contact_by_flow_shows_the_source_and_another_its_own_address() {
        let mut bindings = [binding("a")];
        bindings[0].uri = "sip:20%2301@192.0.2.50:5070".to_owned();
        let columns = runtime_columns(&bindings, &GeneralFull::default(), NOW);
        assert_eq!((columns.ipaddr.as_str(), columns.port), ("192.0.2.50", 5070));
        assert_eq!(columns.defaultuser.as_deref(), Some("20#01"));
        assert_eq!(columns.regserver, None);
        bindings[0].by_flow = true;
        let columns = runtime_columns(&bindings, &GeneralFull::default(), NOW);
        assert_eq!((columns.ipaddr.as_str(), columns.port), ("198.51.100.7", 40_001));
        assert_eq!(columns.regseconds, bindings[0].expires_at.seconds());
    }

    #[test]
    fn a_contact_with_a_name_shows_the_source() {
        let mut bindings = [binding("a")];
        bindings[0].uri = "sip:2001@phone.example.com".to_owned();
        assert_eq!(runtime_columns(&bindings, &GeneralFull::default(), NOW).ipaddr, "198.51.100.7");
    }

    #[test]
    fn saved_names_and_paths_are_written_by_setting() {
        let general = GeneralFull { rt_save_path: true, rt_save_sysname: true, ..GeneralFull::default() };
        let mut bindings = [binding("a")];
        bindings[0].path = vec!["<sip:p1;lr>".to_owned(), "<sip:p2;lr>".to_owned()];
        bindings[0].qualify.state = QualifyState::Unreachable;
        let columns = runtime_columns(&bindings, &general, NOW);
        assert_eq!(columns.path.as_deref(), Some("<sip:p1;lr>, <sip:p2;lr>"));
        assert_eq!(columns.regserver.as_deref(), Some("000000000001"));
        assert_eq!(columns.lastms, -1);
    }

    #[test]
    fn without_a_contact_the_row_is_blank() {
        let mut bindings = [binding("a")];
        bindings[0].expires_at = NOW;
        let columns = runtime_columns(&bindings, &GeneralFull::default(), NOW);
        assert_eq!(columns, RuntimeColumns::default());
    }
}
