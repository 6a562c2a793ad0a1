//! RTP and RTCP: headers, sequence validation, statistics, and the relay's table of streams (RFC 3550).
