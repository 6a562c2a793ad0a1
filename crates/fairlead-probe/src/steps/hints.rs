//! What to look at when a step failed.

use crate::audio::Direction;

pub(super) const NO_NAME: &str = "Is the Service of signaling there, and is this its name? In Kubernetes: kubectl get service; a name of another namespace ends with .NAMESPACE.";
pub(super) const UNREACHABLE: &str = "Does signaling run, does its Service have endpoints, and does a NetworkPolicy let this pod speak to it? kubectl get pods,endpointslices";
pub(super) const NO_ANSWER: &str = "The edge did not answer, or could not reach the other phone: kubectl sip doctor, and the logs of signaling.";
pub(super) const NO_ACK: &str = "The ACK goes from the edge to the phone by the flow of its REGISTER: look at the logs of signaling for that call.";
pub(super) const NO_AUDIO: &str = "Neither phone heard anything: is the address behind --rtp-advertise (media.exposure) reachable, are the media Services there, and may this pod send UDP to them? kubectl sip doctor; from inside the cluster the peers need rtpSource: any.";
pub(super) const CUT: &str =
    "Look for the call in the logs of signaling and media: a pod that ended, or rtptimeout.";
pub(super) const LOSS: &str = "Packets are lost on the way: fairlead_media_packets_dropped_total, _not_sent_total and _overflowed_total of media say whether the relay knows of it.";
pub(super) const HERE: &str =
    "It is this machine that refuses: a limit on open files, or no address of that family.";

/// Why a REGISTER was refused.
pub(super) fn of_registration(name: &str, status: u16) -> String {
    match status {
        401 | 403 | 407 => format!(
            "The edge has another password for {name} than the one in the file, or does not know the peer."
        ),
        404 => format!(
            "There is no peer {name}: kubectl sip show peer {name}; a SipPeer needs the operator, and its condition Ready."
        ),
        423 => "The edge wants registrations to last longer (minexpiry).".to_owned(),
        500..=599 => {
            "The registrars or their store are away: kubectl sip show pods, and the logs of registrar."
                .to_owned()
        }
        _ => format!("Look at {name} with kubectl sip show peer {name}, and at the logs of signaling."),
    }
}

/// Why an INVITE was refused.
pub(super) fn of_call(status: u16) -> String {
    match status {
        403 | 401 | 407 => "The caller may not call, or its password is wrong.".to_owned(),
        404 => "The edge does not know whom to call: is the callee a peer, and in a context that the caller reaches?".to_owned(),
        408 | 480 => "The callee is registered and was not reached: its flow is lost, or its pod has gone.".to_owned(),
        488 => "The two have no codec in common: both peers of a probe need ulaw.".to_owned(),
        503 => "The edge has no address yet, or no relay that has one, or drains: kubectl sip doctor names it.".to_owned(),
        _ => "Look for the call in the logs of signaling.".to_owned(),
    }
}

/// Whether a refusal may pass by itself, as pods come and addresses are told. 0: nobody answered.
pub(super) fn may_pass(status: u16) -> bool {
    matches!(status, 404 | 408 | 480 | 500 | 502..=504)
}

/// Why one hears nothing.
pub(super) fn of_silence(direction: &Direction) -> String {
    format!(
        "What {} says does not reach the relay, or what the relay sends from {} does not reach {}. From inside a cluster RTP is masqueraded and both peers need rtpSource: any; otherwise: kubectl sip doctor.",
        direction.from, direction.relay, direction.to
    )
}

/// What changed on the way.
pub(super) fn of_other_address(direction: &Direction) -> String {
    let seen = direction.elsewhere_from.map(|from| from.to_string()).unwrap_or_default();
    format!(
        "{} speaks to {} and hears from {seen}: addresses or ports are rewritten on the way, and phones behind a NAT hear nothing. Behind a Service a relay needs --rtp-hear-first, and the node port the same number as the port.",
        direction.to, direction.relay
    )
}
