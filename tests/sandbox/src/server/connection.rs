//! A client's connection, with or without TLS: blocking while the HTTP request is read, non-blocking in a poll loop
//! afterwards.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

use super::http::{self, Request};

/// Unread input above which [`Socket::receive`] leaves bytes to TCP's flow control.
pub(crate) const MAX_INPUT: usize = 256 * 1024;

/// Serves each connection in its own thread; `name` is the server's in messages.
pub(crate) fn serve_all(
    name: &'static str,
    listener: TcpListener,
    serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
) {
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || {
                if let Err(error) = stream.set_nodelay(true).and_then(|()| serve(stream)) {
                    eprintln!("{name}: {error}");
                }
            });
        }
    });
}

#[derive(Debug)]
pub(crate) struct Socket {
    tls: Option<ServerConnection>,
    stream: TcpStream,
    pub(crate) input: Vec<u8>,
    output: Vec<u8>,
}

impl Socket {
    /// Completes the TLS handshake, if there is a configuration, and reads the HTTP request; `None` if the client sent
    /// none.
    pub(crate) fn accept(
        config: Option<Arc<ServerConfig>>,
        mut stream: TcpStream,
    ) -> io::Result<Option<(Self, Request)>> {
        let mut tls = config.map(ServerConnection::new).transpose().map_err(io::Error::other)?;
        let mut input = Vec::new();
        let request = match &mut tls {
            Some(tls) => http::read(&mut rustls::Stream::new(tls, &mut stream), &mut input)?,
            None => http::read(&mut stream, &mut input)?,
        };
        Ok(request.map(|request| (Self { tls, stream, input, output: Vec::new() }, request)))
    }

    /// The TCP connection, to be polled.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Makes reading and writing non-blocking.
    pub(crate) fn unblock(&self) -> io::Result<()> {
        self.stream.set_nonblocking(true)
    }

    /// Sends bytes in a TLS record of their own and waits until TCP has taken it.
    pub(crate) fn send_record(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        let Some(tls) = &mut self.tls else { return self.stream.write_all(bytes) };
        tls.writer().write_all(bytes)?;
        while tls.wants_write() {
            tls.write_tls(&mut self.stream)?;
        }
        Ok(())
    }

    /// Queues bytes for [`Socket::flush`].
    pub(crate) fn queue(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Queued bytes that neither TLS nor TCP has taken.
    pub(crate) fn queued(&self) -> usize {
        self.output.len()
    }

    /// Whether there is something to write.
    pub(crate) fn wants_write(&self) -> bool {
        !self.output.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Writes as much as TCP takes.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.wants_write() {
            let written = match &mut self.tls {
                Some(tls) => {
                    let taken = tls.writer().write(&self.output)?;
                    self.output.drain(..taken);
                    tls.write_tls(&mut self.stream).map(drop)
                }
                None => self.stream.write(&self.output).map(|count| drop(self.output.drain(..count))),
            };
            match written {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what has arrived into [`Socket::input`], up to a limit; `false` at the end of the stream.
    pub(crate) fn receive(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 16 * 1024];
        loop {
            if self.tls.is_none() && self.input.len() > MAX_INPUT {
                return Ok(true);
            }
            let read = match &mut self.tls {
                Some(tls) => tls.reader().read(&mut chunk),
                None => self.stream.read(&mut chunk),
            };
            match read {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.input.extend_from_slice(&chunk[..count]);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            let Some(tls) = &mut self.tls else { return Ok(true) };
            if self.input.len() > MAX_INPUT {
                return Ok(true);
            }
            match tls.read_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }

    /// Ends the stream in order; under TLS a client takes a connection without `close_notify` for a cut one.
    pub(crate) fn finish(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        let _ = self.flush();
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}
