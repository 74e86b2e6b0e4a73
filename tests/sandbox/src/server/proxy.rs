//! The CONNECT proxies: one listener each, plain or TLS, and the bytes between client and target.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags};
use rustls::ServerConfig;

use super::World;
use super::connection::{MAX_INPUT, Socket, serve_all};
use super::http::Request;
use super::network::{BACKLOG, listener};
use crate::aws::base64;
use crate::proxy::{Proxy, ProxyRequest};

/// The suffixes of AWS's names.
const AWS_SUFFIXES: [&str; 4] = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".amazonwebservices.com.cn"];
/// Part of the names of all EC2 Instance Connect Endpoints.
const ENDPOINT_LABEL: &str = ".ec2-instance-connect-endpoint.";

/// Serves a proxy on a free port of 127.0.0.1 and returns its address.
pub(super) fn listen(world: &Arc<World>, proxy: Proxy) -> io::Result<SocketAddr> {
    let config = proxy.tls.then(|| world.tls()).transpose()?.map(|tls| tls.config);
    let listener = listener((Ipv4Addr::LOCALHOST, 0).into(), BACKLOG)?;
    let address = listener.local_addr()?;
    world.lock().proxies.insert(address.port(), (proxy, Vec::new()));
    let world = Arc::clone(world);
    serve_all("proxy", listener, move |stream| serve(&world, address.port(), config.clone(), stream));
    Ok(address)
}

fn serve(world: &World, port: u16, config: Option<Arc<ServerConfig>>, stream: TcpStream) -> io::Result<()> {
    let Some((mut client, request)) = Socket::accept(config, stream)? else { return Ok(()) };
    let proxy = world.lock().proxies.get(&port).map(|(proxy, _)| proxy.clone()).unwrap_or_default();
    let authorization = request.header("proxy-authorization").map(str::to_owned);
    let mut target = Err(refusal(&proxy, &request).unwrap_or_default());
    if target.as_ref().is_err_and(|status| *status == 0) {
        target = connect(world, &request.target).map_err(|_| 502);
    }
    let status = target.as_ref().map_or_else(|status| *status, |_| 200);
    if let Some((_, requests)) = world.lock().proxies.get_mut(&port) {
        requests.push(ProxyRequest { method: request.method, target: request.target, authorization, status });
    }
    let Ok(target) = target else {
        let authenticate = if status == 407 { "Proxy-Authenticate: Basic realm=\"proxy\"\r\n" } else { "" };
        let head = format!("HTTP/1.1 {status} Refused\r\n{authenticate}Content-Length: 0\r\nConnection: close\r\n\r\n");
        client.send_record(head.as_bytes())?;
        client.finish();
        return Ok(());
    };
    client.send_record(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    relay(client, target)
}

/// The status of a refusal, if the request is to be refused.
fn refusal(proxy: &Proxy, request: &Request) -> Option<u16> {
    if request.method != "CONNECT" {
        return Some(405);
    }
    let (user, password) = proxy.password.as_ref().map_or(("", ""), |(user, password)| (user, password));
    let expected = format!("Basic {}", base64(format!("{user}:{password}").as_bytes()));
    if proxy.password.is_some() && request.header("proxy-authorization") != Some(&expected) {
        return Some(407);
    }
    proxy.refuse
}

/// Connects to the target of a CONNECT request, `host:port`.
fn connect(world: &World, target: &str) -> io::Result<TcpStream> {
    let (host, port) = target.rsplit_once(':').ok_or_else(|| io::Error::other("the target has no port"))?;
    let endpoints = world.endpoints_address().filter(|_| host.contains(ENDPOINT_LABEL));
    let aws = world.aws_address().filter(|_| AWS_SUFFIXES.iter().any(|suffix| host.ends_with(suffix)));
    let stream = match endpoints.or(aws) {
        Some(address) => TcpStream::connect(address)?,
        None => TcpStream::connect((host.trim_matches(['[', ']']), port.parse().map_err(io::Error::other)?))?,
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Relays bytes until both sides have ended.
fn relay(mut client: Socket, mut target: TcpStream) -> io::Result<()> {
    client.unblock()?;
    target.set_nonblocking(true)?;
    let (mut client_open, mut target_open) = (true, true);
    let mut chunk = [0; 16 * 1024];
    loop {
        // TLS may have buffered bytes that no poll reports: read before waiting.
        client_open = client_open
            && client.receive().or_else(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => Ok(false),
                _ => Err(error),
            })?;
        while target_open && client.queued() < MAX_INPUT {
            match target.read(&mut chunk) {
                Ok(count) if count > 0 => client.queue(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                _ => target_open = false,
            }
        }
        client.flush()?;
        while !client.input.is_empty() {
            match target.write(&client.input) {
                Ok(count) => drop(client.input.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if !client_open && client.input.is_empty() {
            let _ = target.shutdown(Shutdown::Write);
        }
        if !target_open && !client.wants_write() {
            client.finish();
            return Ok(());
        }
        let flag = |on: bool, flag: PollFlags| if on { flag } else { PollFlags::empty() };
        let mut fds = [
            PollFd::new(
                client.stream(),
                flag(client_open && client.input.len() <= MAX_INPUT, PollFlags::IN)
                    | flag(client.wants_write(), PollFlags::OUT),
            ),
            PollFd::new(
                &target,
                flag(target_open && client.queued() < MAX_INPUT, PollFlags::IN)
                    | flag(!client.input.is_empty(), PollFlags::OUT),
            ),
        ];
        rustix::event::poll(&mut fds, None)?;
    }
}
