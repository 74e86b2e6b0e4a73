//! Carries one TCP connection of the real ssh over a Session Manager session, with tungstenite as an independent
//! websocket client below the pure layer.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use ssh_eic::aws::client;
use ssh_eic::aws::credentials::Session;
use ssh_eic::aws::session_manager::{self, DataChannel, Target};
use ssh_eic::domain::ids::InstanceId;
use ssh_eic::domain::session_manager::{Action, Channel, End, NoOverflow};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Error as WebSocketError, Message, WebSocket};

type Socket = WebSocket<StreamOwned<ClientConnection, TcpStream>>;

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    End(End),
    /// `StartSession` or `ResumeSession` failed for good.
    Refused(String),
    /// The status of the upgrade's response.
    Upgrade(u16),
}

/// Opens the websocket of a data channel.
fn dial(session: &Session, channel: &DataChannel, ca: &Path) -> Result<Socket, Outcome> {
    let headers = client::run(session_manager::sign_upgrade(session, &channel.stream_url)).expect("signed");
    let mut request = channel.stream_url.as_str().into_client_request().expect("a URL");
    for (name, value) in headers {
        let name: tungstenite::http::HeaderName = name.parse().expect("a header");
        request.headers_mut().insert(name, value.parse().expect("a value"));
    }
    let authority = channel.stream_url.split('/').nth(2).expect("a host").to_owned();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("the authority")).expect("valid");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = authority.split(':').next().expect("a name").to_owned().try_into().expect("a name");
    let tls = ClientConnection::new(Arc::new(config), name).expect("TLS");
    let tcp = TcpStream::connect(authority).expect("the gateway");
    tcp.set_nodelay(true).expect("an option");
    let stream = StreamOwned::new(tls, tcp);
    match tungstenite::client(request, stream) {
        Ok((socket, _)) => {
            let timeout = Some(Duration::from_millis(2));
            socket.get_ref().sock.set_read_timeout(timeout).expect("an option");
            Ok(socket)
        }
        Err(tungstenite::HandshakeError::Failure(WebSocketError::Http(response))) => {
            Err(Outcome::Upgrade(response.status().as_u16()))
        }
        Err(error) => panic!("the upgrade failed: {error}"),
    }
}

/// One run of a session.
pub(super) struct Bridge<'a> {
    pub(super) session: &'a Session,
    pub(super) id: &'a InstanceId,
    pub(super) ca: &'a Path,
    pub(super) notices: Vec<String>,
}

impl Bridge<'_> {
    /// Starts a session and carries the connection to its end; the session is terminated unless it was closed.
    pub(super) fn run(&mut self, local: &TcpStream) -> Outcome {
        let target = Target { id: self.id, name: "web" };
        let started =
            client::run(async { Ok(session_manager::start(self.session, target, 22).await) }).expect("a runtime");
        let channel = match started {
            Ok(channel) => channel,
            Err(failure) => return Outcome::Refused(failure.error.message),
        };
        let outcome = self.carry(local, &channel);
        if !matches!(outcome, Outcome::End(End::Closed(_))) {
            let terminated = async { Ok(session_manager::terminate(self.session, &channel.session_id, "web").await) };
            client::run(terminated).expect("a runtime").expect("terminated");
        }
        outcome
    }

    fn carry(&mut self, mut local: &TcpStream, data_channel: &DataChannel) -> Outcome {
        let begun = Instant::now();
        let mut channel = Channel::new([7; 32], 1_795_568_400_000, Duration::ZERO, Box::new(NoOverflow));
        let mut socket = match dial(self.session, data_channel, self.ca) {
            Ok(socket) => Some(socket),
            Err(outcome) => return outcome,
        };
        local.set_nonblocking(true).expect("an option");
        channel.connected(&data_channel.token_value, begun.elapsed());
        let mut buffer = [0; 16 * 1024];
        loop {
            let now = begun.elapsed();
            assert!(now < Duration::from_mins(2), "the session does not end");
            let room = channel.can_take().min(buffer.len());
            if room > 0 {
                match local.read(&mut buffer[..room]) {
                    Ok(0) => channel.end_input(now),
                    Ok(count) => assert_eq!(channel.send(&buffer[..count]), count),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => channel.end_input(now),
                }
            }
            if !receive(&mut channel, &mut socket, now) {
                socket = None;
                channel.disconnected(now);
            }
            while !channel.output().is_empty() {
                match local.write(channel.output()) {
                    Ok(count) => channel.consume(count, now),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => channel.consume(channel.output().len(), now),
                }
            }
            while let Some(action) = channel.next_action(begun.elapsed()) {
                if let Some(outcome) = self.perform(action, &mut channel, &mut socket, &data_channel.session_id, begun)
                {
                    let _ = local.shutdown(std::net::Shutdown::Both);
                    return outcome;
                }
            }
        }
    }

    fn perform(
        &mut self,
        action: Action,
        channel: &mut Channel,
        socket: &mut Option<Socket>,
        session_id: &str,
        begun: Instant,
    ) -> Option<Outcome> {
        let message = match action {
            Action::SendText(text) => Message::text(text),
            Action::SendBinary(bytes) => Message::binary(bytes),
            Action::Ping => Message::Ping(Vec::new().into()),
            Action::Notice(text) => {
                self.notices.push(text);
                return None;
            }
            Action::Opened => return None,
            Action::End(end) => {
                if let Some(socket) = socket {
                    let _ = socket.close(None);
                    let _ = socket.flush();
                }
                return Some(Outcome::End(end));
            }
            Action::Resume => {
                *socket = None;
                let resumed = async { Ok(session_manager::resume(self.session, session_id, "web").await) };
                return match client::run(resumed).expect("a runtime") {
                    Ok(resumed) => match dial(self.session, &resumed, self.ca) {
                        Ok(opened) => {
                            *socket = Some(opened);
                            channel.connected(&resumed.token_value, begun.elapsed());
                            None
                        }
                        Err(outcome) => Some(outcome),
                    },
                    Err(failure) => Some(Outcome::Refused(failure.error.message)),
                };
            }
        };
        let sent = socket.as_mut().map(|socket| socket.send(message));
        if !matches!(sent, Some(Ok(()))) {
            *socket = None;
            channel.disconnected(begun.elapsed());
        }
        None
    }
}

/// Reads what has arrived; `false`: the connection ended.
fn receive(channel: &mut Channel, socket: &mut Option<Socket>, now: Duration) -> bool {
    let Some(open) = socket else {
        std::thread::sleep(Duration::from_millis(2));
        return true;
    };
    for _ in 0..64 {
        if !channel.wants_input() {
            break;
        }
        match open.read() {
            Ok(Message::Binary(frame)) => channel.receive(&frame, now),
            Ok(Message::Close(_)) => return false,
            Ok(_) => channel.frame_received(now),
            Err(WebSocketError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(_) => return false,
        }
    }
    true
}
