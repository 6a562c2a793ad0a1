//! Route sets and targets, read from messages.

use sip_wire::{Contacts, Header, Message};

use crate::DialogError;

/// The Record-Route values, topmost first, as they were written.
pub(crate) fn record_routes(message: &Message) -> Result<Vec<String>, DialogError> {
    // Reading them once makes sure that every one can be used as a Route later.
    message.record_route().map_err(|_| DialogError::RecordRoute)?;
    Ok(message.values(Header::RecordRoute).map(|value| value.to_string()).collect())
}

/// The URI of the one Contact; `None` when there is no Contact at all.
pub(crate) fn target(message: &Message) -> Result<Option<String>, DialogError> {
    match message.contacts() {
        Ok(Contacts::List(list)) => match list.as_slice() {
            [] => Ok(None),
            [one] if one.uri.is_sip() || one.uri.is_sips() => Ok(Some(one.uri.as_str().to_owned())),
            _ => Err(DialogError::Contact),
        },
        Ok(Contacts::Star) | Err(_) => Err(DialogError::Contact),
    }
}
