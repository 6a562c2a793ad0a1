//! Messages that the benchmarks share. `cargo bench -p fairlead-bench`.

/// A REGISTER with digest credentials, 700 bytes.
pub const REGISTER: &str = "REGISTER sip:edge.example.com SIP/2.0\r\n\
Via: SIP/2.0/UDP 192.0.2.17:5060;branch=z9hG4bK-524287-1---7fb8d5c0a1b2c3d4;rport\r\n\
Max-Forwards: 70\r\n\
Contact: <sip:2001@192.0.2.17:5060;transport=UDP>;+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"\r\n\
To: \"Ann\" <sip:2001@edge.example.com>\r\n\
From: \"Ann\" <sip:2001@edge.example.com>;tag=8a7b6c5d\r\n\
Call-ID: 88888MTQ2NzUxYjQ4ZTk0ZGIxNjQ5\r\n\
CSeq: 2 REGISTER\r\n\
Expires: 3600\r\n\
Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE\r\n\
User-Agent: Phone/1.2.3\r\n\
Authorization: Digest username=\"2001\",realm=\"fairlead\",nonce=\"AQAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",uri=\"sip:edge.example.com\",response=\"6629fae49393a05397450978507c4ef1\",cnonce=\"0a4f113b\",nc=00000001,qop=auth,algorithm=MD5\r\n\
Content-Length: 0\r\n\r\n";

/// An INVITE with a description of 20 lines, 1,300 bytes.
pub fn invite() -> String {
    let sdp = "v=0\r\no=- 3894 1 IN IP4 192.0.2.17\r\ns=call\r\nc=IN IP4 192.0.2.17\r\nt=0 0\r\n\
        m=audio 49170 RTP/AVP 0 8 9 18 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:9 G722/8000\r\n\
        a=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n\
        a=sendrecv\r\nm=video 49172 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 profile-level-id=42e01f\r\na=sendrecv\r\n";
    format!(
        "INVITE sip:2002@edge.example.com SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.17:5060;branch=z9hG4bK-524287-1---8fb8d5c0a1b2c3d4;rport\r\n\
        Max-Forwards: 70\r\nContact: <sip:2001@192.0.2.17:5060;transport=UDP>\r\nTo: <sip:2002@edge.example.com>\r\n\
        From: \"Ann\" <sip:2001@edge.example.com>;tag=9a7b6c5d\r\nCall-ID: 99999MTQ2NzUxYjQ4ZTk0ZGIxNjQ5\r\nCSeq: 2 INVITE\r\n\
        Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE\r\n\
        Content-Type: application/sdp\r\nSupported: replaces, timer\r\nUser-Agent: Phone/1.2.3\r\n\
        Content-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}
