//! Reading one HTTP/1.1 response (RFC 9112) from bytes as they arrive: of an upgrade request or of CONNECT.
//!
//! A response that switches protocols has no body, and the bytes behind its head belong to the new protocol. Any other
//! one is read with its whole body, by `Content-Length`, in chunks or up to the end of the connection.

/// Longest status line and headers, in bytes.
const LONGEST_HEAD: usize = 32 * 1024;
/// As much as is kept of a body, in bytes: an error message is short.
const LONGEST_BODY: usize = 64 * 1024;
/// Most headers of a response.
const HEADERS: usize = 64;

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names as received, with their values.
    pub headers: Vec<(String, String)>,
    /// The body, without the encoding in chunks.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header, its name in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The bytes are not an HTTP response, or one that is longer than any answer to these requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

#[derive(Debug)]
enum Body {
    /// So many bytes are missing.
    Length(usize),
    /// In a chunk of which so many bytes are missing, the line end included.
    Chunk(usize),
    /// At a chunk's size line.
    Size,
    /// In the lines behind the last chunk.
    Trailer,
    /// Up to the end of the connection.
    UntilEnd,
}

/// Reads a response piece by piece.
#[derive(Debug)]
pub struct Reader {
    /// The status of a response that has no body, because the connection changes its protocol.
    switches: fn(u16) -> bool,
    buffer: Vec<u8>,
    response: Option<(Response, Body)>,
}

impl Reader {
    /// Of an upgrade request: 101 switches.
    #[must_use]
    pub fn of_upgrade() -> Self {
        Self { switches: |status| status == 101, buffer: Vec::new(), response: None }
    }

    /// Of CONNECT: any 2xx switches.
    #[must_use]
    pub fn of_connect() -> Self {
        Self { switches: |status| (200..300).contains(&status), buffer: Vec::new(), response: None }
    }

    /// Takes bytes. Some: the response, and the bytes behind it.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<(Response, Vec<u8>)>, Malformed> {
        self.buffer.extend_from_slice(bytes);
        while self.response.is_none() {
            let Some((response, body)) = self.head()? else { return Ok(None) };
            if (self.switches)(response.status) {
                return Ok(Some((response, std::mem::take(&mut self.buffer))));
            }
            // Interim responses (RFC 9110 section 15.2) precede the one that counts.
            if !(100..200).contains(&response.status) {
                self.response = Some((response, body));
            }
        }
        let complete = self.body()?;
        Ok(complete.then(|| self.take()).flatten())
    }

    /// The connection has ended: what there is of a response whose head is complete.
    pub fn end(&mut self) -> Option<Response> {
        self.take().map(|(response, _)| response)
    }

    fn take(&mut self) -> Option<(Response, Vec<u8>)> {
        let (response, _) = self.response.take()?;
        Some((response, std::mem::take(&mut self.buffer)))
    }

    fn head(&mut self) -> Result<Option<(Response, Body)>, Malformed> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut parsed = httparse::Response::new(&mut headers);
        let length = match parsed.parse(&self.buffer) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if self.buffer.len() <= LONGEST_HEAD => return Ok(None),
            Ok(httparse::Status::Partial) | Err(_) => return Err(Malformed),
        };
        let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
        let headers = parsed.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect();
        let response = Response { status: parsed.code.ok_or(Malformed)?, headers, body: Vec::new() };
        self.buffer.drain(..length);
        let body = if response.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
        {
            Body::Size
        } else if let Some(length) = response.header("content-length") {
            Body::Length(length.parse().map_err(|_| Malformed)?)
        } else if matches!(response.status, 204 | 304) {
            Body::Length(0)
        } else {
            Body::UntilEnd
        };
        Ok(Some((response, body)))
    }

    /// Reads on in the body. True: it is complete, or more than is kept.
    fn body(&mut self) -> Result<bool, Malformed> {
        let Some((response, body)) = &mut self.response else { return Ok(false) };
        loop {
            let available = self.buffer.len();
            match body {
                Body::UntilEnd => {
                    response.body.append(&mut self.buffer);
                    return Ok(response.body.len() >= LONGEST_BODY);
                }
                Body::Length(missing) => {
                    let count = available.min(*missing);
                    response.body.extend(self.buffer.drain(..count));
                    *missing -= count;
                    return Ok(*missing == 0 || response.body.len() >= LONGEST_BODY);
                }
                Body::Chunk(missing) => {
                    let count = available.min(*missing);
                    // The last two bytes are the line end behind the chunk.
                    let data = count.min(missing.saturating_sub(2));
                    response.body.extend_from_slice(&self.buffer[..data]);
                    self.buffer.drain(..count);
                    *missing -= count;
                    if response.body.len() >= LONGEST_BODY {
                        return Ok(true);
                    }
                    if *missing > 0 {
                        return Ok(false);
                    }
                    *body = Body::Size;
                }
                Body::Size => match httparse::parse_chunk_size(&self.buffer).map_err(|_| Malformed)? {
                    httparse::Status::Partial if available > LONGEST_HEAD => return Err(Malformed),
                    httparse::Status::Partial => return Ok(false),
                    httparse::Status::Complete((line, size)) => {
                        self.buffer.drain(..line);
                        let size = usize::try_from(size).ok().and_then(|size| size.checked_add(2)).ok_or(Malformed)?;
                        *body = if size == 2 { Body::Trailer } else { Body::Chunk(size) };
                    }
                },
                Body::Trailer => {
                    let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') else {
                        return if available > LONGEST_HEAD { Err(Malformed) } else { Ok(false) };
                    };
                    let line: Vec<u8> = self.buffer.drain(..=end).collect();
                    if line.trim_ascii().is_empty() {
                        return Ok(true);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(mut reader: Reader, stream: &[u8], cuts: &[usize]) -> Result<Option<(Response, Vec<u8>)>, Malformed> {
        let mut rest = stream;
        let mut cuts = cuts.iter().copied();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(cuts.next().unwrap_or(usize::MAX).min(rest.len()));
            if let Some((response, behind)) = reader.read(piece)? {
                return Ok(Some((response, [behind.as_slice(), after].concat())));
            }
            rest = after;
        }
        Ok(reader.end().map(|response| (response, Vec::new())))
    }

    const BODY: &str = r#"{"ErrorCode":"AccessDenied","Message":"no"}"#;

    proptest! {
        #[test]
        fn a_refusal_is_read_whole_in_every_form_and_however_it_is_cut(cuts in prop::collection::vec(1_usize..30, 0..40)) {
            let (a, b) = BODY.split_at(7);
            let forms = [
                format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len()),
                format!(
                    "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n{:x};x=y\r\n{a}\r\n{:x}\r\n{b}\r\n0\r\nX: y\r\n\r\n",
                    a.len(), b.len(),
                ),
                format!("HTTP/1.1 403 Forbidden\r\n\r\n{BODY}"),
                format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 \r\ncontent-length:{}\r\n\r\n{BODY}", BODY.len()),
            ];
            for form in forms {
                let (response, behind) = read(Reader::of_upgrade(), form.as_bytes(), &cuts).unwrap().unwrap();
                prop_assert_eq!(response.status, 403);
                prop_assert_eq!(String::from_utf8(response.body).unwrap(), BODY);
                prop_assert!(behind.is_empty());
            }
        }

        #[test]
        fn bytes_behind_a_switch_are_kept(cuts in prop::collection::vec(1_usize..30, 0..40)) {
            let stream = b"HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: x\r\n\r\n\x82\x01a";
            let (response, behind) = read(Reader::of_upgrade(), stream, &cuts).unwrap().unwrap();
            prop_assert_eq!(response.header("sec-websocket-accept"), Some("x"));
            prop_assert_eq!(behind, b"\x82\x01a");
            let stream = b"HTTP/1.0 200 ok\r\nContent-Length: 7\r\n\r\n\x16\x03";
            prop_assert_eq!(read(Reader::of_connect(), stream, &cuts).unwrap().unwrap().1, b"\x16\x03");
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(stream in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(Reader::of_upgrade(), &stream, &[1, 2, 40]);
            let head = b"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n";
            let _ = read(Reader::of_upgrade(), &[head.as_slice(), &stream].concat(), &[60, 3]);
        }
    }

    #[test]
    fn what_is_not_http_or_never_ends_is_refused() {
        assert_eq!(read(Reader::of_connect(), b"SSH-2.0-OpenSSH\r\n", &[]), Err(Malformed));
        let endless = [b"HTTP/1.1 200 ok\r\nA: ".as_slice(), &vec![b'x'; LONGEST_HEAD]].concat();
        assert_eq!(read(Reader::of_connect(), &endless, &[]), Err(Malformed));
        let long = [b"HTTP/1.1 500 x\r\n\r\n".as_slice(), &vec![b'x'; LONGEST_BODY]].concat();
        assert_eq!(read(Reader::of_upgrade(), &long, &[]).unwrap().unwrap().0.body.len(), LONGEST_BODY);
    }
}
