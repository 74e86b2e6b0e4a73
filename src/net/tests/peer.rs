//! The server's side of a tunnel, following a script in a thread.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::domain::upgrade::{self, Url};
use crate::net::{Config, Destination, Mode, Stream, Timeouts, Tunnel, config};

pub(super) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(super) const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(50), upgrade: Duration::from_secs(50) };

/// An authority, a server for `localhost`, and a client that trusts it.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Config,
}

impl Tls {
    pub(super) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = CertificateDer::from(made.cert.der().to_vec());
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        Self { server: Arc::new(server), client: config(roots).unwrap() }
    }

    pub(super) fn accept<S: Read + Write>(&self, socket: S) -> Peer<S> {
        Peer { stream: StreamOwned::new(ServerConnection::new(Arc::clone(&self.server)).unwrap(), socket) }
    }
}

/// A server that accepts one connection and follows the script.
pub(super) fn listen<T: Send + 'static>(script: impl FnOnce(TcpStream) -> T + Send + 'static) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || script(listener.accept().unwrap().0));
    (port, thread)
}

pub(super) fn destination(port: u16) -> Destination {
    let url = Url::parse(&format!("wss://localhost:{port}/openTunnel?secret=1")).unwrap();
    Destination { url, proxy: None, addresses: vec![LOOPBACK], headers: Vec::new() }
}

/// A tunnel to a server that follows the script.
pub(super) fn tunnel<T: Send + 'static>(
    mode: Mode,
    script: impl FnOnce(Peer<TcpStream>) -> T + Send + 'static,
) -> (Tunnel, JoinHandle<T>) {
    let tls = Tls::new();
    let server = tls.clone();
    let (port, thread) = listen(move |socket| script(server.accept(socket)));
    let tunnel = Tunnel::start(destination(port), &tls.client, mode, TIMEOUTS, Instant::now()).unwrap();
    (tunnel, thread)
}

pub(super) fn stream<T: Send + 'static>(
    script: impl FnOnce(Peer<TcpStream>) -> T + Send + 'static,
) -> (Stream, JoinHandle<T>) {
    let (tunnel, thread) = tunnel(Mode::Bytes, script);
    (Stream::Tunnel(Box::new(tunnel)), thread)
}

/// The server's end of a TLS connection.
pub(super) struct Peer<S: Read + Write> {
    pub(super) stream: StreamOwned<ServerConnection, S>,
}

impl<S: Read + Write> Peer<S> {
    /// The request, up to its empty line.
    pub(super) fn request(&mut self) -> String {
        read_head(&mut self.stream)
    }

    /// One TLS record.
    pub(super) fn record(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    /// The response that opens the websocket.
    pub(super) fn acceptance(request: &str) -> String {
        let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            upgrade::accept(key)
        )
    }

    pub(super) fn open(mut self) -> Self {
        let request = self.request();
        self.record(Self::acceptance(&request).as_bytes());
        self
    }

    /// A frame as a server sends it.
    pub(super) fn frame(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first, 127];
        frame.extend((payload.len() as u64).to_be_bytes());
        if payload.len() < 126 {
            frame = vec![first, u8::try_from(payload.len()).unwrap()];
        }
        frame.extend_from_slice(payload);
        self.record(&frame);
    }

    /// The next frame of the client, unmasked: its first byte and payload. None: the connection has ended.
    pub(super) fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).ok()?;
        assert_eq!(head[1] & 0x80, 0x80, "a client masks");
        let length = match head[1] & 0x7f {
            126 => {
                let mut long = [0; 2];
                self.stream.read_exact(&mut long).ok()?;
                usize::from(u16::from_be_bytes(long))
            }
            127 => panic!("a frame over 65,535 bytes"),
            short => usize::from(short),
        };
        assert!(length <= 65_000, "a frame of {length} bytes");
        let mut mask = [0; 4];
        self.stream.read_exact(&mut mask).ok()?;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).ok()?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        Some((head[0], payload))
    }

    /// So many bytes of binary frames.
    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut received = Vec::new();
        while received.len() < count {
            let (first, payload) = self.next().expect("a frame");
            assert_eq!(first, 0x82);
            received.extend(payload);
        }
        received
    }
}

pub(super) fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a request");
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}
