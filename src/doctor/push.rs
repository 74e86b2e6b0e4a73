//! A real push, by the same code as a connection's.

use std::time::{Duration, Instant};

use super::Case;
use super::instance::no_answer;
use crate::connect::push::Job;
use crate::connect::target;
use crate::connect::worker::{Answer, Request};
use crate::domain::diagnosis::Finding;
use crate::error::Result;
use crate::sys::clock;

/// AWS may refuse for 30 s before a push is given up; the rest is for saying so.
const PATIENCE: Duration = Duration::from_secs(34);
const LAST_WORDS: Duration = Duration::from_secs(1);

/// AWS takes the key for the user that ssh will name.
pub(super) fn key(case: &Case<'_>) -> Result<Vec<Finding>> {
    let user = target::os_user(case.effective("user")?)?;
    let job = Job { user, ..case.target()?.job.clone() };
    let words = format!("for {} on {}", job.user, job.name());
    let start = Instant::now();
    let request = Request::Push(Box::new(job), u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX));
    let answer = case.program.ask(&request, PATIENCE + LAST_WORDS)?;
    let Some(Answer::Pushed(sent)) = answer else { return Err(no_answer(PATIENCE)) };
    let taken = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let age = clock::now().saturating_sub(sent);
    Ok(vec![Finding::ok(
        "push",
        if age > taken {
            format!("a key {words} has been there for {} s", age / 1000)
        } else {
            format!("a key {words} within {taken} ms")
        },
    )])
}
