//! One attempt to reach an address: a TCP connection that never blocks, neither while it comes up nor afterwards.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

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
        let ip = host.parse::<IpAddr>().ok().filter(is_private)?;
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

/// RFC 1918, RFC 6598 (shared address space, which VPCs may use) and RFC 4193.
fn is_private(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || matches!(ip.octets(), [100, 64..=127, ..]),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::is_private;

    #[test]
    fn only_private_networks_are_knocked_at_early() {
        for (text, private) in [
            ("10.0.3.7", true),
            ("172.16.0.1", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("203.0.113.9", false),
            ("127.0.0.1", false),
            ("fd00::7", true),
            ("2001:db8::7", false),
        ] {
            assert_eq!(is_private(&text.parse().unwrap()), private, "{text}");
        }
    }
}
