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
    let first = lease(&paths, &id(), KeyType::default(), 1_000_000).unwrap();
    let of_type = if cfg!(feature = "fips") { "ssh-rsa AAAA" } else { "ssh-ed25519 AAAA" };
    assert!(first.line.starts_with(of_type), "{}", first.line);
    assert_eq!(fs::metadata(paths.key(&id())).unwrap().mode() & 0o777, 0o600);
    hand_out(&paths, &id(), 1_100_000).unwrap();
    assert_eq!(lease(&paths, &id(), KeyType::default(), 1_200_000).unwrap(), first);
    assert_eq!(retire(&paths, &id(), 1_200_001).unwrap(), Some(179_999));
    hand_out(&paths, &id(), 1_380_000).unwrap();
    assert!(present(&paths, &id()).unwrap().is_none(), "out of use and still there");
    assert_ne!(lease(&paths, &id(), KeyType::default(), 1_380_001).unwrap(), first);
    assert_eq!(retire(&paths, &id(), 1_600_000).unwrap(), None);
    assert!(present(&paths, &id()).unwrap().is_none());
}

#[test]
fn a_lease_never_replaces_a_key_however_old_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    let first = lease(&paths, &id(), KeyType::default(), 1_000_000).unwrap();
    assert_eq!(lease(&paths, &id(), KeyType::default(), 9_000_000).unwrap(), first);
}

#[test]
fn a_sweep_takes_what_is_out_of_use_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    let now = milliseconds(SystemTime::now());
    let old = InstanceId::parse("i-0abc12df").unwrap();
    lease(&paths, &old, KeyType::default(), now - 200_000).unwrap();
    lease(&paths, &id(), KeyType::default(), now).unwrap();
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
    let first = lease(&paths, &id(), KeyType::default(), start).unwrap();
    let end = start + freshness::KEY_MAX_AGE;
    let mut now = start;
    while now + 170_000 < end {
        now += 170_000;
        hand_out(&paths, &id(), now).unwrap();
    }
    assert_eq!(present(&paths, &id()).unwrap().as_ref(), Some(&first), "replaced before its time");
    // A proxy that is connecting renews its lease every minute.
    while now < end + 300_000 {
        now += 60_000;
        lease(&paths, &id(), KeyType::default(), now).unwrap();
        hand_out(&paths, &id(), now + 30_000).unwrap();
        assert_eq!(present(&paths, &id()).unwrap().as_ref(), Some(&first), "replaced while it is leased");
    }
    now += 30_000 + 170_000;
    hand_out(&paths, &id(), now).unwrap();
    assert!(present(&paths, &id()).unwrap().is_none(), "older than a day and handed out");
    let second = lease(&paths, &id(), KeyType::default(), now).unwrap();
    assert_ne!(second, first);
    hand_out(&paths, &id(), now + 170_000).unwrap();
    assert_eq!(present(&paths, &id()).unwrap(), Some(second), "the new key starts with a new age");
}

#[test]
fn a_key_touched_in_the_future_goes_out_of_use_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    let now = 1_000_000_000;
    lease(&paths, &id(), KeyType::default(), now + 900_000_000).unwrap();
    assert!(retire(&paths, &id(), now).unwrap().is_some_and(|left| left <= freshness::KEY_IN_USE), "in use");
    sweep(&paths, &|_| true, now + freshness::KEY_IN_USE).unwrap();
    assert!(present(&paths, &id()).unwrap().is_none(), "never removed");
}

#[test]
fn without_locks_a_key_is_neither_replaced_nor_removed_by_a_late_process() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    let now = 1_000_000;
    let key = lease(&paths, &id(), KeyType::default(), now).unwrap();
    let file = trusted::open(&paths.key_lock(&id())).unwrap().unwrap();
    let none = Lock { file, is_exclusive: false };
    // One that looked before the key was there, and one that looked when an older one was there.
    make(&paths.key(&id()), KeyType::default(), &none, now).unwrap();
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
    let error = lease(&paths, &id(), KeyType::default(), 1_000_000).unwrap_err();
    assert!(error.message.contains("other users can write"), "{}", error.message);
}

#[test]
fn what_is_no_key_counts_as_absent() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    files::make_private_folder(&paths.keys()).unwrap();
    fs::write(paths.key(&id()), "").unwrap();
    assert!(lease(&paths, &id(), KeyType::default(), 1_000_000).is_ok());
}

#[test]
fn rsa_keys_come_from_ssh_keygen_without_a_pub_file() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    let key = lease(&paths, &id(), KeyType::Rsa, 1_000_000).unwrap();
    assert!(key.line.starts_with("ssh-rsa AAAA"), "{}", key.line);
    let names: Vec<_> = fs::read_dir(paths.keys()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "the key and its lock, nothing else: {names:?}");
}
