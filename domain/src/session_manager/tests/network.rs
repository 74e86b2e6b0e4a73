//! A network between the client and the agent that loses, repeats, delays and reorders, on a simulated clock.

use std::time::Duration;

/// A small generator (xorshift64*), so that a case depends on its seed only.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit.max(1)
    }
}

/// What goes wrong, in percent and milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    pub(super) loss: u64,
    pub(super) repetition: u64,
    pub(super) jitter: u64,
    pub(super) latency: u64,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Path {
    faults: Faults,
    random: Random,
    in_flight: Vec<(Duration, Vec<u8>)>,
}

impl Path {
    pub(super) fn new(faults: Faults, seed: u64) -> Self {
        Self { faults, random: Random::new(seed), in_flight: Vec::new() }
    }

    pub(super) fn send(&mut self, frame: &[u8], now: Duration) {
        let copies = 1 + u64::from(self.random.below(100) < self.faults.repetition);
        for _ in 0..copies {
            if self.random.below(100) >= self.faults.loss {
                let delay = self.faults.latency + self.random.below(self.faults.jitter + 1);
                self.in_flight.push((now + Duration::from_millis(delay), frame.to_vec()));
            }
        }
    }

    pub(super) fn arrived(&mut self, now: Duration) -> Vec<Vec<u8>> {
        let (mut due, rest): (Vec<_>, Vec<_>) = self.in_flight.drain(..).partition(|(at, _)| *at <= now);
        self.in_flight = rest;
        due.sort_by_key(|(at, _)| *at);
        due.into_iter().map(|(_, frame)| frame).collect()
    }

    /// The connection broke.
    pub(super) fn lose_everything(&mut self) {
        self.in_flight.clear();
    }
}
