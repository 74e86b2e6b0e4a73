//! The server side of a websocket (RFC 6455): the upgrade and the frames.
//!
//! Frames are built by hand here because tests need invalid and unusual ones, which a library does not send.

use std::io;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::connection::MAX_INPUT;
use super::http::Request;
use crate::aws::base64;

/// RFC 6455, section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The largest frame that a client may send; below [`MAX_INPUT`], so that a whole one always fits.
const MAX_FRAME: usize = MAX_INPUT / 2;

/// The opcodes of RFC 6455, section 5.2.
pub(crate) mod opcode {
    pub(crate) const CONTINUATION: u8 = 0;
    pub(crate) const TEXT: u8 = 1;
    pub(crate) const BINARY: u8 = 2;
    pub(crate) const CLOSE: u8 = 8;
    pub(crate) const PING: u8 = 9;
    pub(crate) const PONG: u8 = 10;
}

/// One frame as the client sent it, unmasked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) last: bool,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

/// A frame of a server: never masked.
pub(crate) fn encode(last: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![u8::from(last) << 7 | opcode];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => frame.push(length),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// A close frame; without a code its payload is empty.
pub(crate) fn close(code: Option<u16>, reason: &str) -> Vec<u8> {
    let payload = code.map(|code| [&code.to_be_bytes(), reason.as_bytes()].concat()).unwrap_or_default();
    encode(true, opcode::CLOSE, &payload)
}

/// Takes one complete frame of a client off the front of `input`.
///
/// # Errors
/// If the frame is unmasked, uses a reserved bit, or is too large.
pub(crate) fn decode(input: &mut Vec<u8>) -> io::Result<Option<Frame>> {
    let [first, second, rest @ ..] = input.as_slice() else { return Ok(None) };
    if second & 0x80 == 0 {
        return Err(io::Error::other("the client sent an unmasked frame"));
    }
    if first & 0x70 != 0 {
        return Err(io::Error::other("the client sent a frame with a reserved bit"));
    }
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if rest.len() < extended + 4 {
        return Ok(None);
    }
    let length = match extended {
        0 => u64::from(second & 0x7f),
        _ => rest[..extended].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
    };
    let length = usize::try_from(length).ok().filter(|length| *length <= MAX_FRAME);
    let length = length.ok_or_else(|| io::Error::other("the client sent a frame that is too large"))?;
    let head = 2 + extended + 4;
    if input.len() < head + length {
        return Ok(None);
    }
    let (last, opcode) = (first & 0x80 != 0, first & 0x0f);
    let mask: Vec<u8> = input[head - 4..head].to_vec();
    let payload = input[head..head + length].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    input.drain(..head + length);
    Ok(Some(Frame { last, opcode, payload }))
}

/// The response that completes the upgrade, or `None` if the request does not ask for one.
pub(crate) fn upgrade(request: &Request) -> Option<String> {
    let is = |name: &str, value: &str| {
        let words = request.header(name).unwrap_or_default().split(',');
        words.map(str::trim).any(|word| word.eq_ignore_ascii_case(value))
    };
    let key = request.header("sec-websocket-key")?;
    if !is("upgrade", "websocket") || !is("connection", "upgrade") || !is("sec-websocket-version", "13") {
        return None;
    }
    let accept = base64(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes()).as_ref());
    Some(format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::{Frame, decode, encode, opcode};

    /// A client's frame: the server's with a mask.
    fn masked(payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut frame = encode(true, opcode::BINARY, payload);
        frame[1] |= 0x80;
        let head = frame.len() - payload.len();
        frame[head..].iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        frame.splice(head..head, mask);
        frame
    }

    #[test]
    fn frames_of_every_length_form_survive_any_split() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0_u8..=255).cycle().take(length).collect();
            let whole = masked(&payload);
            for split in [0, 1, 2, 5, whole.len() - 1] {
                let mut input = whole[..split.min(whole.len())].to_vec();
                assert_eq!(decode(&mut input).unwrap(), None, "{length} {split}");
                input.extend_from_slice(&whole[split..]);
                input.push(0x82);
                let expected = Frame { last: true, opcode: opcode::BINARY, payload: payload.clone() };
                assert_eq!(decode(&mut input).unwrap(), Some(expected));
                assert_eq!(input, [0x82], "what follows stays");
            }
        }
    }

    #[test]
    fn an_unmasked_frame_is_refused() {
        assert!(decode(&mut encode(true, opcode::BINARY, b"x")).is_err());
    }
}
