//! The part of an SSH connection that is clear text: version lines and packets up to `SSH_MSG_NEWKEYS`.
//!
//! The proxy relays whole packets until a side wants to switch its keys on, and then waits for the push. Keeping to
//! whole packets means that it always stands on a packet boundary, where a `SSH_MSG_DISCONNECT` of ours can be read.
//! RFC 4253: version exchange 4.2, binary packets 6, NEWKEYS 7.3, DISCONNECT 11.1.
//!
//! Not here: reading sockets, or deciding when a side may go on (`connect::opening`).

/// RFC 4253 section 12.
const SSH_MSG_DISCONNECT: u8 = 1;
const SSH_MSG_NEWKEYS: u8 = 21;
/// RFC 4253 section 7: the numbers 30 to 49 belong to the key exchange method.
const KEY_EXCHANGE: std::ops::RangeInclusive<u8> = 30..=49;
/// RFC 4253 section 11.1: `SSH_DISCONNECT_SERVICE_NOT_AVAILABLE`. `OpenSSH`'s client prints the message whatever the
/// reason; npm's ssh2 hides `BY_APPLICATION` (11), and asyncssh has an exception for this one.
const SERVICE_NOT_AVAILABLE: u32 = 7;

/// Longest packet body in bytes; OpenSSH's `PACKET_MAX_SIZE` (packet.h) is the same.
const LONGEST_PACKET: usize = 256 * 1024;
/// Bytes of lines that a server may send before its version line; OpenSSH reads 1024 lines of at most 8 KiB
/// (`kex_exchange_identification`), nobody sends more than a legal notice.
const LONGEST_GREETING: usize = 64 * 1024;
/// ssh prints at most this many bytes of a DISCONNECT's message (packet.c).
pub const LONGEST_MESSAGE: usize = 400;
/// Characters of a server's line that an error message quotes.
const LONGEST_QUOTE: usize = 80;

/// The version line that the proxy speaks when there is no server to speak for itself.
pub const OUR_VERSION: &[u8] = b"SSH-2.0-ssh-eic\r\n";

/// Where one direction of a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The version line has not been complete yet.
    Greeting,
    /// Clear-text packets follow each other.
    Packets,
    /// The next packet is NEWKEYS: it and all that follows has to wait.
    NewKeys,
    /// This is not the SSH that we read (another protocol version, an impossible length): all of it has to wait.
    Opaque,
}

/// One direction of a connection, cut into what may pass at once and what has to wait.
#[derive(Debug)]
pub struct Direction {
    phase: Phase,
    /// Bytes of an incomplete line or packet; after `NewKeys` or `Opaque` everything that is held.
    held: Vec<u8>,
    greeting: usize,
    /// The last complete line before the version line that is not blank.
    last_line: Vec<u8>,
    version_passed: bool,
    key_exchange_seen: bool,
}

impl Default for Direction {
    fn default() -> Self {
        Self::new()
    }
}

impl Direction {
    /// A direction on which nothing has been seen.
    #[must_use]
    pub fn new() -> Self {
        Self {
            phase: Phase::Greeting,
            held: Vec::new(),
            greeting: 0,
            last_line: Vec::new(),
            version_passed: false,
            key_exchange_seen: false,
        }
    }

    /// Where the direction stands after the bytes read so far.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether a version line has passed: the other side then waits for packets.
    #[must_use]
    pub fn version_passed(&self) -> bool {
        self.version_passed
    }

    /// Whether a packet of the key exchange itself has passed. NEWKEYS before one is a protocol error, after which the
    /// other side would wait for a reply that never comes.
    #[must_use]
    pub fn key_exchange_seen(&self) -> bool {
        self.key_exchange_seen
    }

    /// The last line that was sent in place of a version line, or the incomplete one behind it; empty if there is none.
    /// `sshd` sends one line and closes when it refuses a client.
    #[must_use]
    pub fn text_before_version(&self) -> String {
        let is_text = |line: &[u8]| !line.trim_ascii().is_empty();
        let line = match self.phase {
            Phase::Greeting if is_text(&self.held) => &self.held,
            _ => &self.last_line,
        };
        let start = &line.trim_ascii()[..line.trim_ascii().len().min(LONGEST_MESSAGE)];
        one_line(&String::from_utf8_lossy(start)).chars().take(LONGEST_QUOTE).collect()
    }

    /// Takes bytes as they came and returns those that may pass now: whole lines and whole packets.
    ///
    /// After [`Phase::NewKeys`] and [`Phase::Opaque`] nothing passes any more; [`Direction::release`] gives it out.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut passed = 0;
        while let Some(unit) = self.next_unit(passed) {
            passed += unit;
        }
        self.held.drain(..passed).collect()
    }

    /// Ends the reading and gives out everything held back; what follows needs no reading.
    pub fn release(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// The length of the complete line or packet at `start`, if it is there and may pass.
    fn next_unit(&mut self, start: usize) -> Option<usize> {
        match self.phase {
            Phase::Greeting => self.next_line(start),
            Phase::Packets => self.next_packet(start),
            Phase::NewKeys | Phase::Opaque => None,
        }
    }

    fn next_line(&mut self, start: usize) -> Option<usize> {
        let rest = &self.held[start..];
        let Some(end) = rest.iter().position(|&b| b == b'\n') else {
            if self.greeting + rest.len() > LONGEST_GREETING {
                self.phase = Phase::Opaque;
            }
            return None;
        };
        let line = &rest[..=end];
        if line.starts_with(b"SSH-2.0-") || line.starts_with(b"SSH-1.99-") {
            self.phase = Phase::Packets;
            self.version_passed = true;
        } else if line.starts_with(b"SSH-") || self.greeting + line.len() > LONGEST_GREETING {
            self.phase = Phase::Opaque;
            return None;
        } else if !line.trim_ascii().is_empty() {
            self.last_line = line.to_vec();
        }
        self.greeting += line.len();
        Some(line.len())
    }

    fn next_packet(&mut self, start: usize) -> Option<usize> {
        let rest = &self.held[start..];
        let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        // Padding is at least 4 bytes and its length one (RFC 4253 section 6), so a packet has 6 or more.
        if !(6..=LONGEST_PACKET).contains(&length) {
            self.phase = Phase::Opaque;
            return None;
        }
        let packet = rest.get(..4 + length)?;
        if packet[5] == SSH_MSG_NEWKEYS {
            self.phase = Phase::NewKeys;
            return None;
        }
        self.key_exchange_seen |= KEY_EXCHANGE.contains(&packet[5]);
        Some(packet.len())
    }
}

/// A clear-text `SSH_MSG_DISCONNECT` packet saying `message`: one line of printable ASCII, cut to 400 bytes.
///
/// Padded to blocks of 8 bytes as RFC 4253 section 6 asks before keys are on.
#[must_use]
pub fn disconnect(message: &str) -> Vec<u8> {
    let line = one_line(message);
    let mut payload = vec![SSH_MSG_DISCONNECT];
    payload.extend_from_slice(&SERVICE_NOT_AVAILABLE.to_be_bytes());
    payload.extend_from_slice(&wire_length(line.len()));
    payload.extend_from_slice(line.as_bytes());
    payload.extend_from_slice(&0_u32.to_be_bytes());
    let padding = 8 - (5 + payload.len()) % 8;
    let padding = if padding < 4 { padding + 8 } else { padding };
    let mut packet = wire_length(1 + payload.len() + padding).to_vec();
    packet.push(u8::try_from(padding).unwrap_or(u8::MAX));
    packet.extend_from_slice(&payload);
    packet.resize(packet.len() + padding, 0);
    packet
}

/// `message` with control and non-ASCII characters replaced, at most [`LONGEST_MESSAGE`] bytes.
#[must_use]
pub fn one_line(message: &str) -> String {
    let printable = |c: char| match c {
        ' '..='~' => c,
        c if c.is_whitespace() => ' ',
        _ => '?',
    };
    message.chars().map(printable).take(LONGEST_MESSAGE).collect()
}

fn wire_length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The clear-text start of `ssh` 9.2 and `sshd` 9.2 talking to each other, recorded from the wire (curve25519,
    /// ed25519 host key), up to and with each side's first encrypted packet.
    const CLIENT: &[u8] = include_bytes!("testdata/handshake.client");
    const SERVER: &[u8] = include_bytes!("testdata/handshake.server");

    /// Where NEWKEYS starts in the recordings: its 16 bytes are `0000000c 0a 15` and ten of padding.
    fn newkeys(stream: &[u8]) -> usize {
        let mark = [0, 0, 0, 12, 10, SSH_MSG_NEWKEYS];
        stream.windows(mark.len()).position(|w| w == mark).expect("a NEWKEYS packet")
    }

    fn read_in_pieces(stream: &[u8], cuts: &[usize]) -> (Vec<u8>, Vec<u8>, Phase) {
        let mut direction = Direction::new();
        let mut passed = Vec::new();
        let mut at = 0;
        for &cut in cuts {
            let next = (at + cut).min(stream.len());
            passed.extend(direction.read(&stream[at..next]));
            at = next;
        }
        passed.extend(direction.read(&stream[at..]));
        (passed, direction.release(), direction.phase())
    }

    proptest! {
        #[test]
        fn a_recorded_handshake_passes_up_to_newkeys_however_it_is_cut(cuts in prop::collection::vec(1_usize..600, 0..40)) {
            for stream in [CLIENT, SERVER] {
                let (passed, held, phase) = read_in_pieces(stream, &cuts);
                prop_assert_eq!(phase, Phase::NewKeys);
                prop_assert_eq!(passed.len(), newkeys(stream));
                prop_assert_eq!([passed, held].concat(), stream);
            }
        }

        #[test]
        fn no_byte_is_lost_or_invented_whatever_comes(stream in prop::collection::vec(any::<u8>(), 0..4000), cuts in prop::collection::vec(1_usize..300, 0..20)) {
            let (passed, held, _) = read_in_pieces(&stream, &cuts);
            prop_assert_eq!([passed, held].concat(), stream);
        }

        #[test]
        fn a_disconnect_is_one_whole_packet_of_at_most_400_printable_bytes(message in any::<String>()) {
            let packet = disconnect(&message);
            prop_assert_eq!(packet.len() % 8, 0);
            let length = u32::from_be_bytes(packet[..4].try_into().unwrap()) as usize;
            prop_assert_eq!(packet.len(), 4 + length);
            prop_assert!(packet[4] >= 4);
            prop_assert_eq!(&packet[5..10], &[SSH_MSG_DISCONNECT, 0, 0, 0, 7]);
            let text = u32::from_be_bytes(packet[10..14].try_into().unwrap()) as usize;
            prop_assert!(text <= LONGEST_MESSAGE);
            prop_assert!(packet[14..14 + text].iter().all(|b| (b' '..=b'~').contains(b)));
        }
    }

    #[test]
    fn another_protocol_version_is_held_whole() {
        let mut direction = Direction::new();
        assert!(direction.read(b"SSH-1.5-old\r\nmore").is_empty());
        assert_eq!(direction.phase(), Phase::Opaque);
        assert_eq!(direction.release(), b"SSH-1.5-old\r\nmore");
    }

    #[test]
    fn a_hostile_length_is_held_behind_what_was_understood() {
        for length in [0_u32, 5, 0x0004_0001, u32::MAX] {
            let mut direction = Direction::new();
            assert_eq!(direction.read(b"SSH-2.0-x\r\n"), b"SSH-2.0-x\r\n");
            assert!(direction.read(&length.to_be_bytes()).is_empty());
            assert_eq!(direction.phase(), Phase::Opaque, "{length}");
            assert!(direction.read(b"anything").is_empty());
        }
    }

    #[test]
    fn the_line_of_a_server_that_refuses_the_client_is_kept() {
        let table: [(&[u8], &str); 5] = [
            (b"Not allowed at this time\r\n", "Not allowed at this time"),
            (b"Exceeded MaxStartups", "Exceeded MaxStartups"),
            (b"notice\r\nlast \x1b[31m\r\n\r\n", "last ?[31m"),
            (b"", ""),
            (b"SSH-2.0-x\r\n", ""),
        ];
        for (bytes, text) in table {
            let mut direction = Direction::new();
            direction.read(bytes);
            assert_eq!(direction.text_before_version(), text);
        }
        let mut long = Direction::new();
        long.read(&[b'x'; 5000]);
        assert_eq!(long.text_before_version(), "x".repeat(LONGEST_QUOTE));
    }

    #[test]
    fn newkeys_without_a_key_exchange_can_be_told_from_one_after_it() {
        for (stream, seen) in
            [(SERVER, true), (CLIENT, true), (b"SSH-2.0-x\r\n\0\0\0\x0c\x0a\x15\0\0\0\0\0\0\0\0\0\0", false)]
        {
            let mut direction = Direction::new();
            direction.read(stream);
            assert_eq!((direction.phase(), direction.key_exchange_seen()), (Phase::NewKeys, seen));
        }
    }

    #[test]
    fn lines_before_the_version_pass_and_endless_ones_do_not() {
        let mut direction = Direction::new();
        assert_eq!(direction.read(b"Authorised use only\r\nSSH-2.0-x\n"), b"Authorised use only\r\nSSH-2.0-x\n");
        assert_eq!(direction.phase(), Phase::Packets);
        let mut endless = Direction::new();
        assert!(endless.read(&vec![b'x'; LONGEST_GREETING + 1]).is_empty());
        assert_eq!(endless.phase(), Phase::Opaque);
    }
}
