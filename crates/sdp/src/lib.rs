//! Session descriptions: reading, the offer/answer rules and rewriting for a relay (RFC 8866, RFC 3264).
