//! The retransmission timeout, with the constants of both official ends (`CalculateRetransmissionTimeout`).

use std::time::Duration;

const FIRST_TIMEOUT: Duration = Duration::from_millis(200);
const GRANULARITY: Duration = Duration::from_millis(10);
/// Without back-off.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(1);
/// With back-off.
const LONGEST_BACKED_OFF: Duration = Duration::from_secs(4);

/// Estimates the round trip time from acknowledgements.
#[derive(Debug)]
pub(super) struct RoundTrip {
    mean: Duration,
    variation: Duration,
    timeout: Duration,
    /// How often the timeout is doubled.
    backoff: u32,
}

impl Default for RoundTrip {
    fn default() -> Self {
        Self { mean: Duration::from_millis(100), variation: Duration::ZERO, timeout: FIRST_TIMEOUT, backoff: 0 }
    }
}

impl RoundTrip {
    /// After this time without an acknowledgement a message is sent again.
    pub(super) fn timeout(&self) -> Duration {
        (self.timeout * 2_u32.pow(self.backoff)).min(LONGEST_BACKED_OFF)
    }

    /// Takes the time of a message that was sent only once (Karn's algorithm: a repeated one is ambiguous).
    pub(super) fn sample(&mut self, sample: Duration) {
        self.variation = self.variation * 3 / 4 + self.mean.abs_diff(sample) / 4;
        self.mean = self.mean * 7 / 8 + sample / 8;
        self.timeout = (self.mean + GRANULARITY.max(self.variation * 4)).min(LONGEST_TIMEOUT);
        self.backoff = 0;
    }

    /// Doubles the timeout until the next sample.
    pub(super) fn back_off(&mut self) {
        self.backoff = (self.backoff + 1).min(5);
    }

    /// Forgets the back-off: a new connection.
    pub(super) fn reset_backoff(&mut self) {
        self.backoff = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::RoundTrip;

    #[test]
    fn the_timeout_follows_samples_and_doubles_without() {
        let mut round_trip = RoundTrip::default();
        assert_eq!(round_trip.timeout(), Duration::from_millis(200));
        round_trip.back_off();
        round_trip.back_off();
        assert_eq!(round_trip.timeout(), Duration::from_millis(800));
        for _ in 0..100 {
            round_trip.back_off();
        }
        assert_eq!(round_trip.timeout(), Duration::from_secs(4));
        for _ in 0..200 {
            round_trip.sample(Duration::from_millis(40));
        }
        let timeout = round_trip.timeout().as_millis();
        assert!((49..=52).contains(&timeout), "{timeout}");
        for _ in 0..200 {
            round_trip.sample(Duration::from_secs(9));
        }
        assert_eq!(round_trip.timeout(), Duration::from_secs(1));
    }
}
