//! Sockets for SIP: UDP and TCP listeners, connections, framing of streams, flows.
