//! A relay over TLS for comparison, as `openssl s_client` is one: the bytes of ssh in TLS records and nothing else. Both
//! ends run inside the sandbox, in processes of this program.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, Stdio};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};

use crate::lab::Site;
use crate::ways::Seen;

/// The first argument of such a process.
pub(crate) const ARGUMENT: &str = "tls-relay";
const NAME: &str = "localhost";
const BLOCK: usize = 64 * 1024;

/// A running server.
#[derive(Debug)]
pub(crate) struct TlsRelay {
    server: Child,
    command: String,
}

impl TlsRelay {
    /// The ProxyCommand that leads through it.
    pub(crate) fn command(&self) -> String {
        self.command.clone()
    }
}

impl Drop for TlsRelay {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Starts a server in front of a host.
pub(crate) fn start(site: &Site, seen: &Seen) -> io::Result<TlsRelay> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).map_err(io::Error::other)?;
    let [certificate, key] = ["relay.pem", "relay.key"].map(|name| site.sandbox.dir().join(name));
    fs::write(&certificate, made.cert.pem())?;
    fs::write(&key, made.signing_key.serialize_pem())?;
    let [certificate, key] = [certificate, key].map(|path| path.display().to_string());
    let program = std::env::current_exe()?;
    let target = format!("{}:{}", seen.address, seen.port);
    let mut server = site
        .sandbox
        .command(&program)
        .args([ARGUMENT, "serve", &certificate, &key, &target])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut port = String::new();
    if let Some(stdout) = server.stdout.take() {
        BufReader::new(stdout).read_line(&mut port)?;
    }
    let command = format!("{} {ARGUMENT} connect {certificate} {}", program.display(), port.trim());
    Ok(TlsRelay { server, command })
}

/// Runs one of the two ends.
///
/// # Errors
/// Of the connection; the end of either side is none.
pub(crate) fn run(args: &[String]) -> io::Result<()> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", certificate, key, target] => {
            let certificate = CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
            let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let config = config.map_err(io::Error::other)?.with_no_client_auth();
            let config = Arc::new(config.with_single_cert(vec![certificate], key).map_err(io::Error::other)?);
            let listener = TcpListener::bind(("127.0.0.1", 0))?;
            println!("{}", listener.local_addr()?.port());
            for stream in listener.incoming() {
                let (stream, config, target) = (stream?, Arc::clone(&config), target.to_owned());
                std::thread::spawn(move || -> io::Result<()> {
                    let host = TcpStream::connect(target)?;
                    host.set_nodelay(true)?;
                    let tls = ServerConnection::new(config).map_err(io::Error::other)?;
                    relay(tls.into(), &stream, &host, &host)
                });
            }
            Ok(())
        }
        ["connect", certificate, port] => {
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?)
                .map_err(io::Error::other)?;
            let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let config = config.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
            let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
            let tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
            let stream = TcpStream::connect(format!("127.0.0.1:{port}"))?;
            relay(tls.into(), &stream, io::stdin(), io::stdout())
        }
        _ => Err(io::Error::other("not a command of the TLS relay")),
    }
}

/// Copies between TLS over a connection and plain descriptors, until one of them ends.
fn relay(mut tls: Connection, mut stream: &TcpStream, input: impl AsFd, output: impl AsFd) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut block = vec![0; BLOCK];
    loop {
        while tls.wants_write() {
            tls.write_tls(&mut stream)?;
        }
        let reads_input = !tls.is_handshaking();
        let mut fds = vec![PollFd::new(stream, PollFlags::IN)];
        if reads_input {
            fds.push(PollFd::new(&input, PollFlags::IN));
        }
        poll(&mut fds, None)?;
        let (on_stream, on_input) =
            (!fds[0].revents().is_empty(), fds.get(1).is_some_and(|fd| !fd.revents().is_empty()));
        drop(fds);
        if on_stream {
            if tls.read_tls(&mut stream)? == 0 {
                return Ok(());
            }
            tls.process_new_packets().map_err(io::Error::other)?;
            loop {
                match tls.reader().read(&mut block) {
                    Ok(0) => return Ok(()),
                    Ok(count) => write_all(output.as_fd(), &block[..count])?,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        if on_input {
            match rustix::io::read(&input, &mut block)? {
                0 => return Ok(()),
                count => tls.writer().write_all(&block[..count])?,
            }
        }
    }
}

fn write_all(output: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        bytes = &bytes[rustix::io::write(output, bytes)?..];
    }
    Ok(())
}
