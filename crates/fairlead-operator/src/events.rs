//! What is said at objects: Events, a few a second, the rest only in the log.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::time::{Duration, sleep};

use crate::lease::Reign;

/// Events that wait.
const WAITING: usize = 256;

/// The shortest time between two.
const PAUSE: Duration = Duration::from_millis(200);

/// Says things at objects. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events(mpsc::Sender<(ObjectReference, Said)>);

#[derive(Debug)]
struct Said {
    is_warning: bool,
    reason: &'static str,
    action: &'static str,
    note: String,
}

impl Events {
    /// Writes what is said until `reign` ends.
    pub fn start(client: Client, controller: &str, pod: &str, reign: Reign) -> Self {
        let (say, mut said) = mpsc::channel::<(ObjectReference, Said)>(WAITING);
        let reporter = Reporter { controller: controller.to_owned(), instance: Some(pod.to_owned()) };
        let recorder = Recorder::new(client, reporter);
        tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    next = said.recv() => next,
                    () = reign.end().cancelled() => return,
                };
                let Some((about, event)) = next else { return };
                if !reign.holds() {
                    continue;
                }
                let event = Event {
                    type_: if event.is_warning { EventType::Warning } else { EventType::Normal },
                    reason: event.reason.to_owned(),
                    note: Some(event.note),
                    action: event.action.to_owned(),
                    secondary: None,
                };
                if let Err(error) = reign.write(recorder.publish(&event, &about)).await {
                    tracing::debug!(%error, reason = event.reason, "an Event could not be written");
                }
                sleep(PAUSE).await;
            }
        });
        Events(say)
    }

    /// Something is wrong with an object.
    pub fn warn(
        &self,
        about: ObjectReference,
        reason: &'static str,
        action: &'static str,
        note: impl Into<String>,
    ) {
        self.say(about, true, reason, action, note.into());
    }

    /// Something was done about an object.
    pub fn note(
        &self,
        about: ObjectReference,
        reason: &'static str,
        action: &'static str,
        note: impl Into<String>,
    ) {
        self.say(about, false, reason, action, note.into());
    }

    fn say(
        &self,
        about: ObjectReference,
        is_warning: bool,
        reason: &'static str,
        action: &'static str,
        note: String,
    ) {
        // The API server takes 1024 octets.
        let end = note.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= 1000).last();
        let note = note.get(..end.unwrap_or(0)).unwrap_or_default().to_owned();
        // A full queue loses Events, never the work they are about.
        if self.0.try_send((about, Said { is_warning, reason, action, note })).is_err() {
            tracing::debug!(reason, "too many Events wait");
        }
    }
}
