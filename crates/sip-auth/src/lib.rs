//! Digest authentication: challenges, nonces, verification and answers (RFC 8760, RFC 7616).
