//! sip.conf to peers and settings, with diagnostics that name file and line.
