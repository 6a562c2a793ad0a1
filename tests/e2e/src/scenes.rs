//! The tests, in the order they run. The first installs, the last uninstalls; each of the others leaves the release healthy.

mod access;
pub mod calls;
mod certificates;
mod changes;
mod doctor;
mod drain;
mod exposure;
mod first_visit;
mod last;
mod losses;
mod many;
mod nobody;
mod operator;
mod redis;
mod secrets;

use std::pin::Pin;

use crate::world::World;

type Outcome<'w> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'w>>;

/// One test.
pub struct Scene {
    /// Its name.
    pub name: &'static str,
    /// What it shows.
    pub says: &'static str,
    /// What it cannot do without.
    pub needs: Needs,
    act: for<'w> fn(&'w mut World) -> Outcome<'w>,
}

/// What a test cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Any cluster.
    Nothing,
    /// A cluster whose nodes, control plane and images are ours.
    OwnCluster,
    /// The same, a program that is linked dynamically, and libfaketime.
    OtherProgram,
    /// Somebody who asks for it by its whole name: it takes very long.
    Asking,
}

impl Needs {
    /// For the list.
    pub fn note(self) -> &'static str {
        match self {
            Needs::Nothing => "",
            Needs::OwnCluster => " [own cluster]",
            Needs::OtherProgram => " [own cluster, `cargo build -p fairlead`, libfaketime]",
            Needs::Asking => " [only when asked for by name]",
        }
    }

    /// What is missing here.
    pub fn lacking(self, world: &World) -> Option<&'static str> {
        match self {
            Needs::OwnCluster | Needs::OtherProgram if !world.cluster.own => Some(
                "it cuts nodes, stops the API server or brings images, which only our own cluster allows",
            ),
            Needs::OtherProgram if crate::release::dynamic_program().is_none() => Some(
                "the program of the image is static, and no other is there: `cargo build -p fairlead`, or FAIRLEAD_E2E_PROGRAM",
            ),
            Needs::OtherProgram if !has_faketime() => Some("libfaketime is not installed (Debian: faketime)"),
            _ => None,
        }
    }
}

fn has_faketime() -> bool {
    let libraries = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    libraries.into_iter().any(|folder| folder.path().join("faketime/libfaketime.so.1").exists())
}

impl Scene {
    /// Whether it is to run: named in part, or everything is. A word that is a whole name means that one alone.
    pub fn is_wanted(&self, names: &[String]) -> bool {
        let whole = |word: &str| SCENES.iter().any(|scene| scene.name == word);
        let by_part = |word: &str| self.name.contains(word) && !whole(word) && self.needs != Needs::Asking;
        match names {
            // What takes very long is not meant by a part of its name either.
            [] => self.needs != Needs::Asking,
            names => names.iter().any(|word| self.name == word || by_part(word)),
        }
    }

    /// Runs it.
    pub async fn run(&self, world: &mut World) -> anyhow::Result<()> {
        (self.act)(world).await
    }
}

macro_rules! scenes {
    ($($needs:ident $module:ident::$name:ident, $says:literal;)*) => {
        /// All of them.
        pub const SCENES: &[Scene] = &[$(Scene {
            name: stringify!($name),
            says: $says,
            needs: Needs::$needs,
            act: |world| Box::pin($module::$name(world)),
        }),*];
    };
}

scenes! {
    Nothing first_visit::install, "helm install --wait in a restricted namespace, without a warning";
    Nothing first_visit::helm_test, "helm test calls through the edge and leaves nothing";
    Nothing first_visit::sippeers_by_kubectl_apply, "202 SipPeers are served by every registrar; a wrong one is refused by the API server";
    Nothing first_visit::two_phones_call, "ann calls ben with audio both ways, and everybody shows it";
    Nothing first_visit::rest_through_port_forward, "REST lists, prunes, unregisters; kubectl sip shows the same";
    Nothing access::three_people_may_what_their_role_says, "kubectl sip: viewer, agent, admin, and one who may nothing";
    Nothing access::a_missing_or_lesser_bearer_is_told_what_it_needs, "401 and 403 as problem+json, UNAUTHENTICATED and PERMISSION_DENIED";
    Nothing first_visit::no_finding_in_a_healthy_release, "kubectl sip doctor is silent";
    Nothing many::two_hundred_sipp_phones_register, "SIPp registers 200 phones through the balancer";
    Nothing many::fifty_calls_with_every_packet_counted, "50 calls at once, RTP both ways, nothing lost";
    Nothing calls::inactive_hold_of_150_s, "hold, 150 s of silence, resume: both hear";
    Nothing changes::signaling_1_3_1_under_registrations, "no REGISTER refused or lost while signaling is scaled";
    Nothing changes::registrar_1_3_1_under_registrations, "no REGISTER refused or lost while registrars are scaled";
    Nothing calls::media_pod_deleted_by_node_port, "a 30 s call on a media pod deleted at second 5 loses no packet";
    Nothing calls::media_pod_deleted_by_load_balancer, "the same with an address per relay";
    Nothing drain::a_signaling_pod_deleted_passes_new_calls_on, "calls come up by way of a pod that drains, those on it end in peace";
    Nothing drain::the_last_signaling_pod_refuses_new_calls_at_once, "503 with Retry-After, REGISTER is answered, the call ends in peace";
    Nothing changes::upgrade_without_a_change_restarts_nothing, "helm upgrade --reuse-values leaves every pod";
    OwnCluster changes::upgrade_to_a_new_tag_under_calls, "5 calls a second while all pods are replaced: none fails";
    Nothing losses::each_pod_of_each_role_deleted_once, "no REGISTER refused, the next call within 5 s";
    OwnCluster losses::node_2_cut, "phones register and call within 5 s of the balancer noticing";
    Nothing losses::redis_deleted_with_its_disk, "after 30 s every phone is listed and reachable, without a new REGISTER";
    OwnCluster losses::api_server_stopped_for_a_minute, "calls and registrations do not notice";
    Nothing secrets::twenty_renewals_under_calls, "certificates change without a lost packet";
    Nothing secrets::strangers_get_no_answer, "without a certificate nobody speaks to registrar, media or mesh";
    Nothing operator::what_happened_while_no_operator_ran, "deleted and changed SipPeers are found at start";
    Nothing operator::a_changed_password_counts_within_5_s, "a Secret reaches the registrars";
    Nothing operator::a_change_at_rest_is_seen_within_5_s, "a phone comes and goes: its status says so";
    Nothing operator::a_name_has_one_owner_and_what_is_changed_by_hand_is_put_right, "NameTaken, a peer without a mark, an Event for a changed column";
    Nothing operator::an_emptied_redis_calls_no_peer_unknown, "503 until the peers are written again, never 403";
    Nothing operator::a_release_that_comes_again_calls_no_peer_unknown, "uninstalled and installed over its SipPeers: 503 until they are written, never 403";
    Nothing operator::service_ports_follow_the_values, "UDP, then TCP, then 5061: all are there after each upgrade";
    Nothing doctor::findings_are_provoked_and_go_away, "each finding names what to change";
    OwnCluster doctor::finding_of_a_small_mtu, "the same for a pod's link";
    OtherProgram doctor::findings_of_other_versions_and_clocks, "the same for a pod of another version, and one whose clock is wrong";
    Asking operator::ten_thousand_sippeers, "200 REGISTER/s for 2 minutes cost 5 status writes a second";
    Nothing certificates::certificates_of_ones_own, "another certificate, then another authority: no pod restarts, no packet is lost";
    OwnCluster certificates::certificates_by_cert_manager, "what Certificates ask for is enough, and is renewed";
    Nothing certificates::no_certificates_is_said_loudly, "tls.internal.mode=off works; notes, logs and doctor warn";
    Nothing redis::redis_with_tls_and_a_user, "the example for Redis with TLS: a user, a password, an authority of one's own";
    Nothing redis::redis_behind_sentinel_fails_over, "the example for Sentinel: the master is lost, no registration is";
    Nothing redis::redis_as_a_cluster, "the example for a Redis Cluster of three masters";
    Nothing exposure::media_by_host_port, "RTP by ports of the relay's node, in a privileged namespace";
    Nothing exposure::media_by_host_network, "RTP by a relay in the network of its node, in a privileged namespace";
    OwnCluster exposure::media_by_pod_ip, "RTP to the relay's pod, from phones in a pod";
    Nothing nobody::install_without_a_balancer, "no address: helm returns, OPTIONS and REGISTER are answered, INVITE 503, doctor says it";
    Nothing last::uninstall_leaves_only_what_is_documented, "helm uninstall";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(words: &[&str]) -> Vec<&'static str> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        SCENES.iter().filter(|scene| scene.is_wanted(&words)).map(|scene| scene.name).collect()
    }

    #[test]
    fn a_whole_name_means_that_test_and_a_part_all_that_hold_it() {
        assert_eq!(wanted(&["install"]), ["install"]);
        assert_eq!(wanted(&["signaling_1", "install"]), ["install", "signaling_1_3_1_under_registrations"]);
        assert_eq!(wanted(&["_1_3_1_"]).len(), 2);
    }

    #[test]
    fn what_takes_very_long_runs_only_when_its_whole_name_is_said() {
        assert_eq!(wanted(&["ten_thousand"]), [] as [&str; 0]);
        assert_eq!(wanted(&["ten_thousand_sippeers"]), ["ten_thousand_sippeers"]);
        assert!(!wanted(&[]).contains(&"ten_thousand_sippeers"));
    }
}
