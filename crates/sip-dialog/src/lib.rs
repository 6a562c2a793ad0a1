//! Dialogs of RFC 3261 section 12: route sets, CSeq, targets, early dialogs and 2xx retransmission.
