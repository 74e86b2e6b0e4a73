//! The rate of data messages. Above 1000 a second, sustained, the gateway pauses the agent or closes the connection.

use std::time::Duration;

/// The time between two messages at 900 a second.
const INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / 900);
/// Messages that may be sent at once after a pause.
const BURST: u32 = 32;

/// Spaces messages out: the generic cell rate algorithm (ITU-T I.371).
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the next message would be due without any burst.
    next: Duration,
}

impl Pace {
    /// When the next message may be sent; not after `now`: at once.
    pub(super) fn ready_at(&self) -> Duration {
        self.next.saturating_sub(INTERVAL * (BURST - 1))
    }

    /// Records that a message is sent.
    pub(super) fn sent(&mut self, now: Duration) {
        self.next = self.next.max(now) + INTERVAL;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Pace;

    #[test]
    fn a_second_has_900_messages_and_one_burst() {
        let mut pace = Pace::default();
        let (mut now, mut sent, end) = (Duration::from_secs(5), 0, Duration::from_secs(6));
        while now < end {
            if pace.ready_at() <= now {
                pace.sent(now);
                sent += 1;
            } else {
                now = pace.ready_at();
            }
        }
        assert!((925..=935).contains(&sent), "{sent}");
    }
}
