//! Timeouts of requests, by the clock of [`running_time`]: a process that does not run does not use up its time, and a
//! response that is in the socket when the time is over is still read.

use std::time::Duration;

use aws_sdk_sts::config::{AsyncSleep, Sleep};

use crate::sys::running_time::{self, STEP, Turns};

/// How the SDK waits: its timeouts for connecting and for each attempt, and its pauses between attempts.
#[derive(Debug)]
pub(super) struct RunningSleep;

impl AsyncSleep for RunningSleep {
    fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(sleep(duration))
    }
}

/// Sleeps, in steps.
pub async fn sleep(duration: Duration) {
    let end = running_time::now() + duration;
    let mut turns = Turns::new();
    loop {
        let left = end.saturating_duration_since(running_time::now());
        if left.is_zero() {
            break;
        }
        let step = left.min(STEP);
        tokio::time::sleep(step).await;
        turns.end(step);
    }
    // A signal that continues a stopped process interrupts epoll_wait(2), and the event loop sees the time that has
    // passed but not the sockets. It looks at them before it comes back here, and the future that is limited is polled first.
    tokio::task::yield_now().await;
}

/// Runs a future for at most `duration`; none: the time is over.
pub async fn limit<T>(duration: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = sleep(duration) => None,
    }
}
