//! Whole sessions against a model of the agent over an adversarial network, and against peers that misbehave.

mod agent;
mod hostile;
mod network;
mod world;

use std::time::Duration;

use proptest::prelude::*;

use self::network::Faults;
use self::world::{Case, World};
use super::{CloseReason, End, Failure, Overflow};

/// The limit of what a session may hold; the program's budget is 2 MiB.
const MOST_HELD: usize = 1200 * 1024;
/// What exceeds the memory of a session.
#[derive(Debug, Default)]
pub(super) struct MemoryOverflow(Vec<u8>);

impl Overflow for MemoryOverflow {
    fn write(&mut self, at: u64, bytes: &[u8]) -> bool {
        let at = usize::try_from(at).expect("small");
        self.0.resize(self.0.len().max(at + bytes.len()), 0);
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        true
    }

    fn read(&mut self, at: u64, bytes: &mut [u8]) -> bool {
        let at = usize::try_from(at).expect("small");
        bytes.copy_from_slice(&self.0[at..at + bytes.len()]);
        true
    }
}

const NO_FAULTS: Faults = Faults { loss: 0, repetition: 0, jitter: 0, latency: 20 };

fn bytes(count: usize, seed: u64) -> Vec<u8> {
    let mut random = network::Random::new(seed);
    (0..count).map(|_| u8::try_from(random.below(256)).expect("a byte")).collect()
}

fn case() -> Case {
    Case {
        faults: NO_FAULTS,
        seed: 42,
        upload: bytes(20_000, 1),
        download: bytes(20_000, 2),
        connect_time: Duration::from_millis(30),
        breaks: Vec::new(),
        failed_resumes: 0,
        server_closes: true,
        reader: usize::MAX,
        window: None,
    }
}

/// A download that SSH's window limits.
fn windowed(download: usize, window: usize) -> Case {
    Case { download: bytes(download, 5), upload: bytes(download / agent::CREDIT, 1), window: Some(window), ..case() }
}

fn check(case: &Case) -> world::Outcome {
    let outcome = World::run(case);
    assert!(outcome.uploaded == case.upload, "upload: {} of {}", outcome.uploaded.len(), case.upload.len());
    assert!(outcome.downloaded == case.download, "download: {}", outcome.downloaded.len());
    assert_eq!(outcome.end, End::Closed(CloseReason::Normal));
    assert!(outcome.most_held < MOST_HELD, "{}", outcome.most_held);
    outcome
}

#[test]
fn a_session_without_faults_is_exact_and_shows_the_customer_message() {
    let outcome = check(&case());
    assert_eq!(outcome.notices, ["welcome"]);
    assert!(outcome.time < Duration::from_secs(2), "{:?}", outcome.time);
    check(&Case { server_closes: false, ..case() });
}

#[test]
fn an_upload_keeps_to_900_messages_a_second() {
    let outcome = check(&Case { upload: bytes(3_000_000, 5), download: bytes(100, 1), ..case() });
    let seconds = outcome.time.as_secs_f64();
    assert!((3.1..4.0).contains(&seconds), "{seconds}");
}

#[test]
fn a_long_download_repairs_its_losses_in_bounded_memory() {
    let faults = Faults { loss: 1, ..NO_FAULTS };
    check(&Case { faults, download: bytes(2_000_000, 5), ..case() });
}

#[test]
fn a_download_recovers_from_the_loss_of_what_was_in_flight_at_a_break() {
    // 60 messages are in flight, which the agent sends again one by one, ten in a second, while it goes on at full rate.
    let faults = Faults { latency: 100, ..NO_FAULTS };
    let case = Case { faults, breaks: vec![Duration::from_secs(3)], ..windowed(8_000_000, 2 << 20) };
    let outcome = check(&case);
    assert!(outcome.time < Duration::from_secs(35), "{:?}", outcome.time);
}

#[test]
fn a_download_under_a_mix_of_faults_keeps_its_rate() {
    let faults = Faults { loss: 1, repetition: 1, jitter: 3, latency: 20 };
    let breaks = vec![Duration::from_secs(3), Duration::from_secs(8)];
    let outcome = check(&Case { faults, breaks, ..windowed(8_000_000, 2 << 20) });
    assert!(outcome.time < Duration::from_mins(2), "{:?}", outcome.time);
}

#[test]
fn a_slow_reader_slows_the_download() {
    let outcome = check(&Case { download: bytes(600_000, 5), reader: 1000, ..case() });
    assert!(outcome.time > Duration::from_secs(3), "{:?}", outcome.time);
}

#[test]
fn an_upload_continues_across_breaks_with_failed_attempts_for_a_minute() {
    let breaks = vec![Duration::from_millis(700), Duration::from_millis(1500)];
    let outcome = check(&Case { upload: bytes(2_000_000, 5), breaks, failed_resumes: 16, ..case() });
    assert!(outcome.time > Duration::from_mins(1), "{:?}", outcome.time);
}

#[test]
fn a_session_that_cannot_be_resumed_ends() {
    let breaks = vec![Duration::from_millis(500)];
    let case = Case { upload: bytes(2_000_000, 5), breaks, failed_resumes: u32::MAX, ..case() };
    let outcome = World::run(&case);
    assert_eq!(outcome.end, End::Failed(Failure::NotResumed));
    assert!((120..125).contains(&outcome.time.as_secs()), "{:?}", outcome.time);
}

#[test]
fn the_first_data_waits_for_the_agent_to_be_connected() {
    // The agent connects within the wait: nothing is refused, so nothing is sent again.
    let quick = check(&Case { upload: bytes(500, 1), download: bytes(500, 1), ..case() });
    assert!(quick.time < Duration::from_millis(400), "{:?}", quick.time);
    check(&Case { connect_time: Duration::from_secs(3), ..case() });
}

prop_compose! {
    fn faults()(loss in 0..25_u64, repetition in 0..30_u64, jitter in 0..400_u64, latency in 0..200_u64) -> Faults {
        Faults { loss, repetition, jitter, latency }
    }
}

prop_compose! {
    fn cases()(
        faults in faults(),
        seed in any::<u64>(),
        sizes in (0..60_000_usize, 1..60_000_usize),
        connect_time in 0..1500_u64,
        first_break in proptest::option::of(1..8000_u64),
        breaks in proptest::collection::vec(2500..8000_u64, 0..3),
        failed_resumes in 0..4_u32,
        server_closes in any::<bool>(),
        reader in 200..5000_usize,
    ) -> Case {
        // Two breaks before the first message would end the session.
        let mut breaks: Vec<u64> = first_break.into_iter().chain(breaks).collect();
        breaks.sort_unstable();
        Case {
            faults,
            seed,
            upload: bytes(sizes.0, seed ^ 1),
            download: bytes(sizes.1, seed ^ 2),
            connect_time: Duration::from_millis(connect_time),
            breaks: breaks.into_iter().map(Duration::from_millis).collect(),
            failed_resumes,
            server_closes,
            reader,
            window: None,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_directions_are_exact_over_an_adversarial_network(case in cases()) {
        let outcome = World::run(&case);
        prop_assert!(outcome.uploaded == case.upload, "upload: {} of {}", outcome.uploaded.len(), case.upload.len());
        prop_assert!(outcome.downloaded == case.download, "download: {}", outcome.downloaded.len());
        prop_assert!(outcome.most_held < MOST_HELD);
        // With heavy losses the flag at the end of stdin or the close may come too late; no byte is affected.
        let is_clean = outcome.end == End::Closed(CloseReason::Normal) || outcome.end == End::InputEnded;
        prop_assert!(is_clean, "{:?}", outcome.end);
    }
}
