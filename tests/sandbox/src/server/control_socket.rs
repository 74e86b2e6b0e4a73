//! The server's end of the control socket.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use super::{World, host_keys, proxy, sshd};
use crate::control::{Request, Response, SOCKET};

/// Answers requests, each connection in its own thread.
pub(super) fn listen(world: Arc<World>) -> io::Result<()> {
    let path = world.dir.join(SOCKET);
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let world = Arc::clone(&world);
            std::thread::spawn(move || answer_all(&world, &stream));
        }
    });
    Ok(())
}

fn answer_all(world: &Arc<World>, stream: &UnixStream) {
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let response = serde_json::from_str(&line)
            .map_err(io::Error::from)
            .and_then(|request| answer(world, request))
            .unwrap_or_else(|error| Response::Error(error.to_string()));
        let Ok(mut bytes) = serde_json::to_vec(&response) else { return };
        bytes.push(b'\n');
        let mut output: &UnixStream = stream;
        if output.write_all(&bytes).is_err() {
            return;
        }
    }
}

fn answer(world: &Arc<World>, request: Request) -> io::Result<Response> {
    match request {
        Request::Add(instances) => return world.add(instances).map(Response::Ids),
        Request::Update { id, change } => world.update(&id, *change)?,
        Request::Remove(id) => world.remove(&id)?,
        Request::Instances => {
            let all = world.lock().fleet.all().to_vec();
            return Ok(Response::Instances(all.into_iter().map(Arc::unwrap_or_clone).collect()));
        }
        Request::Switches(switches) => {
            let mut state = world.lock();
            for key in switches.throttle.keys() {
                state.counters.forget(key);
            }
            state.switches.merge(*switches);
            drop(state);
            world.write_hosts()?;
        }
        Request::ResetSwitches => {
            let mut state = world.lock();
            state.switches = crate::control::Switches::default();
            state.counters = super::Counters::default();
            drop(state);
            world.write_hosts()?;
        }
        Request::Calls => return Ok(Response::Calls(world.lock().calls.clone())),
        Request::SsmSessions => {
            let state = world.lock();
            return Ok(Response::SsmSessions(state.ssm.all.values().map(|entry| entry.record.clone()).collect()));
        }
        Request::ClearCalls => world.lock().calls.clear(),
        Request::Keys { id, user } => return Ok(Response::Keys(world.keys.of(&id, &user))),
        Request::ExpireKeys => world.keys.expire_all()?,
        Request::Accept { id, user, key, seconds } => {
            let time = Duration::try_from_secs_f64(seconds).map_err(io::Error::other)?;
            world.keys.push(&id, &user, &key, time)?;
        }
        Request::AddCredential(credential) => {
            world.lock().credentials.insert(credential.access_key_id.clone(), credential);
        }
        Request::AddImage(image) => {
            world.lock().images.insert(image.id.clone(), image);
        }
        Request::AddSecurityGroup(group) => {
            world.lock().security_groups.insert(group.id.clone(), group);
        }
        Request::AddEndpoint(endpoint) => {
            world.add_endpoint(endpoint)?;
        }
        Request::SignIn(sign_in) => {
            world.lock().sign_ins.insert(sign_in.access_token.clone(), sign_in);
        }
        Request::Tunnels => return Ok(Response::Tunnels(world.lock().tunnels.clone())),
        Request::AdvanceTunnels(seconds) => world.lock().tunnel_clock += seconds,
        Request::PingTunnels => world.lock().tunnel_pings += 1,
        Request::AddProxy(proxy) => return proxy::listen(world, proxy).map(Response::Address),
        Request::UpdateProxy { port, proxy } => world.lock().proxy(port)?.0 = proxy,
        Request::ProxyRequests(port) => return Ok(Response::ProxyRequests(world.lock().proxy(port)?.1.clone())),
        Request::ClearProxyRequests(port) => world.lock().proxy(port)?.1.clear(),
        Request::HostCa => return host_keys::authority_public_key(world).map(Response::Text),
        Request::Warm => sshd::prepare_all(world)?,
    }
    Ok(Response::Done)
}
