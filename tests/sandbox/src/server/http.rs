//! A small HTTP/1.1 server: keep-alive, bodies by Content-Length, a thread for each connection, any stream.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::World;
use super::connection::serve_all;
use super::network::{BACKLOG, listener};
use crate::aws;

const MAX_HEADERS: usize = 64;

/// One request, read whole.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A header's value; the case of the name is ignored.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The decoded query.
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        form(self.target.split_once('?').map_or("", |(_, query)| query))
    }

    /// The decoded form in the body.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        form(&String::from_utf8_lossy(&self.body))
    }
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    /// The body goes on after this text until the client closes the connection.
    pub(crate) endless: bool,
}

/// Decodes `application/x-www-form-urlencoded`.
fn form(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decode(k), decode(v))).collect()
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let escaped = || u8::from_str_radix(text.get(i + 1..i + 3)?, 16).ok();
        match bytes[i] {
            b'%' if let Some(byte) = escaped() => {
                decoded.push(byte);
                i += 2;
            }
            b'+' => decoded.push(b' '),
            byte => decoded.push(byte),
        }
        i += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Serves the AWS stand-in on a free port of 127.0.0.1 and returns its URL.
pub(super) fn listen(world: &Arc<World>, tls: Option<Arc<ServerConfig>>) -> io::Result<String> {
    let listener = listener((Ipv4Addr::LOCALHOST, 0).into(), BACKLOG)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let address = listener.local_addr()?;
    world.set_aws_address(address);
    let world = Arc::clone(world);
    serve_all("aws", listener, move |stream| {
        // Clients close connections at any time: no error is worth a message.
        let _ = match &tls {
            None => serve(&world, stream),
            Some(config) => serve_tls(&world, Arc::clone(config), stream),
        };
        Ok(())
    });
    Ok(format!("{scheme}://{address}"))
}

/// The same over TLS, with a `close_notify` at the end: without one a client reports a truncated connection.
fn serve_tls(world: &World, config: Arc<ServerConfig>, stream: TcpStream) -> io::Result<()> {
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    serve(world, &mut stream)?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// Answers the requests of one connection until it ends or is to be dropped.
fn serve(world: &World, mut stream: impl Read + Write) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer)? {
        let Some(reply) = aws::answer(world, &request) else { return Ok(()) };
        write(&mut stream, &reply, aws::now(world))?;
        if request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads one request; what follows it stays in the buffer. `None` at the end of the stream.
pub(super) fn read(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Option<Request>> {
    loop {
        if let Some((mut request, head)) = parse_head(buffer)? {
            let length = request.header("content-length").map_or(Ok(0), str::parse::<usize>);
            let end = head + length.map_err(io::Error::other)?;
            while buffer.len() < end {
                if !fill(stream, buffer)? {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            request.body = buffer[head..end].to_vec();
            buffer.drain(..end);
            return Ok(Some(request));
        }
        if !fill(stream, buffer)? {
            return Ok(None);
        }
    }
}

fn fill(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = [0; 16 * 1024];
    let count = stream.read(&mut chunk)?;
    buffer.extend_from_slice(&chunk[..count]);
    Ok(count > 0)
}

fn parse_head(buffer: &[u8]) -> io::Result<Option<(Request, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = parsed.parse(buffer).map_err(io::Error::other)? else { return Ok(None) };
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let request = Request {
        method: text(parsed.method),
        target: text(parsed.path),
        headers: parsed
            .headers
            .iter()
            .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
            .collect(),
        body: Vec::new(),
    };
    Ok(Some((request, head)))
}

pub(super) fn write(stream: &mut impl Write, reply: &Reply, now: Timestamp) -> io::Result<()> {
    let date = now.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT");
    if reply.endless {
        return write_endless(stream, reply);
    }
    let (status, reason, length) = (reply.status, reason(reply.status), reply.body.len());
    let headers: Vec<String> = reply.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let headers = headers.concat();
    let head = format!("HTTP/1.1 {status} {reason}\r\ndate: {date}\r\n{headers}content-length: {length}\r\n\r\n");
    stream.write_all((head + &reply.body).as_bytes())?;
    stream.flush()
}

/// A chunked body without an end. A client that reads all of it is cut off in the end, for the machine's sake.
fn write_endless(stream: &mut impl Write, reply: &Reply) -> io::Result<()> {
    const CHUNK: usize = 64 * 1024;
    const CHUNKS: usize = 16 * 1024;
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ntransfer-encoding: chunked\r\n\r\n")?;
    write!(stream, "{:x}\r\n{}\r\n", reply.body.len(), reply.body)?;
    let chunk = format!("{CHUNK:x}\r\n{}\r\n", " ".repeat(CHUNK));
    for _ in 0..CHUNKS {
        stream.write_all(chunk.as_bytes())?;
    }
    Err(io::ErrorKind::Other.into())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
