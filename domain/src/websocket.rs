//! Websocket framing (RFC 6455), the client's side, without any I/O.
//!
//! The decoder streams: a frame's payload is passed on as it arrives, so that a frame of any length needs no memory.
//! Not here: the upgrade request (`domain::upgrade`), sockets and TLS (`net`).

use std::fmt;

/// Largest header that a client writes: two bytes, eight of length, four of mask.
pub const LONGEST_HEADER: usize = 14;
/// Largest payload of a control frame (section 5.5).
const LONGEST_CONTROL: usize = 125;
/// In place of a short length: 16 or 64 bits of length follow (section 5.2).
const LENGTH_16: u8 = 0x7e;
const LENGTH_64: u8 = 0x7f;
/// Close code of a normal end (section 7.4.1).
pub const NORMAL: u16 = 1000;

/// What a frame is (section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// The rest of a fragmented message.
    Continuation,
    /// A text message.
    Text,
    /// A binary message.
    Binary,
    /// The end, with an optional code and reason.
    Close,
    /// To be answered with the same payload.
    Ping,
    /// The answer to a ping.
    Pong,
}

impl Opcode {
    fn code(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    fn parse(code: u8) -> Option<Self> {
        [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong]
            .into_iter()
            .find(|opcode| opcode.code() == code)
    }

    fn is_control(self) -> bool {
        self.code() >= 8
    }
}

/// How the peer broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// A reserved bit is set, though no extension was agreed.
    ReservedBit,
    /// An opcode that RFC 6455 does not define.
    Opcode(u8),
    /// A frame from the server is masked.
    Masked,
    /// A control frame is fragmented or longer than 125 bytes.
    Control,
    /// A continuation without a message, or a new message inside another.
    Fragmentation,
    /// A payload length with the highest bit set.
    Length,
    /// A text message where only binary ones are allowed.
    Text,
    /// A message is longer than the receiver accepts.
    TooLong,
    /// The payload of a close frame is a single byte.
    Close,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedBit => f.write_str("a reserved bit is set"),
            Self::Opcode(code) => write!(f, "unknown opcode {code}"),
            Self::Masked => f.write_str("a masked frame"),
            Self::Control => f.write_str("a control frame that is fragmented or too long"),
            Self::Fragmentation => f.write_str("fragments out of order"),
            Self::Length => f.write_str("an impossible length"),
            Self::Text => f.write_str("a text message"),
            Self::TooLong => f.write_str("a message that is too long"),
            Self::Close => f.write_str("a close frame of one byte"),
        }
    }
}

/// What the decoder found.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// A part of a message.
    Data {
        /// The message is text.
        text: bool,
        /// The part; empty only if it is the last one.
        bytes: &'b [u8],
        /// The message is complete.
        last: bool,
    },
    /// A ping: answer it with the same payload.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// The peer closes.
    Close {
        /// Its code, if any.
        code: Option<u16>,
        /// Its reason; empty if there is none.
        reason: String,
    },
}

#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    last: bool,
    remaining: u64,
}

/// Reads the frames of a server.
#[derive(Debug, Default)]
pub struct Decoder {
    header: Vec<u8>,
    frame: Option<Frame>,
    /// A message has begun; whether it is text.
    message: Option<bool>,
    control: Vec<u8>,
}

impl Decoder {
    /// The next event in `bytes`, which is advanced past what was read. None: more bytes are needed.
    ///
    /// # Errors
    ///
    /// [`Violation`]; the decoder must not be used again after it.
    pub fn next<'b>(&mut self, bytes: &mut &'b [u8]) -> Result<Option<Event<'b>>, Violation> {
        loop {
            let Some(frame) = &mut self.frame else {
                if self.read_header(bytes)? {
                    continue;
                }
                return Ok(None);
            };
            let here = usize::try_from(frame.remaining).unwrap_or(usize::MAX).min(bytes.len());
            let (part, rest) = bytes.split_at(here);
            *bytes = rest;
            frame.remaining -= here as u64;
            let complete = frame.remaining == 0;
            let (opcode, last) = (frame.opcode, frame.last && complete);
            if complete {
                self.frame = None;
            }
            if opcode.is_control() {
                self.control.extend_from_slice(part);
                if complete {
                    return control(opcode, std::mem::take(&mut self.control)).map(Some);
                }
                return Ok(None);
            }
            if part.is_empty() && !last {
                if complete {
                    continue;
                }
                return Ok(None);
            }
            let text = self.message.unwrap_or(false);
            if last {
                self.message = None;
            }
            return Ok(Some(Event::Data { text, bytes: part, last }));
        }
    }

    /// Reads a frame's header. False: it is not complete.
    fn read_header(&mut self, bytes: &mut &[u8]) -> Result<bool, Violation> {
        loop {
            let wanted = match self.header.get(1) {
                None => 2,
                Some(second) => match second & 0x7f {
                    LENGTH_16 => 4,
                    LENGTH_64 => 10,
                    _ => 2,
                },
            };
            if self.header.len() == wanted {
                break;
            }
            let Some((&byte, rest)) = bytes.split_first() else { return Ok(false) };
            self.header.push(byte);
            *bytes = rest;
        }
        let (first, second) = (self.header[0], self.header[1]);
        let length = match self.header.len() {
            2 => u64::from(second & 0x7f),
            _ => self.header[2..].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
        };
        self.header.clear();
        let opcode = Opcode::parse(first & 0x0f).ok_or(Violation::Opcode(first & 0x0f))?;
        let last = first & 0x80 != 0;
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBit);
        }
        if second & 0x80 != 0 {
            return Err(Violation::Masked);
        }
        if length >> 63 != 0 {
            return Err(Violation::Length);
        }
        if opcode.is_control() {
            if !last || length > LONGEST_CONTROL as u64 {
                return Err(Violation::Control);
            }
        } else if (opcode == Opcode::Continuation) != self.message.is_some() {
            return Err(Violation::Fragmentation);
        } else if opcode != Opcode::Continuation {
            self.message = Some(opcode == Opcode::Text);
        }
        self.frame = Some(Frame { opcode, last, remaining: length });
        Ok(true)
    }
}

fn control(opcode: Opcode, payload: Vec<u8>) -> Result<Event<'static>, Violation> {
    Ok(match opcode {
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        _ => match payload.as_slice() {
            [] => Event::Close { code: None, reason: String::new() },
            [_] => return Err(Violation::Close),
            [high, low, reason @ ..] => Event::Close {
                code: Some(u16::from_be_bytes([*high, *low])),
                reason: String::from_utf8_lossy(reason).into_owned(),
            },
        },
    })
}

/// Appends one whole, masked frame to `into`. A client has to mask with fresh random bytes (section 5.3).
pub fn encode(opcode: Opcode, payload: &[u8], mask: [u8; 4], into: &mut Vec<u8>) {
    into.push(0x80 | opcode.code());
    let length = payload.len();
    if let Ok(short) = u8::try_from(length)
        && short < LENGTH_16
    {
        into.push(0x80 | short);
    } else if let Ok(medium) = u16::try_from(length) {
        into.push(0x80 | LENGTH_16);
        into.extend_from_slice(&medium.to_be_bytes());
    } else {
        into.push(0x80 | LENGTH_64);
        into.extend_from_slice(&(length as u64).to_be_bytes());
    }
    into.extend_from_slice(&mask);
    let start = into.len();
    into.extend_from_slice(payload);
    for block in into[start..].chunks_mut(4) {
        for (byte, key) in block.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
}

/// The payload of a close frame, its reason cut to what fits.
#[must_use]
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    let mut end = reason.len().min(LONGEST_CONTROL - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    [code.to_be_bytes().as_slice(), &reason.as_bytes()[..end]].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as a server writes it: not masked.
    fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..=125 => frame.push(u8::try_from(short).unwrap()),
            medium @ 126..=0xffff => {
                frame.push(126);
                frame.extend(u16::try_from(medium).unwrap().to_be_bytes());
            }
            long => {
                frame.push(127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        frame
    }

    #[derive(Debug, Default, PartialEq, Eq)]
    struct Seen {
        data: Vec<u8>,
        messages: usize,
        pings: Vec<Vec<u8>>,
        close: Option<(Option<u16>, String)>,
    }

    fn decode(stream: &[u8], cuts: &[usize]) -> Result<Seen, Violation> {
        let mut decoder = Decoder::default();
        let mut seen = Seen::default();
        let mut rest = stream;
        let mut cuts = cuts.iter().copied().chain(std::iter::repeat(usize::MAX));
        while !rest.is_empty() {
            let (mut piece, after) = rest.split_at(cuts.next().unwrap_or(usize::MAX).min(rest.len()));
            rest = after;
            while let Some(event) = decoder.next(&mut piece)? {
                match event {
                    Event::Data { bytes, last, .. } => {
                        seen.data.extend_from_slice(bytes);
                        seen.messages += usize::from(last);
                    }
                    Event::Ping(payload) => seen.pings.push(payload),
                    Event::Pong(_) => {}
                    Event::Close { code, reason } => seen.close = Some((code, reason)),
                }
            }
            assert!(piece.is_empty(), "bytes left without an event");
        }
        Ok(seen)
    }

    proptest! {
        #[test]
        fn fragments_and_pings_are_read_however_the_bytes_are_cut(
            fragments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..6),
            ping in prop::collection::vec(any::<u8>(), 0..125),
            cuts in prop::collection::vec(1_usize..50, 0..60),
        ) {
            let mut stream = Vec::new();
            let count = fragments.len();
            for (at, fragment) in fragments.iter().enumerate() {
                let opcode = if at == 0 { 2 } else { 0 };
                let last = if at + 1 == count { 0x80 } else { 0 };
                stream.extend(server_frame(last | opcode, fragment));
                stream.extend(server_frame(0x89, &ping));
            }
            stream.extend(server_frame(0x88, b"\x03\xe9bye"));
            let seen = decode(&stream, &cuts).unwrap();
            prop_assert_eq!(seen.data, fragments.concat());
            prop_assert_eq!(seen.messages, 1);
            prop_assert_eq!(seen.pings, vec![ping; count]);
            prop_assert_eq!(seen.close, Some((Some(1001), "bye".to_owned())));
        }

        #[test]
        fn an_encoded_frame_unmasks_to_its_payload(payload in prop::collection::vec(any::<u8>(), 0..70_000), mask: [u8; 4]) {
            let mut frame = Vec::new();
            encode(Opcode::Binary, &payload, mask, &mut frame);
            let header = frame.len() - payload.len();
            prop_assert!(header <= LONGEST_HEADER);
            prop_assert_eq!(frame[0], 0x82);
            prop_assert_eq!(frame[1] & 0x80, 0x80);
            let unmasked: Vec<u8> =
                frame[header..].iter().zip(frame[header - 4..header].iter().cycle()).map(|(a, b)| a ^ b).collect();
            prop_assert_eq!(&unmasked, &payload);
            let mut plain = frame[..header - 4].to_vec();
            plain[1] &= 0x7f;
            plain.extend(unmasked);
            prop_assert_eq!(decode(&plain, &[7]).unwrap().data, payload);
        }

        #[test]
        fn any_bytes_are_decoded_or_refused_without_a_panic(stream in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode(&stream, &[3, 1, 50]);
        }
    }

    #[test]
    fn what_breaks_the_protocol_is_refused() {
        let table = [
            (vec![0xc2, 0], Violation::ReservedBit),
            (vec![0x83, 0], Violation::Opcode(3)),
            (vec![0x82, 0x80, 1, 2, 3, 4], Violation::Masked),
            (vec![0x09, 0], Violation::Control),
            (vec![0x89, 126, 0, 126], Violation::Control),
            (vec![0x80, 0], Violation::Fragmentation),
            (vec![0x02, 0, 0x82, 0], Violation::Fragmentation),
            (vec![0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], Violation::Length),
            (vec![0x88, 1, 3], Violation::Close),
        ];
        for (stream, violation) in table {
            assert_eq!(decode(&stream, &[]), Err(violation), "{stream:02x?}");
        }
    }

    #[test]
    fn a_close_reason_is_cut_on_a_character() {
        let payload = close_payload(NORMAL, &"ü".repeat(100));
        assert_eq!(payload.len(), 2 + 122);
        assert!(std::str::from_utf8(&payload[2..]).is_ok());
    }
}
