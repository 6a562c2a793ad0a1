//! The dialogs that one INVITE of ours makes: one a To tag (RFC 3261 §12.1, §13.2.2.4).

use sip_wire::Message;

use crate::{Dialog, DialogError};

/// More early dialogs than this of one INVITE are not followed.
const MAX_FORKS: usize = 32;

/// What a response is to the dialogs of its INVITE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fork {
    /// It makes no dialog: 100, without a To tag, or 300 and above.
    None,
    /// It made this one.
    New(String),
    /// It belongs to this one, which was there.
    Known(String),
    /// It would make one more than is followed; ignored.
    TooMany,
}

/// An INVITE of ours with the dialogs its responses made.
#[derive(Clone, Debug)]
pub struct Forks {
    invite: Message,
    dialogs: Vec<Dialog>,
}

impl Forks {
    /// For the INVITE that is being sent.
    pub fn new(invite: Message) -> Self {
        Forks { invite, dialogs: Vec::new() }
    }

    /// Takes a response to the INVITE in. A 2xx confirms its dialog.
    pub fn handle_response(&mut self, response: &Message) -> Result<Fork, DialogError> {
        let Some(status @ 101..300) = response.status() else { return Ok(Fork::None) };
        let tag = match response.to_tag() {
            Some(tag) if !tag.is_empty() => tag.to_string(),
            _ => return Ok(Fork::None),
        };
        if let Some(known) = self.get_mut(&tag) {
            if status >= 200 {
                known.confirm_by(response)?;
            } else {
                known.refresh_target(response)?;
            }
            return Ok(Fork::Known(tag));
        }
        // A 2xx has to be acknowledged and then ended even when there are too many.
        if self.dialogs.len() >= MAX_FORKS && status < 200 {
            return Ok(Fork::TooMany);
        }
        self.dialogs.push(Dialog::uac(&self.invite, response)?);
        Ok(Fork::New(tag))
    }

    /// The dialog with this remote tag.
    pub fn get(&self, remote_tag: &str) -> Option<&Dialog> {
        self.dialogs.iter().find(|dialog| dialog.remote_tag == remote_tag)
    }

    /// The same, to be used for a request (PRACK, UPDATE, BYE).
    pub fn get_mut(&mut self, remote_tag: &str) -> Option<&mut Dialog> {
        self.dialogs.iter_mut().find(|dialog| dialog.remote_tag == remote_tag)
    }

    /// Takes the dialog that goes on out of them.
    pub fn take(&mut self, remote_tag: &str) -> Option<Dialog> {
        let at = self.dialogs.iter().position(|dialog| dialog.remote_tag == remote_tag)?;
        Some(self.dialogs.swap_remove(at))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Dialog> {
        self.dialogs.iter()
    }

    /// The INVITE.
    pub fn invite(&self) -> &Message {
        &self.invite
    }
}
