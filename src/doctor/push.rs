//! A real push, by the same code as a connection's.

use std::time::{Duration, Instant};

use super::CheckContext;
use super::instance::no_answer;
use crate::connect::push::Job;
use crate::connect::target;
use crate::connect::worker::{Answer, Request};
use crate::domain::diagnosis::Finding;
use crate::error::Result;

/// AWS may refuse for 30 s before a push is given up; the rest is for saying so.
const TIMEOUT: Duration = Duration::from_secs(34);
const REPORT_TIME: Duration = Duration::from_secs(1);

/// AWS takes the key for the user that ssh will name.
pub(super) fn key(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let user = target::os_user(context.effective("user")?)?;
    // No earlier push counts: the permission may have been revoked since.
    let job = Job { user, window: 0, ..context.target()?.job.clone() };
    let message = format!("for {} on {}", job.user, job.name());
    let start = Instant::now();
    let request = Request::Push(Box::new(job), u64::try_from(TIMEOUT.as_millis()).unwrap_or(u64::MAX));
    let answer = context.program.ask(&request, TIMEOUT + REPORT_TIME)?;
    let Some(Answer::Pushed(_)) = answer else { return Err(no_answer(TIMEOUT)) };
    let taken = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(vec![Finding::ok("push", format!("a key {message} within {taken} ms"))])
}
