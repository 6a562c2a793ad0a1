//! What a peer does with media, and its mailboxes.

use super::RtpSource;
use super::codecs::Codecs;
use super::kinds::{
    DirectMedia, DtlsSetup, DtmfMode, FaxDetect, Fingerprint, ProgressInband, T38, TagLength, VideoSupport,
};

/// The media options of a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct MediaOptions {
    /// `allow`, `disallow`
    pub codecs: Codecs,
    /// `rtpsource` (ours): where RTP of a peer with comedia may come from.
    pub rtp_source: RtpSource,
    /// `rtptimeout`, seconds; 0 never.
    pub rtp_timeout: u32,
    /// `rtpholdtimeout`, seconds; 0 never.
    pub rtp_hold_timeout: u32,
    /// `rtpkeepalive`, seconds; 0 never.
    pub rtp_keepalive: u32,
    /// `directmedia`
    pub direct_media: DirectMedia,
    /// `dtmfmode`
    pub dtmf_mode: DtmfMode,
    /// `rfc2833compensate`
    pub rfc2833_compensate: bool,
    /// `preferred_codec_only`
    pub preferred_codec_only: bool,
    /// `ignore_requested_pref`
    pub ignore_requested_pref: bool,
    /// `autoframing`
    pub auto_framing: bool,
    /// `g726nonstandard`
    pub g726_nonstandard: bool,
    /// `videosupport`
    pub video: VideoSupport,
    /// `textsupport`
    pub text: bool,
    /// `maxcallbitrate`, kbit/s.
    pub max_call_bitrate: u32,
    /// `progressinband`
    pub progress_inband: ProgressInband,
    /// `ignoresdpversion`
    pub ignore_sdp_version: bool,
    /// `t38pt_udptl`
    pub t38: T38,
    /// `t38pt_usertpsource`
    pub t38_use_rtp_source: bool,
    /// `faxdetect`
    pub fax_detect: FaxDetect,
    /// `discard_remote_hold_retrieval`
    pub discard_hold: bool,
    /// `rtp_engine`
    pub rtp_engine: String,
    /// `encryption`
    pub encryption: bool,
    /// `encryption_taglen`
    pub encryption_tag: TagLength,
    /// `avpf`
    pub avpf: bool,
    /// `force_avp`
    pub force_avp: bool,
    /// `rtcp_mux`
    pub rtcp_mux: bool,
    /// `icesupport`
    pub ice: bool,
    /// `dtlsenable`
    pub dtls: bool,
    /// `dtlssetup`
    pub dtls_setup: DtlsSetup,
    /// `dtlsfingerprint`
    pub dtls_fingerprint: Fingerprint,
    /// `dtlsverify`, `dtlsrekey`, `dtlscertfile` and the other `dtls…` options as written.
    pub dtls_options: Vec<(String, String)>,
}

impl Default for MediaOptions {
    fn default() -> Self {
        MediaOptions {
            codecs: Codecs::default(),
            rtp_source: RtpSource::default(),
            rtp_timeout: 0,
            rtp_hold_timeout: 0,
            rtp_keepalive: 0,
            direct_media: DirectMedia::default(),
            dtmf_mode: DtmfMode::default(),
            rfc2833_compensate: false,
            preferred_codec_only: false,
            ignore_requested_pref: false,
            auto_framing: false,
            g726_nonstandard: false,
            video: VideoSupport::default(),
            text: false,
            max_call_bitrate: 384,
            progress_inband: ProgressInband::default(),
            ignore_sdp_version: false,
            t38: T38::default(),
            t38_use_rtp_source: false,
            fax_detect: FaxDetect::default(),
            discard_hold: false,
            rtp_engine: "asterisk".to_owned(),
            encryption: false,
            encryption_tag: TagLength::default(),
            avpf: false,
            force_avp: false,
            rtcp_mux: false,
            ice: false,
            dtls: false,
            dtls_setup: DtlsSetup::default(),
            dtls_fingerprint: Fingerprint::default(),
            dtls_options: Vec::new(),
        }
    }
}

/// The mailbox options of a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct MailOptions {
    /// `mailbox`
    pub mailboxes: Vec<String>,
    /// `hasvoicemail`
    pub has_voicemail: bool,
    /// `subscribemwi`
    pub subscribe_mwi: bool,
    /// `vmexten`
    pub vm_exten: String,
    /// `unsolicited_mailbox`
    pub unsolicited_mailbox: Option<String>,
    /// `mwi_from`
    pub mwi_from: Option<String>,
    /// `buggymwi`
    pub buggy_mwi: bool,
}

impl Default for MailOptions {
    fn default() -> Self {
        MailOptions {
            mailboxes: Vec::new(),
            has_voicemail: false,
            subscribe_mwi: false,
            vm_exten: "asterisk".to_owned(),
            unsolicited_mailbox: None,
            mwi_from: None,
            buggy_mwi: false,
        }
    }
}
