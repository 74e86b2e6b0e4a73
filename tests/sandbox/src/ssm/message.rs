//! The binary messages of a data channel, field by field.

use ring::digest::{SHA256, digest};

pub(super) const ACKNOWLEDGE: &str = "acknowledge";
pub(super) const CHANNEL_CLOSED: &str = "channel_closed";
pub(super) const INPUT: &str = "input_stream_data";
pub(super) const OUTPUT: &str = "output_stream_data";

/// A message of the client.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) kind: String,
    pub(super) sequence: i64,
    /// The UUID's bytes in the order of the header.
    pub(super) id: [u8; 16],
    pub(super) payload_type: u32,
    pub(super) payload: Vec<u8>,
}

/// Reads a message as strictly as the agent; `Err`: what is wrong with it.
pub(super) fn parse(frame: &[u8]) -> Result<Received, String> {
    if frame.len() < 120 {
        return Err(format!("a message of {} bytes", frame.len()));
    }
    let number =
        |at: usize, count: usize| frame[at..at + count].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let payload = &frame[120..];
    if number(0, 4) != 116 || number(36, 4) != 1 || number(40, 8) == 0 || number(116, 4) != payload.len() as u64 {
        return Err("a header that is wrong".to_owned());
    }
    if digest(&SHA256, payload).as_ref() != &frame[80..112] {
        return Err("a digest that does not match".to_owned());
    }
    let mut id = [0; 16];
    id.copy_from_slice(&frame[64..80]);
    Ok(Received {
        kind: String::from_utf8_lossy(&frame[4..36]).trim_end_matches([' ', '\0']).to_owned(),
        sequence: number(48, 8).cast_signed(),
        id,
        payload_type: u32::try_from(number(112, 4)).unwrap_or_default(),
        payload: payload.to_vec(),
    })
}

/// A message to the client. The gateway pads the type with NULs.
pub(super) fn build(kind: &str, sequence: i64, flags: u64, payload_type: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = 116_u32.to_be_bytes().to_vec();
    frame.extend(kind.bytes().chain(std::iter::repeat(0)).take(32));
    frame.extend(1_u32.to_be_bytes());
    frame.extend(jiff::Timestamp::now().as_millisecond().to_be_bytes());
    frame.extend(sequence.to_be_bytes());
    frame.extend(flags.to_be_bytes());
    // The last eight bytes of the UUID come first.
    frame.extend([0x80, 0, 0, 0, 0, 0, 0, 1]);
    frame.extend(sequence.to_be_bytes());
    frame.extend(digest(&SHA256, payload).as_ref());
    frame.extend(payload_type.to_be_bytes());
    frame.extend(u32::try_from(payload.len()).unwrap_or_default().to_be_bytes());
    frame.extend(payload);
    frame
}

/// The same without a payload type.
pub(super) fn without_payload_type(mut frame: Vec<u8>) -> Vec<u8> {
    frame.drain(112..116);
    frame[..4].copy_from_slice(&112_u32.to_be_bytes());
    frame
}

/// A publication message, whose length and digest the gateway does not fill in correctly.
pub(super) fn publication(kind: &str) -> Vec<u8> {
    let mut frame = build(kind, 0, 3, 0, b"publication");
    frame[80..120].fill(0x55);
    frame
}

/// The text of a UUID in a header.
pub(super) fn uuid_text(header: [u8; 16]) -> String {
    let bytes: Vec<u8> = header[8..].iter().chain(&header[..8]).copied().collect();
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let hex = hex.concat();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
