//! One table of every option: the same for sip.conf and for the columns of realtime peers.
