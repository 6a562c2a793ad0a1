//! What a shard drives: one input, drain all outputs, sleep.

use std::time::Instant;

use fairlead_core::Open;
use fairlead_core::input::{Input, Now};
use fairlead_core::output::Output;
use fairlead_model::channel::{Bridge, Channel};

/// The transaction user as the loop sees it. The loop is tested with others than [`fairlead_core`]'s.
pub trait Machine {
    /// Takes one input.
    fn handle(&mut self, input: Input, now: Now);
    /// Lets timers fire.
    fn handle_timeout(&mut self, now: Now);
    /// The next thing to be done, until `None`.
    fn poll_output(&mut self) -> Option<Output>;
    /// When to call [`Machine::handle_timeout`].
    fn poll_timeout(&self) -> Option<Instant>;
    /// Legs of calls.
    fn channels(&self) -> Vec<Channel>;
    /// Pairs of legs that hear each other.
    fn bridges(&self) -> Vec<Bridge>;
    /// What is open.
    fn open(&self) -> Open;
    /// Phones that only this pod can reach while others take calls for them.
    fn flows_left(&self) -> usize {
        0
    }
    /// Calls that were passed on and wait for their answer or its ACK, which have to come through this pod.
    fn passing(&self) -> usize {
        0
    }
}

impl Machine for fairlead_core::Core {
    fn handle(&mut self, input: Input, now: Now) {
        self.handle(input, now);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.handle_timeout(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.poll_timeout()
    }

    fn channels(&self) -> Vec<Channel> {
        self.channels()
    }

    fn bridges(&self) -> Vec<Bridge> {
        self.bridges()
    }

    fn open(&self) -> Open {
        self.open()
    }

    fn flows_left(&self) -> usize {
        self.flows_left()
    }

    fn passing(&self) -> usize {
        self.passing()
    }
}
