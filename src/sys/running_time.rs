//! A clock that leaves out the time in which this process did not run: stopped by a signal, suspended with its machine, or
//! waiting for a processor on a machine with too much to do.
//!
//! A timeout limits how long a peer may take to answer. Measured by the system's clock it also fires where the answer
//! has been in the socket for long and only this process had no time to read it. Every wait is therefore limited to a known time
//! ([`STEP`] where nothing else limits it), and what a turn of a loop takes beyond that is not counted.
//!
//! Not here: limits that another program measures by its own clock (`ConnectTimeout` of ssh, the lifetime of a key or a URL).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest wait while a timeout runs, and so the most that a stop of any length adds to it.
pub const STEP: Duration = Duration::from_millis(100);

/// The time that is not counted.
#[derive(Debug)]
struct Lost {
    total: Duration,
    /// Up to here the time has been examined: several waits of one process end at the same time.
    examined: Option<Instant>,
}

impl Lost {
    const fn new() -> Self {
        Self { total: Duration::ZERO, examined: None }
    }

    /// A turn that began at `start` and may take `allowed` has ended at `now`.
    fn turn(&mut self, start: Instant, allowed: Duration, now: Instant) {
        let counted_until = (start + allowed).max(self.examined.unwrap_or(start));
        self.total += now.saturating_duration_since(counted_until);
        self.examined = self.examined.max(Some(now));
    }
}

static LOST: Mutex<Lost> = Mutex::new(Lost::new());

fn lost() -> Duration {
    LOST.lock().unwrap_or_else(PoisonError::into_inner).total
}

/// The present time of this clock. Comparable with other times of it only.
#[must_use]
pub fn now() -> Instant {
    at(Instant::now())
}

/// A time of the system's monotonic clock on this clock, if all time that will be lost has been lost by now.
#[must_use]
pub fn at(system: Instant) -> Instant {
    system.checked_sub(lost()).unwrap_or(system)
}

/// The time since `start` by this clock.
#[must_use]
pub fn since(start: Instant) -> Duration {
    now().saturating_duration_since(start)
}

/// The turns of a loop that waits once in each.
#[derive(Debug)]
pub struct Turns {
    start: Instant,
}

impl Turns {
    /// The first turn begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// Ends a turn whose wait was limited to `wait`, and begins the next one. The work between two waits counts too: at least
    /// [`STEP`] is allowed, because a short wait for a timer would otherwise never reach it.
    pub fn end(&mut self, wait: Duration) {
        let now = Instant::now();
        LOST.lock().unwrap_or_else(PoisonError::into_inner).turn(self.start, wait.max(STEP), now);
        self.start = now;
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_turn_within_its_limit_counts_in_full() {
        let (mut lost, start) = (Lost::new(), Instant::now());
        lost.turn(start, STEP, start + STEP / 2);
        lost.turn(start + STEP / 2, SECOND, start + SECOND);
        assert_eq!(lost.total, Duration::ZERO);
    }

    #[test]
    fn a_timer_is_reached_although_there_is_work_between_the_waits() {
        let end = now() + 3 * STEP;
        let mut turns = Turns::new();
        for _ in 0..1000 {
            std::thread::sleep(Duration::from_millis(1));
            let left = end.saturating_duration_since(now());
            if left.is_zero() {
                return;
            }
            let wait = left.min(STEP);
            std::thread::sleep(wait);
            turns.end(wait);
        }
        panic!("{:?} left", end.saturating_duration_since(now()));
    }

    #[test]
    fn a_stop_counts_as_the_limit_of_its_wait() {
        let (mut lost, start) = (Lost::new(), Instant::now());
        lost.turn(start, STEP, start + 60 * SECOND);
        assert_eq!(lost.total + STEP, 60 * SECOND);
    }

    #[test]
    fn a_stop_in_several_waits_is_left_out_once() {
        let (mut lost, start) = (Lost::new(), Instant::now());
        let end = start + 60 * SECOND;
        lost.turn(start, STEP, end);
        lost.turn(start + STEP / 4, STEP, end);
        lost.turn(start + STEP / 2, STEP, end + STEP / 10);
        assert_eq!(lost.total + STEP, 60 * SECOND + STEP / 10);
    }
}
