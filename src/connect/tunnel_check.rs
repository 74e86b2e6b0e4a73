//! Opening a tunnel and closing it again, for a diagnosis: whether the endpoint can be reached and AWS allows the tunnel.
//!
//! The endpoint accepts a tunnel before it has reached sshd, so that this proves nothing about the instance.

use std::time::{Duration, Instant};

use rustix::event::poll;

use crate::connect::relay::until;
use crate::connect::tunnel::{TunnelAnswer, TunnelRequest};
use crate::connect::tunnel_errors;
use crate::connect::worker::{Answer, Program, Request};
use crate::error::{Error, Kind, Result};
use crate::net::{Closed, Stage, State, Tunnel};
use crate::store::paths::Paths;
use crate::store::tunnel_slots::Slots;

/// How long the endpoint may take to answer the close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The result of [`open_and_close`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TunnelCheck {
    /// The endpoint accepted the tunnel.
    Opened,
    /// All tunnels are in use, so that none was opened.
    InUse,
}

/// Opens a tunnel and closes it at once. `timeout` is for AWS, and again for the endpoint.
///
/// # Errors
///
/// As a connection through the endpoint would report it.
pub fn open_and_close(
    paths: &Paths,
    program: &Program,
    request: &TunnelRequest,
    timeout: Duration,
) -> Result<TunnelCheck> {
    let name = request.job.name();
    let tunnel = match program.ask(&Request::Tunnel(Box::new(request.clone())), timeout)? {
        Some(Answer::Tunnel(TunnelAnswer::Prepared(tunnel))) => tunnel,
        Some(Answer::Tunnel(TunnelAnswer::NoEndpoint(error))) => return Err(*error),
        _ => {
            let message = format!("no tunnel to {name} within {} s: AWS did not answer", timeout.as_secs());
            return Err(Error::new(Kind::Unavailable, message).hint("check the network and HTTPS_PROXY"));
        }
    };
    // Held to the end of this function.
    let Some(_slot) = Slots::new(paths, &tunnel.endpoint.id).try_take() else { return Ok(TunnelCheck::InUse) };
    let now = Instant::now();
    let opened = match tunnel.start(timeout, now)? {
        Ok(mut open) => drive(&mut open, now + timeout, |state| *state == State::Open).map(|()| open),
        Err(closed) => Err(closed),
    };
    match opened {
        Ok(mut open) => {
            open.close();
            let _ = drive(&mut open, Instant::now() + CLOSE_TIMEOUT, |_| false);
            Ok(TunnelCheck::Opened)
        }
        Err(closed) if tunnel_errors::is_limit(&closed) => Ok(TunnelCheck::InUse),
        Err(closed) => Err(tunnel_errors::explain(&request.job, &tunnel, request.max_duration, &closed)),
    }
}

/// Advances a tunnel until `is_done`, or until it is closed.
fn drive(tunnel: &mut Tunnel, limit: Instant, is_done: impl Fn(&State) -> bool) -> std::result::Result<(), Closed> {
    loop {
        let now = Instant::now();
        tunnel.advance(now);
        match tunnel.state() {
            state if is_done(state) => return Ok(()),
            State::Closed(closed) => return Err(closed.clone()),
            _ if now >= limit => return Err(Closed::TimedOut(Stage::Open)),
            _ => {}
        }
        let mut fds = Vec::new();
        tunnel.watch(&mut fds);
        let next = tunnel.deadline().map_or(limit, |deadline| deadline.min(limit));
        let _ = poll(&mut fds, Some(&until(next)));
    }
}
