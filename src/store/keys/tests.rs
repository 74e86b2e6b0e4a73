use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use super::*;
use crate::store::paths::Environment;

fn paths(dir: &Path) -> Paths {
    Paths::new(&Environment { home: Some(dir.to_owned()), ..Environment::default() }).unwrap()
}

fn id() -> InstanceId {
    InstanceId::parse("i-0abc12de").unwrap()
}

#[test]
fn a_key_is_kept_while_in_use_and_removed_after() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    let first = lease(&paths, &id(), KeyType::default(), KeyEncoding::default(), 1_000_000).unwrap();
    let of_type = if cfg!(feature = "fips") { "ssh-rsa AAAA" } else { "ssh-ed25519 AAAA" };
    assert!(first.line.starts_with(of_type), "{}", first.line);
    assert_eq!(fs::metadata(paths.key(&id())).unwrap().mode() & 0o777, 0o600);
    hand_out(&paths, &id(), KeyEncoding::default(), 1_100_000).unwrap();
    assert_eq!(lease(&paths, &id(), KeyType::default(), KeyEncoding::default(), 1_200_000).unwrap(), first);
    assert_eq!(retire(&paths, &id(), 1_200_001).unwrap(), Some(179_999));
    hand_out(&paths, &id(), KeyEncoding::default(), 1_380_000).unwrap();
    assert!(present(&paths, &id()).unwrap().is_none(), "out of use and still there");
    assert_ne!(lease(&paths, &id(), KeyType::default(), KeyEncoding::default(), 1_380_001).unwrap(), first);
    assert_eq!(retire(&paths, &id(), 1_600_000).unwrap(), None);
    assert!(present(&paths, &id()).unwrap().is_none());
}

#[test]
fn a_lease_never_replaces_a_key_however_old_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    let first = lease(&paths, &id(), KeyType::default(), KeyEncoding::default(), 1_000_000).unwrap();
    assert_eq!(lease(&paths, &id(), KeyType::default(), KeyEncoding::default(), 9_000_000).unwrap(), first);
}

#[test]
fn a_sweep_takes_what_is_out_of_use_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    let now = milliseconds(SystemTime::now());
    let old = InstanceId::parse("i-0abc12df").unwrap();
    lease(&paths, &old, KeyType::default(), KeyEncoding::default(), now - 200_000).unwrap();
    lease(&paths, &id(), KeyType::default(), KeyEncoding::default(), now).unwrap();
    sweep(&paths, &|_| true, now).unwrap();
    assert!(!paths.key(&old).exists() && paths.key(&id()).exists());
    assert!(paths.key_lock(&old).exists(), "a lock is young and may be held");
    sweep(&paths, &|other| other == &id(), now + LEFT_OVER + 1000).unwrap();
    assert!(!paths.key_lock(&old).exists() && paths.key_lock(&id()).exists());
}

#[test]
fn a_sweep_leaves_a_lock_that_another_process_holds() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    files::make_private_folder(&paths.keys()).unwrap();
    let path = paths.key_lock(&id());
    let held = files::lock(&path, Duration::ZERO).unwrap().unwrap();
    let later = milliseconds(SystemTime::now()) + LEFT_OVER + 1000;
    sweep(&paths, &|_| false, later).unwrap();
    assert!(path.exists(), "removed while it is held");
    drop(held);
    sweep(&paths, &|_| false, later).unwrap();
    assert!(!path.exists());
}

#[test]
fn a_lock_that_was_removed_while_another_process_waited_for_it_is_taken_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let held = files::lock(&path, Duration::ZERO).unwrap().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| files::lock(&path, Duration::from_mins(2)).unwrap().unwrap());
        fs::remove_file(&path).unwrap();
        drop(held);
        let taken = waiting.join().unwrap();
        assert!(files::is_still_there(&taken.file, &path), "it holds a file that no other process will lock");
    });
}

#[test]
fn a_key_that_is_used_all_the_time_is_replaced_after_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    let start = 1_000_000;
    let first = lease(&paths, &id(), KeyType::default(), KeyEncoding::default(), start).unwrap();
    let end = start + freshness::KEY_MAX_AGE;
    let mut now = start;
    while now + 170_000 < end {
        now += 170_000;
        hand_out(&paths, &id(), KeyEncoding::default(), now).unwrap();
    }
    assert_eq!(present(&paths, &id()).unwrap().as_ref(), Some(&first), "replaced before its time");
    // A proxy that is connecting renews its lease every minute.
    while now < end + 300_000 {
        now += 60_000;
        lease(&paths, &id(), KeyType::default(), KeyEncoding::default(), now).unwrap();
        hand_out(&paths, &id(), KeyEncoding::default(), now + 30_000).unwrap();
        assert_eq!(present(&paths, &id()).unwrap().as_ref(), Some(&first), "replaced while it is leased");
    }
    now += 30_000 + 170_000;
    hand_out(&paths, &id(), KeyEncoding::default(), now).unwrap();
    assert!(present(&paths, &id()).unwrap().is_none(), "older than a day and handed out");
    let second = lease(&paths, &id(), KeyType::default(), KeyEncoding::default(), now).unwrap();
    assert_ne!(second, first);
    hand_out(&paths, &id(), KeyEncoding::default(), now + 170_000).unwrap();
    assert_eq!(present(&paths, &id()).unwrap(), Some(second), "the new key starts with a new age");
}

#[test]
fn a_key_touched_in_the_future_goes_out_of_use_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    let now = 1_000_000_000;
    lease(&paths, &id(), KeyType::default(), KeyEncoding::default(), now + 900_000_000).unwrap();
    assert!(retire(&paths, &id(), now).unwrap().is_some_and(|left| left <= freshness::KEY_IN_USE), "in use");
    sweep(&paths, &|_| true, now + freshness::KEY_IN_USE).unwrap();
    assert!(present(&paths, &id()).unwrap().is_none(), "never removed");
}

#[test]
fn without_locks_a_key_is_neither_replaced_nor_removed_by_a_late_process() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    let now = 1_000_000;
    let key = lease(&paths, &id(), KeyType::default(), KeyEncoding::default(), now).unwrap();
    let file = trusted::open(&paths.key_lock(&id())).unwrap().unwrap();
    let none = Lock { file, is_exclusive: false };
    // One that looked before the key was there, and one that looked when an older one was there.
    create(&paths.key(&id()), KeyType::default(), KeyEncoding::default(), &none, now).unwrap();
    remove_unused(&paths.key(&id()), &none, freshness::KEY_IN_USE, now).unwrap();
    assert_eq!(present(&paths, &id()).unwrap(), Some(key));
    remove_unused(&paths.key(&id()), &none, freshness::KEY_IN_USE, now + freshness::KEY_IN_USE).unwrap();
    assert!(present(&paths, &id()).unwrap().is_none());
    assert!(!fs::read_dir(paths.keys()).unwrap().any(|entry| entry.unwrap().path().is_dir()), "left something behind");
}

#[test]
fn a_folder_that_others_can_write_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    files::make_private_folder(&paths.keys()).unwrap();
    fs::set_permissions(paths.keys(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = lease(&paths, &id(), KeyType::default(), KeyEncoding::default(), 1_000_000).unwrap_err();
    assert!(error.message.contains("other users can write"), "{}", error.message);
}

#[test]
fn what_is_no_key_counts_as_absent() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    files::make_private_folder(&paths.keys()).unwrap();
    fs::write(paths.key(&id()), "").unwrap();
    assert!(lease(&paths, &id(), KeyType::default(), KeyEncoding::default(), 1_000_000).is_ok());
}

#[test]
fn rsa_keys_come_from_ssh_keygen_without_a_pub_file() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    let key = lease(&paths, &id(), KeyType::Rsa, KeyEncoding::default(), 1_000_000).unwrap();
    assert!(key.line.starts_with("ssh-rsa AAAA"), "{}", key.line);
    let names: Vec<_> = fs::read_dir(paths.keys()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "the key and its lock, nothing else: {names:?}");
}

/// The key file, as ssh would find it.
#[cfg(not(feature = "fips"))]
fn first_line(paths: &Paths) -> String {
    fs::read_to_string(paths.key(&id())).unwrap().lines().next().unwrap().to_owned()
}

#[cfg(not(feature = "fips"))]
const OPENSSH: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
#[cfg(not(feature = "fips"))]
const PKCS8: &str = "-----BEGIN PRIVATE KEY-----";

#[cfg(not(feature = "fips"))]
#[test]
fn a_key_in_use_stays_the_same_key_when_the_client_changes() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    let (old, new) = (KeyEncoding::OpenSsh, KeyEncoding::Pkcs8);
    let first = lease(&paths, &id(), KeyType::Ed25519, old, 1_000_000).unwrap();
    // A newer client reads the key of an older one, and an older one may be about to read it.
    hand_out(&paths, &id(), new, 1_000_100).unwrap();
    assert_eq!(lease(&paths, &id(), KeyType::Ed25519, new, 1_000_200).unwrap(), first);
    assert_eq!(first_line(&paths), OPENSSH);
    // Its own keys are in PKCS#8.
    hand_out(&paths, &id(), new, 2_000_000).unwrap();
    let second = lease(&paths, &id(), KeyType::Ed25519, new, 2_000_000).unwrap();
    assert_ne!(second, first);
    assert_eq!(first_line(&paths), PKCS8);
    assert_eq!(fs::metadata(paths.key(&id())).unwrap().mode() & 0o777, 0o600);
    hand_out(&paths, &id(), new, 2_000_100).unwrap();
    assert_eq!(first_line(&paths), PKCS8);
    // An older client finds the same key in OpenSSH's format, by the hook or by the proxy.
    hand_out(&paths, &id(), old, 2_000_200).unwrap();
    assert_eq!((first_line(&paths).as_str(), present(&paths, &id()).unwrap()), (OPENSSH, Some(second.clone())));
    assert_eq!(retire(&paths, &id(), 2_000_200).unwrap(), Some(freshness::KEY_IN_USE));
    fs::remove_file(paths.key(&id())).unwrap();
    let third = lease(&paths, &id(), KeyType::Ed25519, new, 2_000_300).unwrap();
    assert_eq!(lease(&paths, &id(), KeyType::Ed25519, old, 2_000_400).unwrap(), third);
    assert_eq!(first_line(&paths), OPENSSH);
    let names: Vec<_> = fs::read_dir(paths.keys()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "the key and its lock, nothing else: {names:?}");
}

/// Processes of an older and of a newer client at the same time: each of them can read the key, and it is one key.
#[cfg(not(feature = "fips"))]
#[test]
fn clients_of_both_kinds_share_a_key_under_concurrency() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    for round in 0..20 {
        let _ = fs::remove_file(paths.key(&id()));
        let now = 1_000_000 + round;
        let keys: Vec<(KeyEncoding, PublicKey, String)> = std::thread::scope(|scope| {
            let start = |number: u64| {
                let readable = if number.is_multiple_of(2) { KeyEncoding::OpenSsh } else { KeyEncoding::Pkcs8 };
                let paths = &paths;
                scope.spawn(move || {
                    hand_out(paths, &id(), readable, now).unwrap();
                    let key = lease(paths, &id(), KeyType::Ed25519, readable, now).unwrap();
                    (readable, key, first_line(paths))
                })
            };
            let running: Vec<_> = (0..8).map(start).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (readable, key, line) in &keys {
            assert_eq!(key, &keys[0].1, "round {round}");
            assert!(*readable == KeyEncoding::Pkcs8 || line == OPENSSH, "round {round}: an older client found {line}");
        }
    }
}

#[cfg(not(feature = "fips"))]
#[test]
fn without_locks_every_client_can_read_a_new_key() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    files::make_private_folder(&paths.keys()).unwrap();
    let held = lock(&paths.key_lock(&id())).unwrap();
    let none = Lock { file: held.file.try_clone().unwrap(), is_exclusive: false };
    create(&paths.key(&id()), KeyType::Ed25519, KeyEncoding::Pkcs8, &none, 1_000_000).unwrap();
    assert_eq!(first_line(&paths), OPENSSH);
}

/// Keys of ssh-keygen in each of its formats have the public half that it prints itself.
#[test]
fn private_keys_of_every_format_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let ed25519 = (!cfg!(feature = "fips")).then_some(&["ed25519", "RFC4716"][..]);
    let rsa = [&["rsa", "PEM"][..], &["rsa", "PKCS8"], &["rsa", "RFC4716"]];
    for arguments in rsa.into_iter().chain(ed25519) {
        let path = dir.path().join(arguments.join("-"));
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-N", "", "-C", "a comment", "-b", "2048", "-t", arguments[0], "-m", arguments[1], "-f"]);
        assert!(command.arg(&path).status().unwrap().success(), "{arguments:?}");
        let public = fs::read_to_string(path.with_extension("pub")).unwrap();
        let key = read(&path).unwrap().unwrap_or_else(|| panic!("{arguments:?} is not read"));
        assert_eq!(format!("{} a comment", key.public.line), public.trim(), "{arguments:?}");
        let printed = Command::new("ssh-keygen").arg("-lf").arg(&path).output().unwrap();
        assert!(String::from_utf8_lossy(&printed.stdout).contains(&key.public.fingerprint), "{arguments:?}");
    }
}

/// RFC 8410, section 10.3: the first example, in which only the private key is present. OpenSSL wrote the public half.
#[cfg(not(feature = "fips"))]
#[test]
fn the_example_of_the_rfc_is_read_and_written_unchanged() {
    let text = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                -----END PRIVATE KEY-----\n";
    let key = encoding::decode(text.as_bytes()).unwrap();
    assert_eq!(key.public.line, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBm/RAlphM3+hUG6wWfcO5bIUIaqMLa2ywxcOK1wMWbh");
    let private = key.pkcs8.unwrap();
    assert_eq!(encoding::encode(&private, KeyEncoding::Pkcs8).unwrap().as_str(), text);
    let size = |encoding| encoding::encode(&private, encoding).unwrap().len() as u64;
    assert!(size(KeyEncoding::Pkcs8) < encoding::LARGEST_PKCS8, "{}", size(KeyEncoding::Pkcs8));
    assert!(size(KeyEncoding::OpenSsh) > encoding::LARGEST_PKCS8, "{}", size(KeyEncoding::OpenSsh));
    let again = encoding::decode(encoding::encode(&private, KeyEncoding::OpenSsh).unwrap().as_bytes()).unwrap();
    assert_eq!(again.public, key.public);
}

#[test]
fn truncated_and_foreign_files_are_not_keys() {
    let text = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                -----END PRIVATE KEY-----\n";
    for end in 0..text.len() - 1 {
        assert!(encoding::decode(&text.as_bytes()[..end]).is_none(), "{end} bytes");
    }
    for other in ["", "ssh-ed25519 AAAA", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", "\u{0}"] {
        assert!(encoding::decode(other.as_bytes()).is_none(), "{other:?}");
    }
}
