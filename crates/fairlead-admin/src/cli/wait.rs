//! `address --wait`: asks again until there is one.

use std::time::Duration;

use fairlead_runtime::settings::value::SettingValue;
use tokio::time::{Instant, sleep};

use super::{Ended, Transport};
use crate::engine::Answer;
use crate::operation::Operation;

/// How long is waited when nobody says how long.
pub(super) const USUAL: Duration = Duration::from_secs(60);

/// How long between two questions.
const PAUSE: Duration = Duration::from_secs(1);

/// `60s`, `2m`
pub(super) fn time(text: &str) -> Option<Duration> {
    Duration::parse(text).ok()
}

/// The answer with an address, or the last one when time is over. Who cannot answer yet is asked again too: at the end
/// of an installation the pods that would know may only just be starting.
pub(super) async fn for_address(transport: &dyn Transport, limit: Duration) -> Result<Answer, Ended> {
    let until = Instant::now() + limit;
    loop {
        let answer = transport.one(&Operation::Address).await;
        let has_come = match &answer {
            Ok(Answer::Addresses(answer)) => !answer.addresses.is_empty(),
            Err(Ended::Away(_) | Ended::Http(_)) => false,
            _ => true,
        };
        if has_come || Instant::now() + PAUSE > until {
            return answer;
        }
        sleep(PAUSE).await;
    }
}
