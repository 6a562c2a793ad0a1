//! The words that options of a peer take.

use super::value::{BadValue, boolean, list, number, words};

words! {
    /// The roles of a configured device.
    PeerType {
        /// Matched by address, callable, registers.
        Peer = "peer",
        /// Matched by the user part of From; not callable.
        User = "user",
        /// Both.
        #[default]
        Friend = "friend",
    }
}

impl PeerType {
    /// Whether the user part of From may name it.
    pub const fn is_user(self) -> bool {
        matches!(self, PeerType::User | PeerType::Friend)
    }

    /// Whether it can be called, registers, and is matched by address.
    pub const fn is_peer(self) -> bool {
        matches!(self, PeerType::Peer | PeerType::Friend)
    }
}

/// `host`: where a peer is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Host {
    /// It registers.
    #[default]
    Dynamic,
    /// A configured name or IP address (without brackets).
    Static(String),
}

/// `insecure`: what is not asked of requests that come from the peer's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Insecure {
    /// Its source port does not matter (UDP).
    pub port: bool,
    /// No digest for INVITE and other requests; REGISTER always needs it.
    pub invite: bool,
}

impl Insecure {
    /// What is allowed.
    pub const ALLOWED: &'static str = "no, port, invite, or port,invite";

    /// Reads the option. The old `very` and `yes` are refused.
    pub fn parse(value: &str) -> Result<Self, BadValue> {
        let mut insecure = Insecure::default();
        let words = list(value);
        for word in &words {
            match word.to_ascii_lowercase().as_str() {
                "port" => insecure.port = true,
                "invite" => insecure.invite = true,
                "no" | "false" | "off" if words.len() == 1 => {}
                _ => return Err(BadValue::new(Insecure::ALLOWED)),
            }
        }
        if words.is_empty() { Err(BadValue::new(Insecure::ALLOWED)) } else { Ok(insecure) }
    }

    /// `no`, `port`, `invite`, `port,invite`: as `sip show peer` prints it.
    pub const fn word(self) -> &'static str {
        match (self.port, self.invite) {
            (false, false) => "no",
            (true, false) => "port",
            (false, true) => "invite",
            (true, true) => "port,invite",
        }
    }
}

/// Reads `qualify`: the limit in milliseconds within which an answer is `OK`, or `None` for off.
pub fn qualify(value: &str) -> Result<Option<u32>, BadValue> {
    if value.trim().eq_ignore_ascii_case("yes") {
        return Ok(Some(2000));
    }
    if boolean(value) == Ok(false) {
        return Ok(None);
    }
    number(value, 1, 60_000)
        .map(Some)
        .map_err(|_| BadValue::new("yes (2000 ms), no, or milliseconds from 1 to 60000"))
}

/// `directmedia`: whether media may go around the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectMedia {
    /// Re-INVITE media away at all.
    pub on: bool,
    /// Only where nobody is behind NAT.
    pub nonat: bool,
    /// By UPDATE instead of re-INVITE.
    pub update: bool,
    /// Skip the first one on inbound legs.
    pub outgoing: bool,
}

impl Default for DirectMedia {
    /// `nonat`, which is what chan_sip does when the option is absent.
    fn default() -> Self {
        DirectMedia { on: true, nonat: true, update: false, outgoing: false }
    }
}

impl DirectMedia {
    /// Reads the option.
    pub fn parse(value: &str) -> Result<Self, BadValue> {
        let mut media = DirectMedia { on: false, nonat: false, update: false, outgoing: false };
        for word in list(value) {
            match (word.to_ascii_lowercase().as_str(), boolean(&word)) {
                ("nonat", _) => media.nonat = true,
                ("update", _) => media.update = true,
                ("outgoing", _) => media.outgoing = true,
                (_, Ok(on)) => media.on = on,
                _ => return Err(BadValue::new("yes, no, or a list of nonat, update, outgoing")),
            }
        }
        media.on |= media.nonat || media.update || media.outgoing;
        Ok(media)
    }
}

words! {
    /// `dtmfmode`.
    DtmfMode {
        /// RTP events (RFC 4733).
        #[default]
        Rfc2833 = "rfc2833" | "rfc4733",
        /// INFO with application/dtmf-relay.
        Info = "info",
        /// INFO with application/dtmf.
        ShortInfo = "shortinfo",
        /// Tones in the audio.
        Inband = "inband",
        /// RTP events if agreed, else tones.
        Auto = "auto",
    }
}

words! {
    /// `videosupport`.
    VideoSupport {
        /// No video.
        #[default]
        No = "no" | "false" | "off" | "0",
        /// When offered.
        Yes = "yes" | "true" | "on" | "1",
        /// Offered always.
        Always = "always",
    }
}

words! {
    /// `progressinband`.
    ProgressInband {
        /// Ringing only by 180, progress becomes 180.
        Never = "never",
        /// Ringing by 180, then in band if wanted again.
        #[default]
        No = "no" | "false" | "off",
        /// Ringing in band.
        Yes = "yes" | "true" | "on",
    }
}

words! {
    /// `sendrpid`: how the caller's identity is sent.
    SendRpid {
        /// Not at all.
        #[default]
        No = "no" | "false" | "off",
        /// Remote-Party-ID.
        Rpid = "rpid" | "yes" | "true" | "on",
        /// P-Asserted-Identity (RFC 3325).
        Pai = "pai",
    }
}

words! {
    /// `trust_id_outbound`: what happens to an identity that may not be shown.
    TrustIdOutbound {
        /// It is withheld.
        No = "no" | "false" | "off",
        /// It is sent with `Privacy: id`.
        Yes = "yes" | "true" | "on",
        /// It is made anonymous.
        #[default]
        Legacy = "legacy",
    }
}

words! {
    /// `allowoverlap`: digits after the INVITE.
    Overlap {
        /// 404 for a number that is too short.
        No = "no" | "false" | "off",
        /// 484.
        #[default]
        Yes = "yes" | "true" | "on",
        /// By DTMF.
        Dtmf = "dtmf",
    }
}

words! {
    /// `session-timers` (RFC 4028).
    SessionTimers {
        /// When the other side asks.
        #[default]
        Accept = "accept",
        /// Always asked for.
        Originate = "originate",
        /// Never.
        Refuse = "refuse",
    }
}

words! {
    /// `session-refresher`: who refreshes when the other side does not care.
    SessionRefresher {
        /// The caller.
        Uac = "uac",
        /// The callee.
        #[default]
        Uas = "uas",
    }
}

words! {
    /// `faxdetect`.
    FaxDetect {
        /// Off.
        #[default]
        No = "no" | "false" | "off",
        /// By tone and by T.38.
        Yes = "yes" | "true" | "on",
        /// By tone.
        Cng = "cng",
        /// By a T.38 offer.
        T38 = "t38",
    }
}

words! {
    /// `amaflags`: for billing.
    AmaFlags {
        /// Left to the system.
        #[default]
        Default = "default",
        /// No record.
        Omit = "omit",
        /// For billing.
        Billing = "billing",
        /// For documentation.
        Documentation = "documentation",
    }
}

words! {
    /// `callingpres`: how the caller's number may be shown.
    CallingPres {
        /// May be shown, not screened.
        #[default]
        AllowedNotScreened = "allowed_not_screened",
        /// May be shown, screening passed.
        AllowedPassedScreen = "allowed_passed_screen",
        /// May be shown, screening failed.
        AllowedFailedScreen = "allowed_failed_screen",
        /// May be shown, number of the network.
        Allowed = "allowed",
        /// May not be shown, not screened.
        ProhibNotScreened = "prohib_not_screened",
        /// May not be shown, screening passed.
        ProhibPassedScreen = "prohib_passed_screen",
        /// May not be shown, screening failed.
        ProhibFailedScreen = "prohib_failed_screen",
        /// May not be shown, number of the network.
        Prohib = "prohib",
        /// There is none.
        Unavailable = "unavailable",
    }
}

impl CallingPres {
    /// The long text of `sip show peer`.
    pub const fn text(self) -> &'static str {
        match self {
            CallingPres::AllowedNotScreened => "Presentation Allowed, Not Screened",
            CallingPres::AllowedPassedScreen => "Presentation Allowed, Passed Screen",
            CallingPres::AllowedFailedScreen => "Presentation Allowed, Failed Screen",
            CallingPres::Allowed => "Presentation Allowed, Network Number",
            CallingPres::ProhibNotScreened => "Presentation Prohibited, Not Screened",
            CallingPres::ProhibPassedScreen => "Presentation Prohibited, Passed Screen",
            CallingPres::ProhibFailedScreen => "Presentation Prohibited, Failed Screen",
            CallingPres::Prohib => "Presentation Prohibited, Network Number",
            CallingPres::Unavailable => "Number Unavailable",
        }
    }
}

words! {
    /// `encryption_taglen`.
    TagLength {
        /// 80 bits.
        #[default]
        Eighty = "80",
        /// 32 bits.
        ThirtyTwo = "32",
    }
}

words! {
    /// `dtlssetup` (RFC 4145).
    DtlsSetup {
        /// We connect.
        Active = "active",
        /// They connect.
        Passive = "passive",
        /// Either.
        #[default]
        Actpass = "actpass",
    }
}

words! {
    /// `dtlsfingerprint`.
    Fingerprint {
        /// SHA-1
        Sha1 = "sha-1",
        /// SHA-256
        #[default]
        Sha256 = "sha-256",
    }
}

words! {
    /// Error correction of T.38.
    T38Ec {
        /// None.
        None = "none",
        /// Forward error correction.
        #[default]
        Fec = "fec",
        /// Redundancy.
        Redundancy = "redundancy",
    }
}

/// `t38pt_udptl`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct T38 {
    /// Whether T.38 is used, and how it corrects errors.
    pub on: Option<T38Ec>,
    /// Largest datagram, octets; `None` as the other side says.
    pub max_datagram: Option<u32>,
}

impl T38 {
    /// Reads the option.
    pub fn parse(value: &str) -> Result<Self, BadValue> {
        let wrong = || BadValue::new("no, or yes[,fec|redundancy|none][,maxdatagram=OCTETS]");
        let mut t38 = T38::default();
        for word in list(value) {
            let word = word.to_ascii_lowercase();
            if let Some(octets) = word.strip_prefix("maxdatagram=") {
                t38.max_datagram = Some(number(octets, 1, 65_535).map_err(|_| wrong())?);
            } else if let Ok(on) = boolean(&word) {
                t38.on = on.then_some(T38Ec::Fec);
            } else {
                t38.on = Some(T38Ec::parse(&word).map_err(|_| wrong())?);
            }
        }
        Ok(t38)
    }
}

words! {
    /// `autocreatepeer`.
    AutoCreate {
        /// Unknown names may not register.
        #[default]
        No = "no" | "false" | "off",
        /// They may, until the next reload.
        Yes = "yes" | "true" | "on",
        /// They may, for good.
        Persist = "persist",
    }
}

words! {
    /// `register_clamp`: what happens to an Expires below `minexpiry`.
    RegisterClamp {
        /// 423 Interval Too Brief with Min-Expires (RFC 3261 §10.3).
        #[default]
        Refuse = "no" | "423" | "false" | "off",
        /// It is raised without a word, as chan_sip does.
        Silent = "yes" | "silent" | "true" | "on",
    }
}

words! {
    /// `notifyringing`.
    NotifyRinging {
        /// Ringing is not told.
        No = "no" | "false" | "off",
        /// Ringing is told.
        #[default]
        Yes = "yes" | "true" | "on",
        /// Only when the phone is not in use.
        NotInUse = "notinuse",
    }
}

words! {
    /// `notifycid`.
    NotifyCid {
        /// Off.
        #[default]
        No = "no" | "false" | "off",
        /// The caller's identity and a pickup Call-ID go into dialog-info.
        Yes = "yes" | "true" | "on",
        /// Also across contexts.
        IgnoreContext = "ignore-context",
    }
}

words! {
    /// `jbimpl`.
    JitterBuffer {
        /// Of one length.
        #[default]
        Fixed = "fixed",
        /// Adapts.
        Adaptive = "adaptive",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insecure_has_four_values() {
        for word in ["no", "port", "invite", "port,invite"] {
            assert_eq!(Insecure::parse(word).unwrap().word(), word);
        }
        for old in ["very", "yes", "", "no,port"] {
            assert!(Insecure::parse(old).is_err(), "{old:?}");
        }
    }

    #[test]
    fn qualify_is_yes_no_or_a_limit() {
        assert_eq!(qualify("yes"), Ok(Some(2000)));
        assert_eq!(qualify("no"), Ok(None));
        assert_eq!(qualify("500"), Ok(Some(500)));
        assert!(qualify("often").is_err());
    }

    #[test]
    fn the_last_three_words_of_directmedia_imply_yes() {
        assert!(!DirectMedia::parse("no").unwrap().on);
        assert_eq!(DirectMedia::parse("nonat").unwrap(), DirectMedia::default());
        let both = DirectMedia::parse("update,nonat").unwrap();
        assert!(both.on && both.nonat && both.update && !both.outgoing);
        assert!(DirectMedia::parse("sometimes").is_err());
    }

    #[test]
    fn t38_yes_alone_is_fec() {
        assert_eq!(T38::parse("yes").unwrap().on, Some(T38Ec::Fec));
        let t38 = T38::parse("yes,redundancy,maxdatagram=400").unwrap();
        assert_eq!((t38.on, t38.max_datagram), (Some(T38Ec::Redundancy), Some(400)));
        assert_eq!(T38::parse("no").unwrap(), T38::default());
    }
}
