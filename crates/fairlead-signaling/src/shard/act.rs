//! What the machine wants done besides sending: questions, orders, look-ups, events. Each goes into a bounded queue; one that
//! is full is answered at once, as the other end would have.

use std::sync::atomic::Ordering;
use std::time::Instant;

use fairlead_core::input::Input;
use fairlead_core::output::{Event, Output};
use fairlead_model::ask::{Ask, AskFailed};
use fairlead_model::relay::RelayRefused;
use tracing::Span;

use super::Shard;
use crate::machine::Machine;
use crate::media_link::OrderJob;
use crate::registrar_link::AskJob;

impl<M: Machine> Shard<M> {
    pub(super) fn act(&mut self, output: Output) {
        match output {
            Output::Send { send, to, message, report } => self.send(send, to, message, report),
            Output::Forward { pod, shard, message, flow, report } => {
                self.forward((pod, shard), message, flow, report);
            }
            Output::Ask(envelope) => {
                let id = envelope.id;
                if matches!(envelope.ask, Ask::Admit(_)) && self.admitting.insert(id) {
                    self.live.fetch_add(1, Ordering::Relaxed);
                }
                let span = if self.traced {
                    tracing::info_span!(parent: &self.span, "ask", question = envelope.ask.word())
                } else {
                    Span::none()
                };
                let job = AskJob { shard: self.identity.shard, envelope, span };
                if self.links.asks.try_send(job).is_err() {
                    self.metrics.shed("asks");
                    let answer = Err(AskFailed::Overloaded);
                    self.pending.push_back(Input::Answered { ask: id, answer });
                }
            }
            Output::Relay { order, relay, what } => {
                let span = if self.traced {
                    tracing::info_span!(parent: &self.span, "relay", order = crate::media_link::word(&what))
                } else {
                    Span::none()
                };
                let job = OrderJob { shard: self.identity.shard, order, relay, what, span };
                if self.links.orders.try_send(job).is_err() {
                    self.metrics.shed("orders");
                    self.pending.push_back(Input::Relayed { order, reply: Err(RelayRefused::Busy) });
                }
            }
            Output::Resolve { resolve, host, port, transport } => {
                let door = self.links.shards.get(usize::from(self.identity.shard));
                let port = port.unwrap_or_else(|| transport.default_port());
                match (crate::resolver::literal(&host, port), door) {
                    (Some(address), _) => {
                        self.pending.push_back(Input::Resolved { resolve, addresses: vec![address] });
                    }
                    (None, Some(door)) if self.links.resolver.look_up(host, port, resolve, door) => {}
                    _ => {
                        self.metrics.shed("lookups");
                        self.pending.push_back(Input::Resolved { resolve, addresses: Vec::new() });
                    }
                }
            }
            Output::Close { flow } => self.close(&flow),
            Output::Event(event) => {
                self.metrics.event(&event);
                self.tell_event(event);
            }
        }
    }

    fn tell_event(&mut self, event: Event) {
        match event {
            Event::Qualified { peer, key, result } => {
                let mut at = 0;
                while let Some(waiting) = self.qualifying.get(at) {
                    if waiting.peer == peer && waiting.key == key {
                        let waiting = self.qualifying.swap_remove(at);
                        let _ = waiting.answer.send(result);
                    } else {
                        at += 1;
                    }
                }
            }
            Event::Registered { source } => self.registrations.note(source, Instant::now()),
            Event::CallBegan { call } => {
                self.calls += 1;
                self.live.fetch_add(1, Ordering::Relaxed);
                self.metrics.all.calls.inc();
                tracing::debug!(%call, "a call began");
            }
            Event::CallAnswered { call, setup_ms } => tracing::info!(%call, setup_ms, "a call is up"),
            Event::CallEnded(record) => {
                // A call that was adopted ends here and began elsewhere.
                if self.calls > 0 {
                    self.calls -= 1;
                    self.live.fetch_sub(1, Ordering::Relaxed);
                    self.metrics.all.calls.dec();
                }
                if self.draining {
                    self.metrics.drain(if record.ended_by == "shutdown" { "cut" } else { "ended" }, 1);
                }
                tracing::info!(
                    call = %record.call,
                    status = record.status,
                    ended_by = record.ended_by,
                    duration_ms = record.duration_ms,
                    billed_ms = record.billed_ms,
                    "a call is over"
                );
                tracing::debug!(call = %record.call, from = record.from, to = record.to, call_id = record.call_id);
            }
            _ => {}
        }
    }
}
