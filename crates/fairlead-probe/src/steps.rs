//! The steps of a probe, in their order. Whatever happens, a call that was made is ended and both peers are unregistered.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip_wire::{Header, Message};

use crate::audio::{Direction, Ear, talk};
use crate::link::Link;
use crate::options::Options;
use crate::phone::{Phone, Unanswered, status_line};
use crate::report::{Failure, Report, Step, StepName};

mod hints;

/// One request may take this long; what is not there yet is asked again.
const ANSWER: Duration = Duration::from_secs(5);
/// A call may ring this long.
const RING: Duration = Duration::from_secs(20);
/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a binding is good for beyond the call itself, seconds.
const EXPIRES: u64 = 120;

/// What failed, while the step that it failed in is known to the caller.
#[derive(Debug)]
struct Failed {
    seen: String,
    hint: String,
}

struct Probe<'a> {
    options: &'a Options,
    report: Report,
    tell: &'a mut (dyn FnMut(&Step) + Send),
    /// What is not there yet is waited for until then.
    patience: Instant,
}

/// Makes the probe. `tell` hears of each step as it ends.
pub async fn run(options: &Options, tell: &mut (dyn FnMut(&Step) + Send)) -> Report {
    let mut probe =
        Probe { options, report: Report::default(), tell, patience: Instant::now() + options.wait };
    let ended = probe.all().await;
    probe.report.ok = ended.is_some() && probe.report.failure.is_none();
    probe.report
}

impl Probe<'_> {
    /// `None` as soon as a step fails; what must be undone is undone.
    async fn all(&mut self) -> Option<()> {
        let (address, mut caller) = self.reach().await?;
        let opened = Link::open(self.options.transport, address).await;
        let callee = opened.map_err(|failed| Failed {
            seen: format!("could not open a second way to {address}: {failed}"),
            hint: hints::UNREACHABLE.to_owned(),
        });
        let mut callee = match callee {
            Ok(link) => Phone::new(self.options.callee.clone(), self.options.domain(), link),
            Err(failed) => {
                self.over(StepName::Register, Instant::now(), Err(failed));
                return None;
            }
        };
        let registered = self.register(&mut caller, &mut callee).await;
        let called = match registered {
            Some(()) => self.call(&mut caller, &mut callee).await,
            None => None,
        };
        let unregistered = self.unregister(&mut caller, &mut callee).await;
        called.and(unregistered)
    }

    /// Notes a step and tells of it.
    fn over(&mut self, step: StepName, began: Instant, ended: Result<String, Failed>) -> Option<()> {
        let (ok, seen) = match ended {
            Ok(seen) => (true, seen),
            Err(Failed { seen, hint }) => {
                // What fails afterwards mostly fails because of it.
                self.report.failure.get_or_insert(Failure { step, seen: seen.clone(), hint });
                (false, seen)
            }
        };
        let step = Step { step, ok, took: began.elapsed(), seen };
        (self.tell)(&step);
        self.report.steps.push(step);
        ok.then_some(())
    }

    fn may_wait(&self) -> bool {
        Instant::now() + AGAIN < self.patience
    }

    /// Finds the edge and hears something of it.
    async fn reach(&mut self) -> Option<(SocketAddr, Phone)> {
        let began = Instant::now();
        let found = loop {
            match self.resolve().await {
                Err(_) if self.may_wait() => tokio::time::sleep(AGAIN).await,
                found => break found,
            }
        };
        let address = match found {
            Ok(all) => {
                let list: Vec<String> = all.iter().map(ToString::to_string).collect();
                self.over(
                    StepName::Resolve,
                    began,
                    Ok(format!("{} is {}", self.options.host, list.join(", "))),
                );
                *all.first()?
            }
            Err(failed) => {
                self.over(StepName::Resolve, began, Err(failed));
                return None;
            }
        };
        let began = Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            let asked = async {
                let link = Link::open(self.options.transport, address).await.map_err(Unanswered::Link)?;
                let mut phone = Phone::new(self.options.caller.clone(), self.options.domain(), link);
                let response = phone.options(ANSWER).await?;
                Ok::<_, Unanswered>((phone, response))
            };
            match asked.await {
                // Any answer shows that somebody is there, except that there is nobody behind him.
                Ok((phone, response)) if response.status() != Some(503) => {
                    let server = response.header(Header::Server).map(|server| format!(" ({server})"));
                    let seen = format!(
                        "{}{} from {address} over {}",
                        status_line(&response),
                        server.unwrap_or_default(),
                        self.options.transport.as_str()
                    );
                    self.over(StepName::Options, began, Ok(seen))?;
                    return Some((address, phone));
                }
                _ if self.may_wait() => tokio::time::sleep(AGAIN).await,
                Ok((_, response)) => {
                    let seen = status_line(&response);
                    self.over(StepName::Options, began, Err(Failed { seen, hint: hints::of_call(503) }));
                    return None;
                }
                Err(failed) => {
                    let seen = format!("{address} over {}: {failed}", self.options.transport.as_str());
                    let seen = if tries > 1 { format!("{seen}, {tries} times") } else { seen };
                    self.over(
                        StepName::Options,
                        began,
                        Err(Failed { seen, hint: hints::UNREACHABLE.to_owned() }),
                    );
                    return None;
                }
            }
        }
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, Failed> {
        let (host, port) = (self.options.host.as_str(), self.options.port);
        let failed = |seen: String| Failed { seen, hint: hints::NO_NAME.to_owned() };
        let found = tokio::net::lookup_host((host, port)).await;
        let mut all: Vec<SocketAddr> =
            found.map_err(|cause| failed(format!("{host} cannot be resolved: {cause}")))?.collect();
        all.dedup();
        if all.is_empty() { Err(failed(format!("{host} has no address"))) } else { Ok(all) }
    }

    async fn register(&mut self, caller: &mut Phone, callee: &mut Phone) -> Option<()> {
        let began = Instant::now();
        let expires = EXPIRES + self.options.duration.as_secs() + self.options.media_timeout.as_secs();
        let mut expires = u32::try_from(expires).unwrap_or(u32::MAX);
        let mut seen = Vec::new();
        for (phone, name) in [(caller, &self.options.caller.name), (callee, &self.options.callee.name)] {
            loop {
                let failed = match phone.register(expires, ANSWER).await {
                    Ok(response) => match response.status() {
                        Some(200..300) => {
                            seen.push(format!("{name} {}", status_line(&response)));
                            break;
                        }
                        // §10.2.8: longer, then.
                        Some(423) if least(&response) > expires => {
                            expires = least(&response);
                            continue;
                        }
                        status => Failed {
                            seen: format!("REGISTER of {name}: {}", status_line(&response)),
                            hint: hints::of_registration(name, status.unwrap_or_default()),
                        },
                    },
                    Err(failed) => Failed {
                        seen: format!("REGISTER of {name}: {failed}"),
                        hint: hints::UNREACHABLE.to_owned(),
                    },
                };
                // The peer may not have come to the registrars yet, nor its password.
                if Instant::now() + AGAIN >= self.patience {
                    return self.over(StepName::Register, began, Err(failed));
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
        self.over(StepName::Register, began, Ok(seen.join(", ")))
    }

    async fn call(&mut self, caller: &mut Phone, callee: &mut Phone) -> Option<()> {
        let began = Instant::now();
        let opened =
            async { Ok((Ear::open(caller.local().ip()).await?, Ear::open(callee.local().ip()).await?)) };
        let opened: std::io::Result<(Ear, Ear)> = opened.await;
        let (mut mouth, mut ear) = match opened {
            Ok(both) => both,
            Err(failed) => {
                let seen = format!("no UDP port for audio: {failed}");
                return self.over(
                    StepName::Invite,
                    began,
                    Err(Failed { seen, hint: hints::HERE.to_owned() }),
                );
            }
        };
        caller.offers(mouth.description());
        callee.offers(ear.description());
        let seen = loop {
            match self.invite(caller, callee).await {
                Ok(seen) => break Ok(seen),
                Err((status, _)) if hints::may_pass(status) && self.may_wait() => {
                    tokio::time::sleep(AGAIN).await;
                }
                Err((_, failed)) => break Err(failed),
            }
        };
        let invited = self.over(StepName::Invite, began, seen);
        let (at_caller, at_callee) =
            (caller.call().map(|call| call.audio), callee.call().map(|call| call.audio));
        let (Some(()), Some(at_caller), Some(at_callee)) = (invited, at_caller, at_callee) else {
            self.hang_up(caller, callee, false).await;
            return None;
        };
        mouth.speak_to(at_caller);
        ear.speak_to(at_callee);
        let began = Instant::now();
        let names = [self.options.caller.name.as_str(), self.options.callee.name.as_str()];
        let talk = talk(
            [&mut mouth, &mut ear],
            names,
            self.options.media_timeout,
            self.options.duration.min(Options::LONGEST),
        );
        let (talked, cut) = tokio::select! {
            talked = talk => (Some(talked), None),
            down = caller.serve() => (None, Some(down)),
            down = callee.serve() => (None, Some(down)),
        };
        let heard = match (talked, cut) {
            (Some(directions), _) => {
                let judged = judge(&directions, self.options.loss_limit);
                self.report.audio = directions.to_vec();
                judged
            }
            (None, cut) => Err(Failed {
                seen: format!("SIP broke off: {}", cut.map(|cut| cut.to_string()).unwrap_or_default()),
                hint: hints::UNREACHABLE.to_owned(),
            }),
        };
        let ended_early = [&*caller, &*callee].iter().any(|phone| phone.call().is_none_or(|call| call.ended));
        let heard = match heard {
            Ok(_) if ended_early => Err(Failed {
                seen: "the edge ended the call before its time".to_owned(),
                hint: hints::CUT.to_owned(),
            }),
            heard => heard,
        };
        let heard = self.over(StepName::Audio, began, heard);
        let hung_up = self.hang_up(caller, callee, true).await;
        heard.and(hung_up)
    }

    /// INVITE, 200, ACK. The status that refused it, 0 for none.
    async fn invite(&self, caller: &mut Phone, callee: &mut Phone) -> Result<String, (u16, Failed)> {
        let name = &self.options.callee.name;
        let broken = |failed: Unanswered| {
            (0, Failed { seen: format!("INVITE to {name}: {failed}"), hint: hints::NO_ANSWER.to_owned() })
        };
        let response = tokio::select! {
            response = caller.invite(name, RING) => response.map_err(broken)?,
            down = callee.serve() => return Err(broken(down)),
        };
        let status = response.status().unwrap_or_default();
        if !matches!(status, 200..300) {
            let reason = response.header(Header::Reason).or(response.header(Header::Warning));
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            let seen = format!("INVITE to {name}: {}{reason}", status_line(&response));
            return Err((status, Failed { seen, hint: hints::of_call(status) }));
        }
        let acknowledged = |phone: &Phone| phone.call().is_some_and(|call| call.acknowledged);
        let acked = tokio::select! {
            acked = callee.serve_until(ANSWER, acknowledged) => acked.map_err(broken)?,
            down = caller.serve() => return Err(broken(down)),
        };
        if !acked {
            let seen = format!("{name} answered and its 200 was never acknowledged");
            return Err((0, Failed { seen, hint: hints::NO_ACK.to_owned() }));
        }
        let relays = [&*caller, &*callee]
            .map(|phone| phone.call().map(|call| call.audio.to_string()).unwrap_or_default());
        Ok(format!("{}, audio at {} and {}", status_line(&response), relays[0], relays[1]))
    }

    /// Ends the call, if there is one. It is only told as a step when the call was a good one.
    async fn hang_up(&mut self, caller: &mut Phone, callee: &mut Phone, told: bool) -> Option<()> {
        let began = Instant::now();
        if caller.call().is_none() || caller.call().is_some_and(|call| call.ended) {
            // The callee may have one that its caller knows nothing of.
            if callee.call().is_some_and(|call| !call.ended) {
                let _ = tokio::select! {
                    ended = callee.bye(ANSWER) => ended.map(|_| ()),
                    down = caller.serve() => Err(down),
                };
            }
            return None;
        }
        let ended = tokio::select! {
            ended = caller.bye(ANSWER) => ended,
            down = callee.serve() => Err(down),
        };
        let seen = match ended {
            Ok(response) if matches!(response.status(), Some(200..300)) => {
                let over = |phone: &Phone| phone.call().is_none_or(|call| call.ended);
                match callee.serve_until(ANSWER, over).await {
                    Ok(true) => Ok(status_line(&response)),
                    Ok(false) => Err(format!("{}, but the callee heard of no BYE", status_line(&response))),
                    Err(down) => Err(down.to_string()),
                }
            }
            Ok(response) => Err(status_line(&response)),
            Err(failed) => Err(failed.to_string()),
        };
        if !told {
            return None;
        }
        let ended =
            seen.map_err(|seen| Failed { seen: format!("BYE: {seen}"), hint: hints::NO_ANSWER.to_owned() });
        self.over(StepName::Bye, began, ended)
    }

    async fn unregister(&mut self, caller: &mut Phone, callee: &mut Phone) -> Option<()> {
        let began = Instant::now();
        let (mut done, mut wrong) = (Vec::new(), Vec::new());
        for (phone, name) in [(caller, &self.options.caller.name), (callee, &self.options.callee.name)] {
            // One that was refused has no contact to remove.
            if !phone.may_be_registered() {
                continue;
            }
            match phone.register(0, ANSWER).await {
                Ok(response) if matches!(response.status(), Some(200..300)) => done.push(name.as_str()),
                Ok(response) => wrong.push(format!("{name}: {}", status_line(&response))),
                Err(failed) => wrong.push(format!("{name}: {failed}")),
            }
        }
        let ended = match (wrong.as_slice(), done.as_slice()) {
            ([], []) => Ok("nobody is registered".to_owned()),
            ([], done) => Ok(done.join(", ")),
            (wrong, _) => Err(Failed { seen: wrong.join(", "), hint: hints::UNREACHABLE.to_owned() }),
        };
        self.over(StepName::Unregister, began, ended)
    }
}

/// Min-Expires.
fn least(response: &Message) -> u32 {
    response.number(Header::MinExpires).unwrap_or(0).min(3_600)
}

/// Whether both heard each other well enough.
fn judge(directions: &[Direction; 2], limit: u32) -> Result<String, Failed> {
    let seen = directions.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let deaf: Vec<&Direction> = directions.iter().filter(|direction| direction.received == 0).collect();
    if let Some(changed) = directions.iter().find(|direction| direction.elsewhere > 0) {
        let hint = hints::of_other_address(changed);
        return Err(Failed {
            seen: format!("audio comes from another address than it goes to: {seen}"),
            hint,
        });
    }
    match deaf.as_slice() {
        [] => {}
        [one] => {
            let said = format!("one-way audio: {} hears nothing of {}", one.to, one.from);
            return Err(Failed { seen: format!("{said}: {seen}"), hint: hints::of_silence(one) });
        }
        _ => {
            return Err(Failed {
                seen: format!("no audio either way: {seen}"),
                hint: hints::NO_AUDIO.to_owned(),
            });
        }
    }
    match directions.iter().find(|direction| direction.loss() >= limit) {
        Some(worst) => {
            let (loss, most) = (worst.loss(), limit);
            let said = format!(
                "{}.{} % of what {} said was lost, {}.{} % is the limit",
                loss / 10,
                loss % 10,
                worst.from,
                most / 10,
                most % 10
            );
            Err(Failed { seen: format!("{said}: {seen}"), hint: hints::LOSS.to_owned() })
        }
        None => Ok(seen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direction(from: &str, to: &str, sent: u64, received: u64) -> Direction {
        Direction {
            from: from.to_owned(),
            to: to.to_owned(),
            relay: ([192, 0, 2, 1], 30_000).into(),
            sent,
            received,
            lost: sent - received,
            before: 1,
            out_of_order: 0,
            jitter_us: 1_250,
            elsewhere: 0,
            elsewhere_from: None,
        }
    }

    #[test]
    fn one_way_audio_is_named_by_who_hears_nothing() {
        let both = [direction("ann", "ben", 250, 250), direction("ben", "ann", 0, 0)];
        let failed = judge(&both, 20).unwrap_err();
        assert!(failed.seen.starts_with("one-way audio: ann hears nothing of ben"), "{}", failed.seen);
    }

    #[test]
    fn loss_fails_from_its_limit_on_and_says_both_figures() {
        let good = [direction("ann", "ben", 250, 246), direction("ben", "ann", 250, 250)];
        let seen = judge(&good, 20).unwrap();
        assert!(seen.contains("lost 4 (1.6 %), jitter 1.2 ms"), "{seen}");
        let bad = [direction("ann", "ben", 250, 245), direction("ben", "ann", 250, 250)];
        let failed = judge(&bad, 20).unwrap_err();
        assert!(
            failed.seen.starts_with("2.0 % of what ann said was lost, 2.0 % is the limit"),
            "{}",
            failed.seen
        );
    }

    #[test]
    fn an_address_that_changed_on_the_way_is_named() {
        let mut both = [direction("ann", "ben", 250, 250), direction("ben", "ann", 0, 0)];
        both[1].elsewhere = 250;
        both[1].elsewhere_from = Some(([192, 0, 2, 1], 6_722).into());
        let failed = judge(&both, 20).unwrap_err();
        assert!(failed.hint.contains("6722") && failed.hint.contains("30000"), "{}", failed.hint);
    }
}
