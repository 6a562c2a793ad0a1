//! What every pod can say of itself when it is examined: clock, release, MTU.

use std::fs;
use std::path::Path;

use fairlead_model::surroundings::{Diagnosis, Finding, Severity, code};

use crate::{build, identity};

/// Where the kernel shows the interfaces of this network namespace.
const INTERFACES: &str = "/sys/class/net";
/// `IFF_UP` of `netdevice(7)`.
const UP: u32 = 0x1;
/// `IFF_LOOPBACK`.
const LOOPBACK: u32 = 0x8;
/// The largest request that RFC 3261 §18.1.1 lets a sender put into UDP without knowing the path, behind the headers of
/// IPv6 and UDP: with a smaller MTU such a request is sent in fragments, which many NATs drop. Octets.
pub const MTU_WANTED: u32 = 1300 + 40 + 8;

/// What a pod says: clock, release and MTU, the finding that the MTU is too small should it be, and `findings`, which
/// only its role can tell. `about` names the pod.
pub fn diagnosis(about: &str, findings: Vec<Finding>) -> Diagnosis {
    let mtu = smallest_mtu();
    let mut all = findings;
    all.extend(mtu_finding(about, mtu));
    Diagnosis {
        clock_ms: identity::now().0,
        version: build::VERSION.to_owned(),
        mtu: mtu.unwrap_or(0),
        findings: all,
    }
}

/// The smallest MTU of the interfaces that are up, but loopback; `None` where the kernel does not say.
pub fn smallest_mtu() -> Option<u32> {
    smallest_in(Path::new(INTERFACES))
}

fn smallest_in(interfaces: &Path) -> Option<u32> {
    let entries = fs::read_dir(interfaces).ok()?;
    entries.filter_map(|entry| mtu_of(&entry.ok()?.path())).min()
}

/// The MTU of one interface that carries packets of others: tunnels that the kernel makes by itself are down and do not
/// count.
fn mtu_of(interface: &Path) -> Option<u32> {
    let flags = fs::read_to_string(interface.join("flags")).ok()?;
    let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).ok()?;
    if flags & UP == 0 || flags & LOOPBACK != 0 {
        return None;
    }
    fs::read_to_string(interface.join("mtu")).ok()?.trim().parse().ok()
}

fn mtu_finding(about: &str, mtu: Option<u32>) -> Option<Finding> {
    let mtu = mtu.filter(|mtu| *mtu < MTU_WANTED)?;
    Some(Finding::new(
        code::MTU_SMALL,
        Severity::Warning,
        about,
        format!(
            "The smallest MTU is {mtu}; requests of up to 1300 octets over UDP need {MTU_WANTED} to leave in one packet."
        ),
        "Raise the MTU of the cluster's network (a setting of its CNI plugin), or let phones use TCP.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(at: &Path, name: &str, flags: &str, mtu: &str) {
        let folder = at.join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("flags"), flags).unwrap();
        fs::write(folder.join("mtu"), mtu).unwrap();
    }

    #[test]
    fn loopback_and_interfaces_that_are_down_do_not_count() {
        let at = tempfile::tempdir().unwrap();
        interface(at.path(), "lo", "0x9\n", "1200\n");
        interface(at.path(), "tunl0", "0x80\n", "1240\n");
        assert_eq!(smallest_in(at.path()), None);
        interface(at.path(), "eth0", "0x1003\n", "1450\n");
        interface(at.path(), "net1", "0x1003\n", "1400\n");
        assert_eq!(smallest_in(at.path()), Some(1400));
    }

    #[test]
    fn an_mtu_that_cuts_requests_is_a_finding_that_says_both_numbers() {
        assert_eq!(mtu_finding("pod-0", Some(MTU_WANTED)), None);
        assert_eq!(mtu_finding("pod-0", None), None);
        let found = mtu_finding("pod-0", Some(1280)).unwrap();
        assert_eq!((found.code.as_str(), found.about.as_str()), (code::MTU_SMALL, "pod-0"));
        assert!(found.text.contains("1280") && found.text.contains("1348"), "{}", found.text);
    }

    #[test]
    fn a_pod_says_its_time_and_its_release() {
        let said = diagnosis("pod-0", Vec::new());
        assert!(identity::now().0.abs_diff(said.clock_ms) < 5_000);
        assert_eq!(said.version, build::VERSION);
    }
}
