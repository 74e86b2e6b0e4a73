//! The push that runs while the connection is opened.

use super::{Opening, PUSH_TIMEOUT, Push};
use crate::connect::push;
use crate::connect::worker::{Answer, Request, Waiting};
use crate::error::{Error, Kind, Result};
use crate::store::keys;
use crate::sys::{clock, running_time};
use crate::ui;

impl Opening<'_> {
    /// Leases the key, and starts the push unless the key has been pushed already.
    pub(super) fn start_push(&mut self, ready: Option<Waiting>) -> Result<()> {
        let job = &self.target.job;
        let now = clock::now();
        if let Some(stamp) = push::stamp(self.paths, &job.id, &job.user)
            && stamp.is_fresh(&stamp.key, &job.user, now, job.window)
        {
            // A key that has been removed is made again, and is another key then.
            let key = keys::lease(self.paths, &job.id, job.key_type, job.readable, now)?;
            if stamp.key == key.fingerprint {
                self.push = Push::Done(stamp.sent);
                return Ok(());
            }
        }
        let timeout = u64::try_from(PUSH_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
        let ready = ready.map_or_else(|| self.program.prepare(), Ok)?;
        let worker = ready.ask(&Request::Push(Box::new(job.clone()), timeout))?;
        self.push = Push::Running { worker, since: running_time::now() };
        Ok(())
    }

    pub(super) fn read_push(&mut self) -> Result<()> {
        let Push::Running { worker, .. } = &mut self.push else { return Ok(()) };
        let Some(answer) = worker.read() else { return Ok(()) };
        let Answer::Pushed(sent) = answer? else {
            return Err(Error::new(Kind::Bug, "the worker did not answer the push"));
        };
        let taken = self.target.start.elapsed().as_millis();
        ui::verbose(|| format!("the key is on {} after {taken} ms", self.target.job.label));
        if let Push::Running { worker, .. } = std::mem::replace(&mut self.push, Push::Done(sent)) {
            self.finished.push(worker);
        }
        Ok(())
    }

    /// Whether everything may pass: the client is ready, and the push is done and still valid. If a prompt took longer
    /// than the push window, the key is pushed once more.
    pub(super) fn ready(&mut self) -> Result<bool> {
        let Push::Done(sent) = self.push else { return Ok(false) };
        if self.server.is_none() || !self.client_ready() || !self.host_key_accepted()? {
            return Ok(false);
        }
        // By the worker's answer and not by the record on disk: a full disk must not cause a push at every turn.
        let window = self.target.job.window;
        if self.repeated || clock::now().checked_sub(sent).is_some_and(|age| age < window) {
            return Ok(true);
        }
        self.repeated = true;
        ui::verbose(|| format!("the push window of {} is over: pushing the key again", self.target.job.label));
        self.start_push(None)?;
        Ok(matches!(self.push, Push::Done(_)))
    }
}
