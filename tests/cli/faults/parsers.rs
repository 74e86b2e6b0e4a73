//! The readers of our own files, with mutations of real files: they never panic, and never wait longer than they may. The
//! readers of what others send are fuzzed (`fuzz/`, `tests/fuzz`).

use std::fs;
use std::path::Path;
use std::time::Duration;

use ssh_eic::domain::fleet::Host;
use ssh_eic::domain::ids::{InstanceId, OsUser};
use ssh_eic::store::config;
use ssh_eic::store::credentials::CacheFile;
use ssh_eic::store::index::{Content, Index};
use ssh_eic::store::paths::{Environment, Paths};
use ssh_eic::store::pushes;

use crate::world::World;

/// Mutations of each file.
const MUTATIONS: usize = 3000;

fn mutated(seed: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(0..=bytes.len());
        match random.u8(0..7) {
            0 if at < bytes.len() => bytes[at] = random.u8(..),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
            2 => bytes.truncate(at),
            3 => {
                let copy = bytes[random.usize(0..=at)..at].to_vec();
                bytes.splice(at..at, copy);
            }
            // Numbers at the edges of their types.
            4 => drop(bytes.splice(at..at, b"18446744073709551615".iter().copied())),
            5 => drop(bytes.splice(at..at, b"-1e308".iter().copied())),
            _ => bytes.insert(at, *random.choice(b"{}[]\",:=\n\t0 ").expect("a byte")),
        }
    }
    bytes
}

/// Calls `read` after each of the mutations has been written to a file.
fn with_mutations(path: &Path, seed: &[u8], mut read: impl FnMut()) {
    let mut random = fastrand::Rng::with_seed(seed.len() as u64);
    for _ in 0..MUTATIONS {
        fs::write(path, mutated(seed, &mut random)).unwrap();
        read();
    }
    fs::write(path, seed).unwrap();
}

#[test]
fn mutations_of_our_own_files_are_read_without_a_panic() {
    let world = World::new();
    world.ssh(&["prod-web-1", "true"]).ok();
    let home = world.home().to_owned();
    let paths = Paths::new(&Environment { home: Some(home.clone()), ..Environment::default() }).unwrap();
    let id = InstanceId::parse(&world.web1).unwrap();
    let user = fs::read_dir(paths.keys()).unwrap().flatten().find_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let user = name.strip_prefix(&format!("{id}."))?.strip_suffix(".push-lock")?.to_owned();
        OsUser::parse(&user)
    });
    let user = user.unwrap_or_else(OsUser::ec2_user);
    let index = fs::read(paths.index()).unwrap();
    with_mutations(&paths.index(), &index, || {
        let Ok(Some(index)) = Index::open(&paths.index()) else { return };
        let _ = index.hosts();
        let _ = index.host("prod-web-1");
        let _ = index.shared("prod-web-1");
        let _ = index.untold(&id);
        let _: Result<Content<Host>, _> = index.content();
    });
    let record = paths.push_stamp(&id, &user);
    let seed = fs::read(&record).unwrap_or_else(|error| panic!("{}: {error}", record.display()));
    with_mutations(&record, &seed, || drop(pushes::last(&paths, &id, &user)));
    let limit = Duration::from_secs(100);
    let now = 1_800_000_000_000;
    let rate = format!("{{\"sent\":[{},{}],\"lowered\":2.5,\"slowed\":{now}}}", now - 500, now - 100);
    with_mutations(&paths.push_rate(), rate.as_bytes(), || {
        let wait = pushes::reserve_slot(&paths, 20.0, now, limit);
        assert!(wait.is_none_or(|wait| wait <= limit));
        pushes::slow_down(&paths, 20.0, now, now);
        pushes::recover(&paths, 20.0);
    });
    let config = world.home().join(".config/ssh-eic/config.toml");
    let mut random = fastrand::Rng::with_seed(7);
    let text = world.read(".config/ssh-eic/config.toml")
        + "\n[defaults]\nalias = \"{Environment}-{Name}\"\nroute = \"jump:x\"\n\n[[host]]\nmatch = \"prod-*\"\nport = 22\n\n[limits]\npush_rate = 20\n";
    for _ in 0..MUTATIONS {
        let text = String::from_utf8_lossy(&mutated(text.as_bytes(), &mut random)).into_owned();
        if let Err(error) = config::parse(&text, &config) {
            assert!(error.message.contains("config.toml"), "{text}\n{}", error.message);
            assert!(!error.message.chars().any(char::is_control), "{text}\n{:?}", error.message);
        }
    }
    let folder = paths.credentials();
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let entry =
        r#"{"access_key":"ASIA","secret_key":"s","session_token":"t","expires":1900000000,"account":"111122223333"}"#;
    let file = CacheFile::new(&folder, "abc");
    with_mutations(&folder.join("abc.json"), entry.as_bytes(), || drop(file.read()));
}
