//! One attempt to reach an address: a TCP connection that never blocks, neither while it comes up nor afterwards.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::domain::address;

/// A connection that stands or comes up.
#[derive(Debug)]
pub struct Attempt {
    /// The socket.
    pub stream: TcpStream,
    /// Where to.
    pub address: SocketAddr,
    /// Still coming up.
    pub connecting: bool,
}

impl Attempt {
    /// Begins to connect to an address of a private network: at once, while it is still being found out what the
    /// connection needs. Anywhere else it is not for us to knock before everything is known.
    #[must_use]
    pub fn early(host: &str, port: u16) -> Option<Self> {
        let ip = host.parse::<IpAddr>().ok().filter(|ip| address::is_private(*ip))?;
        Self::start(ip, port).ok()
    }

    /// Begins to connect.
    ///
    /// # Errors
    ///
    /// What the system says at once: no route, no permission.
    pub fn start(ip: IpAddr, port: u16) -> io::Result<Self> {
        let address = SocketAddr::new(ip, port);
        let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::empty(), None)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        let stream = TcpStream::from(socket);
        stream.set_nonblocking(true)?;
        // From the first byte: waiting to fill packets costs a login 40 ms.
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        match rustix::net::connect(&stream, &address) {
            Ok(()) => {}
            Err(error) if error == rustix::io::Errno::INPROGRESS => {
                return Ok(Self { stream, address, connecting: true });
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Self { stream, address, connecting: false })
    }

    /// To be called when the socket has become writable: whether the connection stands.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub fn finish(&mut self) -> io::Result<()> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        self.connecting = false;
        Ok(())
    }
}
