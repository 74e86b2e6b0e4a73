//! A `ProxyCommand` for the tests: relays stdin and stdout through an EC2 Instance Connect Endpoint.
//!
//! usage: `open_tunnel CA FILE`; FILE contains the presigned URL, which is a secret and must not be an argument.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tungstenite::{Error, Message, WebSocket};

type Client = WebSocket<StreamOwned<ClientConnection, TcpStream>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [ca, file] = args.as_slice() else { return Err("usage: open_tunnel CA FILE".into()) };
    let url = std::fs::read_to_string(file)?;
    relay(connect(ca, url.trim())?)
}

fn connect(ca: &str, url: &str) -> Result<Client, Box<dyn std::error::Error>> {
    let host = url.strip_prefix("wss://").and_then(|rest| rest.split('/').next()).ok_or("not a wss:// URL")?;
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "443"));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned())?)?;
    let stream = StreamOwned::new(tls, TcpStream::connect((name, port.parse()?))?);
    let (client, _) = tungstenite::client(url, stream)?;
    client.get_ref().sock.set_nonblocking(true)?;
    Ok(client)
}

fn relay(mut client: Client) -> Result<(), Box<dyn std::error::Error>> {
    let (stdin, mut stdout) = (io::stdin(), io::stdout());
    let mut chunk = [0; 16 * 1024];
    let (mut input_open, mut pending) = (true, false);
    loop {
        loop {
            match client.read() {
                Ok(Message::Binary(data)) => {
                    stdout.write_all(&data)?;
                    stdout.flush()?;
                }
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(Error::ConnectionClosed) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        let flag = |on: bool, flag: PollFlags| if on { flag } else { PollFlags::empty() };
        let (socket, input) = {
            let mut fds = [
                PollFd::new(&client.get_ref().sock, PollFlags::IN | flag(pending, PollFlags::OUT)),
                PollFd::new(&stdin, flag(input_open && !pending, PollFlags::IN)),
            ];
            poll(&mut fds, None)?;
            (!fds[0].revents().is_empty(), input_open && !pending && !fds[1].revents().is_empty())
        };
        if input {
            match stdin.lock().read(&mut chunk)? {
                0 => {
                    input_open = false;
                    client.close(None).or_else(ignore_blocking)?;
                }
                count => client.write(Message::binary(chunk[..count].to_vec())).or_else(ignore_blocking)?,
            }
        }
        if input || socket {
            pending = match client.flush() {
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => true,
                Ok(()) | Err(Error::ConnectionClosed) => client.get_ref().conn.wants_write(),
                Err(error) => return Err(error.into()),
            };
        }
    }
}

fn ignore_blocking(error: Error) -> Result<(), Error> {
    match error {
        Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        error => Err(error),
    }
}
