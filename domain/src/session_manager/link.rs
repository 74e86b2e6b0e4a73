//! The websocket connection below the session: pings, a peer that no longer answers, and when to resume.

use std::time::Duration;

/// Routers on the way forget connections that are idle for one to five minutes.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// Without any frame for this time the connection is dead: two pings were not answered.
const DEAD_AFTER: Duration = Duration::from_secs(75);
/// The first wait before another attempt; it doubles.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// Attempts to resume end so long after the first failure.
const RESUME_TIMEOUT: Duration = Duration::from_mins(2);
/// A connection that lasted this long worked.
const STABLE_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No connection; the next attempt is due at this time.
    Waiting(Duration),
    /// The transport connects.
    Connecting,
    Up,
}

/// What the link needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Ping,
    /// Drop the connection if there is one, and resume the session.
    Resume,
    /// The session could not be resumed in time.
    GiveUp,
}

#[derive(Debug)]
pub(super) struct Link {
    state: State,
    connected: Duration,
    heard: Duration,
    pinged: Duration,
    /// Since when the session has no working connection.
    broken: Option<Duration>,
    retry: Duration,
}

impl Link {
    pub(super) fn new(now: Duration) -> Self {
        let retry = FIRST_RETRY;
        Self { state: State::Connecting, connected: now, heard: now, pinged: now, broken: None, retry }
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    pub(super) fn connected(&mut self, now: Duration) {
        self.state = State::Up;
        (self.connected, self.heard, self.pinged) = (now, now, now);
    }

    /// Any frame arrived.
    pub(super) fn heard(&mut self, now: Duration) {
        self.heard = self.heard.max(now);
    }

    /// The session works over this connection.
    pub(super) fn works(&mut self) {
        self.broken = None;
        self.retry = FIRST_RETRY;
    }

    /// The connection ended, or an attempt to resume failed.
    pub(super) fn disconnected(&mut self, now: Duration) {
        if matches!(self.state, State::Waiting(_)) {
            return;
        }
        if self.is_up() && now.saturating_sub(self.connected) >= STABLE_AFTER {
            self.works();
        }
        self.broken = self.broken.or(Some(now));
        self.state = State::Waiting(now + self.retry);
        self.retry = (self.retry * 2).min(LONGEST_RETRY);
    }

    pub(super) fn next_need(&mut self, now: Duration) -> Option<Need> {
        if self.is_up() && now >= self.heard + DEAD_AFTER {
            self.disconnected(now);
        }
        if self.broken.is_some_and(|since| now >= since + RESUME_TIMEOUT) && !self.is_up() {
            return Some(Need::GiveUp);
        }
        match self.state {
            State::Waiting(until) if now >= until => {
                self.state = State::Connecting;
                Some(Need::Resume)
            }
            State::Up if now >= self.pinged + PING_INTERVAL => {
                self.pinged = now;
                Some(Need::Ping)
            }
            _ => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        let give_up = self.broken.map(|since| since + RESUME_TIMEOUT);
        match self.state {
            State::Waiting(until) => Some(give_up.map_or(until, |give_up| until.min(give_up))),
            State::Connecting => give_up,
            State::Up => Some((self.pinged + PING_INTERVAL).min(self.heard + DEAD_AFTER)),
        }
    }
}
