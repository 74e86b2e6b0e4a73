//! The EC2 Instance Connect Endpoints: one TLS listener for all of them, the upgrade or the refusal, and the sshd behind.
//!
//! An endpoint reaches an instance from inside its VPC, independent of the instance's [`crate::Network`] towards clients.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::ServerConfig;

use super::connection::{Socket, serve_all};
use super::http::{self, Reply, Request};
use super::network::{BACKLOG, listener};
use super::relay::{self, Relay};
use super::websocket::{close, upgrade};
use super::{World, sshd};
use crate::aws::{self, Accepted};
use crate::options::Form;
use crate::tunnel::{Refusal, Upgrade};

/// The address of every endpoint's name in the namespaces, outside of the generated instances' range.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 255, 255, 1);

/// The reason of the close frame if the instance's sshd does not answer.
const UNREACHABLE: &str = "Unable to connect to target";

/// Serves all endpoints from now on and returns the address.
pub(super) fn listen(world: &Arc<World>, config: Arc<ServerConfig>) -> io::Result<SocketAddr> {
    let address = match world.form {
        Form::Namespaces => (ADDRESS, 443),
        Form::Loopback => (Ipv4Addr::LOCALHOST, 0),
    };
    let listener = listener(address.into(), BACKLOG)?;
    let address = listener.local_addr()?;
    let world = Arc::clone(world);
    serve_all("endpoint", listener, move |stream| serve(&world, Arc::clone(&config), stream));
    Ok(address)
}

fn serve(world: &Arc<World>, config: Arc<ServerConfig>, stream: TcpStream) -> io::Result<()> {
    let Some((mut connection, request)) = Socket::accept(Some(config), stream)? else { return Ok(()) };
    let accepted = match aws::open_tunnel(world, &request) {
        Ok(accepted) => accepted,
        Err(None) => return Ok(()),
        Err(Some(reply)) => return refuse(world, &mut connection, &reply),
    };
    let index = accepted.index;
    let reason = tunnel(world, &mut connection, &request, accepted);
    let closed = reason.as_ref().map_or_else(ToString::to_string, String::clone);
    if let Some(tunnel) = world.lock().tunnels.get_mut(index) {
        tunnel.closed = Some(closed);
    }
    reason.map(drop)
}

fn refuse(world: &World, connection: &mut Socket, reply: &Reply) -> io::Result<()> {
    let delivery = world.lock().switches.tunnels.as_ref().map(|tunnels| tunnels.refusal).unwrap_or_default();
    let mut text = Vec::new();
    http::write(&mut text, reply, aws::now(world))?;
    let middle = text.len() - reply.body.len() / 2;
    match delivery {
        Refusal::Whole => connection.send_record(&text)?,
        Refusal::TwoRecords => {
            connection.send_record(&text[..middle])?;
            connection.send_record(&text[middle..])?;
        }
        Refusal::Chunked => {
            let head = String::from_utf8_lossy(&text[..text.len() - reply.body.len()]).into_owned();
            let length = format!("content-length: {}", reply.body.len());
            let mut chunked = head.replace(&length, "transfer-encoding: chunked").into_bytes();
            let (first, second) = reply.body.split_at(reply.body.len() / 2);
            for chunk in [first, second] {
                write!(chunked, "{:x}\r\n{chunk}\r\n", chunk.len())?;
            }
            connection.send_record(&chunked)?;
            connection.send_record(b"0\r\n\r\n")?;
        }
    }
    connection.finish();
    Ok(())
}

/// Runs one tunnel to its end and returns the reason.
fn tunnel(world: &Arc<World>, connection: &mut Socket, request: &Request, accepted: Accepted) -> io::Result<String> {
    let Some(response) = upgrade(request) else {
        connection.send_record(b"HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
        connection.finish();
        return Ok("not a websocket".into());
    };
    let switches = world.lock().switches.tunnels.clone().unwrap_or_default();
    match switches.upgrade {
        Upgrade::Whole => connection.send_record(response.as_bytes())?,
        Upgrade::Bytewise => response.bytes().try_for_each(|byte| connection.send_record(&[byte]))?,
        // The relay writes it with the first frame.
        Upgrade::WithFirstFrame => {}
        Upgrade::Never => {
            connection.unblock()?;
            return relay::wait_for_the_client(connection).map(|()| "the upgrade was never answered".into());
        }
    }
    let held = if switches.upgrade == Upgrade::WithFirstFrame { response.into_bytes() } else { Vec::new() };
    let Some(instance) = accepted.instance else {
        connection.send_record(&[held, close(Some(1000), UNREACHABLE)].concat())?;
        connection.unblock()?;
        connection.finish();
        return Ok(UNREACHABLE.into());
    };
    let target = sshd::connect(world, instance)?;
    target.set_nonblocking(true)?;
    connection.unblock()?;
    Relay::new(world, connection, target, switches, accepted.index, accepted.max_duration, held).run()
}
