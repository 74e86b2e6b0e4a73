//! The route over Session Manager: the session as a candidate, and its errors.

use super::{Candidate, Opening};
use crate::connect::session_manager::SessionStream;
use crate::connect::stream_relay::Via;
use crate::domain::source::Route;
use crate::domain::ssh_words::{self, Refusal};
use crate::error::{Error, Kind, Result};
use crate::net::{Closed, Stream};
use crate::sys::{limits, running_time};
use crate::ui;

/// How far the session is.
#[derive(Debug)]
pub(super) enum SessionState {
    NotStarted,
    /// It is one of the candidates.
    Started,
    Failed(Box<Error>),
}

impl SessionState {
    pub(super) fn has_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

/// AWS's code for an instance whose agent is not connected, or which Systems Manager does not manage.
const NOT_CONNECTED: &str = "TargetNotConnected";

impl Opening<'_> {
    /// Starts the session, unless it has been tried.
    pub(super) fn start_session(&mut self) -> Result<()> {
        if !matches!(self.session, SessionState::NotStarted) {
            return Ok(());
        }
        let target = self.target;
        limits::no_core_dumps();
        let stream = SessionStream::start(self.program, &target.job, target.port, running_time::now())?;
        self.session = SessionState::Started;
        self.racing.push(Candidate::new(Via::Session, Stream::Session(Box::new(stream))));
        Ok(())
    }

    /// The session has ended before the server's version line. `line` is what the server sent instead.
    pub(super) fn session_closed(&mut self, closed: &Closed, line: &str) -> Result<()> {
        let name = self.target.job.name();
        let error = match closed {
            Closed::Failed(error) => (**error).clone(),
            _ if line.is_empty() => {
                Error::new(Kind::Unreachable, format!("{name}: sshd closed the connection before it sent a version"))
                    .hint(ssh_words::CLOSED_AT_ONCE)
            }
            _ => {
                let error = Error::new(Kind::Unreachable, format!("{name}: sshd refused the connection: {line:?}"));
                let hint = Refusal::of(line).map_or(ssh_words::CLOSED_AT_ONCE, Refusal::hint);
                error.hint(hint)
            }
        };
        let is_auto = self.target.job.connection.route == Route::Auto;
        let has_others = !self.racing.is_empty() || self.resolving.is_some() || self.retry.is_some();
        // For an instance that cannot be reached AWS may know the cause.
        if !is_auto && !has_others && error.kind != Kind::Unreachable {
            return Err(error);
        }
        ui::verbose(|| error.message.clone());
        // Only AWS's own answer proves that there is no other route: a network that merely blocks it must not lead to a
        // stranger at the private address of a host whose key is not known yet.
        let is_not_connected = error.code.as_deref() == Some(NOT_CONNECTED);
        self.is_direct_only = is_auto && self.lacks_endpoint && is_not_connected;
        if is_auto && !self.dialled && !self.is_direct_only && !self.has_known_host_key() {
            return Err(error);
        }
        self.session = SessionState::Failed(Box::new(error));
        if is_auto && !self.dialled { self.dial_host(None) } else { Ok(()) }
    }

    /// The session's error, if that explains best why there is no connection; `seconds` is the timeout.
    pub(super) fn session_error(&self, seconds: f32) -> Option<Error> {
        let name = self.target.job.name();
        let error = match &self.session {
            SessionState::NotStarted => return None,
            SessionState::Failed(error) => (**error).clone(),
            SessionState::Started => {
                let is_racing = self.racing.iter().any(|candidate| matches!(candidate.via, Via::Session));
                if !is_racing {
                    return None;
                }
                Error::new(Kind::Unreachable, format!("{name}: no response over Session Manager within {seconds} s"))
                    .hint("check that amazon-ssm-agent and sshd run on the instance, or raise connect_timeout in config.toml")
            }
        };
        let error = match &self.tunnel {
            super::TunnelState::Failed(tunnel) => error.hint(format!("through an endpoint: {}", tunnel.message)),
            _ => error,
        };
        let direct = self.address_failure.as_ref().filter(|_| self.target.job.connection.route == Route::Auto);
        Some(match direct {
            Some(failure) => error.hint(format!("directly: {}", failure.message)),
            None => error,
        })
    }
}
