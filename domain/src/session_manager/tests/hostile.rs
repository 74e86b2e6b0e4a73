//! Peers that misbehave: arbitrary bytes, floods, an agent that is silent, and the refusals of the handshake.

use std::time::Duration;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::MemoryOverflow;
use super::agent::{REQUEST, closed, frame};
use crate::session_manager::{Action, Channel, CloseReason, End, Failure, Malformed, Message, MessageType, Uuid};

const fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn open() -> Channel {
    let mut channel = Channel::new([1; 32], 1_700_000_000_000, at(0), Box::new(MemoryOverflow::default()));
    channel.connected("the-token", at(0));
    channel
}

fn actions(channel: &mut Channel, now: Duration) -> Vec<Action> {
    std::iter::from_fn(|| channel.next_action(now)).collect()
}

fn output(sequence: i64, payload_type: u32, payload: &[u8]) -> Vec<u8> {
    frame(MessageType::OutputStreamData, sequence, payload_type, payload)
}

fn through_handshake(channel: &mut Channel) {
    channel.receive(&output(0, 5, REQUEST.as_bytes()), at(1));
    channel.receive(&output(1, 7, br#"{"HandshakeTimeToComplete":1,"CustomerMessage":""}"#), at(2));
    assert!(actions(channel, at(2)).contains(&Action::Opened));
    channel.receive(&acknowledge(0), at(3));
}

fn acknowledge(sequence: i64) -> Vec<u8> {
    let content = serde_json::json!({"AcknowledgedMessageSequenceNumber": sequence}).to_string();
    frame(MessageType::Acknowledge, 0, 0, content.as_bytes())
}

fn data(actions: &[Action]) -> Vec<(i64, u32, Vec<u8>)> {
    let frames = actions.iter().filter_map(|action| match action {
        Action::SendBinary(frame) => Some(Message::decode(frame).expect("well-formed")),
        _ => None,
    });
    frames
        .filter(|message| message.message_type == MessageType::InputStreamData)
        .map(|message| (message.sequence, message.payload_type, message.payload.to_vec()))
        .collect()
}

#[test]
fn the_first_message_is_open_data_channel_with_the_same_client_id_after_a_resume() {
    let mut channel = open();
    let Some(Action::SendText(first)) = channel.next_action(at(0)) else { panic!("no text") };
    let value: serde_json::Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!(value["MessageSchemaVersion"], "1.0");
    assert_eq!((&value["TokenValue"], &value["ClientVersion"]), (&"the-token".into(), &"1.2.764.0".into()));
    channel.disconnected(at(10));
    assert_eq!(channel.next_action(at(10)), None);
    assert_eq!(channel.next_deadline(at(10)), Some(at(110)));
    assert_eq!(channel.next_action(at(110)), Some(Action::Resume));
    channel.connected("another", at(120));
    let Some(Action::SendText(second)) = channel.next_action(at(120)) else { panic!("no text") };
    let again: serde_json::Value = serde_json::from_str(&second).expect("JSON");
    assert_eq!((&again["TokenValue"], &again["ClientId"]), (&"another".into(), &value["ClientId"]));
    assert_ne!(again["RequestId"], value["RequestId"]);
    assert_eq!(first.find("TokenValue"), second.find("TokenValue"));
}

#[test]
fn a_refused_token_ends_the_session_at_the_second_close() {
    let mut channel = open();
    actions(&mut channel, at(0));
    channel.disconnected(at(10));
    assert_eq!(channel.next_action(at(110)), Some(Action::Resume));
    // An attempt that fails is no refusal.
    channel.disconnected(at(120));
    assert_eq!(channel.next_action(at(320)), Some(Action::Resume));
    channel.connected("another", at(330));
    actions(&mut channel, at(330));
    channel.disconnected(at(340));
    assert_eq!(actions(&mut channel, at(340)), [Action::End(End::Failed(Failure::Rejected))]);
}

#[test]
fn no_data_before_the_handshake_is_complete_and_the_servers_first_bytes() {
    let mut channel = open();
    assert_eq!(channel.send(b"SSH-2.0-x\r\n"), 11);
    assert_eq!(data(&actions(&mut channel, at(0))), []);
    channel.receive(&output(0, 5, REQUEST.as_bytes()), at(1));
    assert_eq!(data(&actions(&mut channel, at(1))).iter().map(|one| one.1).collect::<Vec<_>>(), [6]);
    channel.receive(&acknowledge(0), at(2));
    channel.receive(&output(1, 7, br#"{"CustomerMessage":""}"#), at(3));
    assert_eq!(data(&actions(&mut channel, at(3))), []);
    assert_eq!(channel.next_deadline(at(4)), Some(at(303)));
    assert_eq!(data(&actions(&mut channel, at(302))), []);
    channel.receive(&output(2, 1, b"SSH-2.0-server\r\n"), at(302));
    assert_eq!(data(&actions(&mut channel, at(302))), [(1, 1, b"SSH-2.0-x\r\n".to_vec())]);
}

#[test]
fn encryption_is_refused_in_the_handshake_and_ends_the_session() {
    let mut channel = open();
    let request = r#"{"RequestedClientActions":[{"ActionType":"KMSEncryption","ActionParameters":{}}]}"#;
    channel.receive(&output(0, 5, request.as_bytes()), at(1));
    let sent = actions(&mut channel, at(1));
    let response = String::from_utf8(data(&sent)[0].2.clone()).expect("text");
    assert!(response.contains(r#""ActionStatus":2"#), "{response}");
    assert!(!sent.iter().any(|action| matches!(action, Action::End(_))), "the response goes first");
    channel.receive(&closed("KMS encryption failed"), at(50));
    let end = Action::End(End::Failed(Failure::EncryptionRequested));
    assert_eq!(actions(&mut channel, at(50)), std::slice::from_ref(&end));

    let mut channel = open();
    channel.receive(&output(0, 5, request.as_bytes()), at(1));
    actions(&mut channel, at(1));
    assert!(actions(&mut channel, at(1001)).contains(&end), "also if nothing comes back");
}

#[test]
fn only_payload_type_1_is_output() {
    let mut channel = open();
    through_handshake(&mut channel);
    for (sequence, payload_type) in [(2, 10), (3, 2), (4, 11), (5, 12), (6, 3), (7, 99), (8, 8)] {
        channel.receive(&output(sequence, payload_type, &[0, 0, 0, 2]), at(5));
    }
    channel.receive(&output(9, 1, b"data"), at(5));
    assert_eq!(channel.output(), b"data");
    assert!(!channel.is_over());
}

#[test]
fn the_reason_of_the_close_follows_the_output() {
    let mut channel = open();
    through_handshake(&mut channel);
    channel.receive(&output(2, 1, b"last"), at(5));
    channel.receive(&closed("Your session timed out due to inactivity and has been terminated."), at(6));
    assert!(!actions(&mut channel, at(6)).iter().any(|action| matches!(action, Action::End(_))));
    channel.consume(4, at(6));
    assert_eq!(channel.next_deadline(at(6)), Some(at(6)));
    assert_eq!(actions(&mut channel, at(6)), [Action::End(End::Closed(CloseReason::IdleTimeout))]);
    assert_eq!(channel.next_deadline(at(6)), None);
}

#[test]
fn a_pause_holds_data_and_not_acknowledgements() {
    let mut channel = open();
    through_handshake(&mut channel);
    actions(&mut channel, at(400));
    // Wrong digests and lengths, as the gateway sends them.
    let mut pause = frame(MessageType::PausePublication, 0, 0, b"x");
    pause[80..112].fill(7);
    channel.receive(&pause, at(401));
    channel.send(b"data");
    channel.receive(&output(2, 1, b"out"), at(401));
    let sent = actions(&mut channel, at(401));
    assert_eq!((sent.len(), data(&sent)), (1, vec![]), "one acknowledgement");
    let mut start = frame(MessageType::StartPublication, 0, 0, b"x");
    start[80..112].fill(7);
    channel.receive(&start, at(500));
    assert_eq!(data(&actions(&mut channel, at(500))), [(1, 1, b"data".to_vec())]);
}

#[test]
fn retransmission_backs_off_and_a_resume_sends_at_once() {
    let mut channel = open();
    through_handshake(&mut channel);
    actions(&mut channel, at(400));
    channel.send(b"data");
    let (mut times, mut now) = (Vec::new(), at(400));
    while now < at(10_000) {
        times.extend(data(&actions(&mut channel, now)).iter().map(|_| now));
        channel.frame_received(now);
        now += at(1);
    }
    assert!((4..8).contains(&times.len()), "{times:?}");
    let gaps: Vec<Duration> = times.windows(2).map(|two| two[1].saturating_sub(two[0])).collect();
    assert!(gaps.is_sorted() && gaps.iter().all(|gap| *gap <= at(4000)), "{gaps:?}");
    channel.disconnected(now);
    assert_eq!(channel.next_action(now + at(100)), Some(Action::Resume));
    channel.connected("t", now + at(200));
    assert_eq!(data(&actions(&mut channel, now + at(200))), [(1, 1, b"data".to_vec())]);
}

#[test]
fn the_end_of_input_sends_the_flag_and_ends_without_an_answer() {
    let mut channel = open();
    through_handshake(&mut channel);
    actions(&mut channel, at(400));
    channel.end_input(at(500));
    assert_eq!(channel.next_deadline(at(500)), Some(at(500)));
    assert_eq!(data(&actions(&mut channel, at(500))), [(1, 10, vec![0, 0, 0, 2])]);
    let end = Action::End(End::InputEnded);
    assert!(!actions(&mut channel, at(1100)).contains(&end));
    assert!(actions(&mut channel, at(1200)).contains(&end));

    let mut early = open();
    actions(&mut early, at(1));
    early.end_input(at(2));
    assert_eq!(actions(&mut early, at(2)), [end]);
}

#[test]
fn a_peer_without_pongs_is_dead_within_90_seconds() {
    let mut channel = open();
    through_handshake(&mut channel);
    let (mut pings, mut now) = (0, at(3));
    loop {
        match channel.next_action(now) {
            Some(Action::Ping) => pings += 1,
            Some(Action::Resume) => break,
            Some(_) => {}
            None => now = channel.next_deadline(now).expect("a deadline").max(now),
        }
    }
    assert_eq!(pings, 2);
    assert!((at(60_000)..at(90_000)).contains(&now), "{now:?}");
}

#[test]
fn an_agent_that_never_acknowledges_is_given_up() {
    let mut channel = open();
    through_handshake(&mut channel);
    channel.send(b"data");
    let mut now = at(400);
    let end = loop {
        channel.frame_received(now);
        match channel.next_action(now) {
            Some(Action::End(end)) => break end,
            Some(_) => {}
            None => now = channel.next_deadline(now).expect("a deadline").max(now),
        }
    };
    assert_eq!(end, End::Failed(Failure::Unacknowledged));
    assert_eq!(now.as_secs(), 300);
}

#[test]
fn malformed_messages_end_the_session_and_unknown_types_do_not() {
    let mut channel = open();
    let mut unknown = output(0, 1, b"x");
    unknown[4..36].fill(b'q');
    channel.receive(&unknown, at(1));
    assert!(!channel.is_over());
    let mut damaged = output(0, 1, b"x");
    damaged[120] ^= 1;
    channel.receive(&damaged, at(1));
    let failure = Failure::Malformed(Malformed::Digest(MessageType::OutputStreamData));
    assert!(failure.to_string().ends_with("the digest of the output_stream_data message does not match"));
    assert_eq!(actions(&mut channel, at(1)).last(), Some(&Action::End(End::Failed(failure))));
    assert_eq!(Message::decode(b"x"), Err(Malformed::Truncated));
    assert_eq!(Message::decode(&[0, 0, 0, 115, 1]), Err(Malformed::HeaderLength(115)));
}

#[test]
fn both_paddings_and_both_header_lengths_are_read() {
    let mut nul = output(3, 1, b"x");
    nul[4 + "output_stream_data".len()..36].fill(0);
    let message = Message::decode(&nul).expect("well-formed");
    assert_eq!(
        (message.message_type, message.sequence, message.payload),
        (MessageType::OutputStreamData, 3, &b"x"[..])
    );
    let short = closed("reason");
    let message = Message::decode(&short).expect("well-formed");
    assert_eq!((message.message_type, message.payload_type), (MessageType::ChannelClosed, 0));
    assert!(message.payload.starts_with(b"{") && message.payload.ends_with(b"}"));
    let long = frame(MessageType::ChannelClosed, 0, 0, b"{}");
    assert_eq!(Message::decode(&long).expect("well-formed").payload, b"{}");
}

#[test]
fn repeated_handshake_requests_end_the_session() {
    let mut channel = open();
    let mut sent = Vec::new();
    for sequence in 0..1000 {
        channel.receive(&output(sequence, 5, REQUEST.as_bytes()), at(1));
        sent.extend(actions(&mut channel, at(1)));
        assert!(channel.held() < 64 * 1024, "{}", channel.held());
    }
    assert_eq!(sent.last(), Some(&Action::End(End::Failed(Failure::RepeatedHandshake))));
    assert_eq!(data(&sent).iter().map(|(_, payload_type, _)| *payload_type).collect::<Vec<_>>(), [6; 4]);
}

#[test]
fn a_flood_that_is_never_read_stays_bounded() {
    let mut channel = open();
    through_handshake(&mut channel);
    let payload = vec![0; 60_000];
    for sequence in (3..150).chain(2..150) {
        channel.receive(&output(sequence, 1, &payload), at(5));
        channel.send(&payload);
        assert!(channel.held() < super::MOST_HELD, "{}", channel.held());
    }
    assert!(!channel.wants_input());
    assert_eq!(channel.can_take(), 0);
}

proptest! {
    #[test]
    fn messages_survive_encoding(
        sequence in any::<i64>(), created in any::<u64>(), flags in any::<u64>(), id in any::<[u8; 16]>(),
        payload_type in any::<u32>(), payload in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        let message_type = MessageType::InputStreamData;
        let message = Message { message_type, created, sequence, flags, id: Uuid(id), payload_type, payload: &payload };
        let frame = message.encode();
        prop_assert_eq!(&frame[64..72], &id[8..]);
        prop_assert_eq!(Message::decode(&frame), Ok(message));
    }

    #[test]
    fn no_bytes_cause_a_panic(
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..8),
        fields in proptest::collection::vec((0..6_usize, any::<i64>(), 0..14_u32, any::<bool>()), 1..40),
    ) {
        for frame in &frames {
            let _ = Message::decode(frame);
            let mut channel = open();
            channel.receive(frame, at(1));
            actions(&mut channel, at(1));
        }
        // Well-formed messages with arbitrary contents reach the layers above the codec.
        let mut channel = open();
        let types = [
            MessageType::OutputStreamData, MessageType::Acknowledge, MessageType::ChannelClosed,
            MessageType::StartPublication, MessageType::PausePublication, MessageType::InputStreamData,
        ];
        for (kind, number, payload_type, is_small) in fields {
            let sequence = if is_small { number.rem_euclid(8) } else { number };
            let content = serde_json::json!({"AcknowledgedMessageSequenceNumber": sequence, "Output": 1}).to_string();
            let payload = if payload_type == 5 { REQUEST.as_bytes() } else { content.as_bytes() };
            let mut one = frame(types[kind], sequence, payload_type, payload);
            one[80..112].copy_from_slice(&Sha256::digest(payload));
            channel.receive(&one, at(1));
            channel.send(b"x");
            actions(&mut channel, at(400));
            prop_assert!(channel.held() < super::MOST_HELD);
        }
    }
}
