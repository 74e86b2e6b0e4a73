//! The ephemeral private keys: one an instance, made when absent, never replaced while in use, removed afterwards.
//!
//! Why so: ssh reads the public half before the proxy starts and the private half when it authenticates. A key that
//! changes in between fails the login; one that was absent at first and is made in between works (ssh 9.2). The
//! file's modification time says when it was last made, handed out, pushed or leased, its lock file's time when it was
//! made. Looking and acting happen under the instance's key lock, which is held for moments only. On a file system
//! without locks a key is still never replaced: it is put in its place only if nothing is there, and a key that is
//! removed is moved aside first and looked at once more.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use ssh_key::{Algorithm, HashAlg, PrivateKey};
use zeroize::Zeroizing;

use crate::domain::freshness::{self, milliseconds};
use crate::domain::ids::InstanceId;
use crate::domain::source::KeyType;
use crate::error::{Error, Kind, Result};
use crate::store::files::{self, Lock};
use crate::store::paths::Paths;
use crate::store::trusted;

/// How long to wait for a lock that others hold for moments.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The public half of a key, ready to be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// `ssh-ed25519 AAAA…`, without a comment.
    pub line: String,
    /// `SHA256:…`
    pub fingerprint: String,
}

/// For the hook: a key that is not in use is removed, one in use is in use for longer.
///
/// # Errors
///
/// [`Kind::File`]; the key is then as it was.
pub fn hand_out(paths: &Paths, id: &InstanceId, now: u64) -> Result<()> {
    let path = paths.key(id);
    if !path.exists() {
        return Ok(());
    }
    let lock = lock(&paths.key_lock(id))?;
    let window = window(&lock, now)?;
    match touched(&path)? {
        Some(touched) if freshness::key_in_use(touched, window, now) => touch(&path, now),
        Some(_) => remove_unused(&path, &lock, window, now),
        None => Ok(()),
    }
}

/// For the proxy, or whoever pushes: makes the key if it is absent and puts it in use.
///
/// # Errors
///
/// [`Kind::File`] if it cannot be read or made, naming the path.
pub fn lease(paths: &Paths, id: &InstanceId, key_type: KeyType, now: u64) -> Result<PublicKey> {
    files::make_private_folder(&paths.keys())?;
    let path = paths.key(id);
    let held = lock(&paths.key_lock(id))?;
    match touched(&path)? {
        Some(_) => touch(&path, now)?,
        None => make(&path, key_type, &held, now)?,
    }
    drop(held);
    // In use from here on, so that no process replaces it: it can be read while others have the lock. Sixty at once
    // would wait for each other's arithmetic otherwise.
    if let Some(public) = read(&path)? {
        return Ok(public);
    }
    let held = lock(&paths.key_lock(id))?;
    if read(&path)?.is_none() {
        make(&path, key_type, &held, now)?;
    }
    read(&path)?.ok_or_else(|| Error::new(Kind::File, format!("the key {} is gone again", path.display())))
}

/// The key as it is, without leasing it.
///
/// # Errors
///
/// [`Kind::File`] if it is there and cannot be read.
pub fn present(paths: &Paths, id: &InstanceId) -> Result<Option<PublicKey>> {
    read(&paths.key(id))
}

/// For a running proxy whose own lease is over: removes the key, or returns for how many milliseconds it is still in use.
///
/// # Errors
///
/// [`Kind::File`].
pub fn retire(paths: &Paths, id: &InstanceId, now: u64) -> Result<Option<u64>> {
    let path = paths.key(id);
    if touched(&path)?.is_none() {
        return Ok(None);
    }
    let lock = lock(&paths.key_lock(id))?;
    let window = window(&lock, now)?;
    match touched_until(&path, now)? {
        None => Ok(None),
        Some(touched) if freshness::key_in_use(touched, window, now) => {
            Ok(Some((touched + window).saturating_sub(now).max(1)))
        }
        Some(_) => remove_unused(&path, &lock, window, now).map(|()| None),
    }
}

/// How old a temporary of ours has to be to be a left-over of a process that was killed.
const LEFT_OVER: u64 = 3_600_000;

/// Removes keys that are out of use, the locks and records of instances that are no longer `known`, and temporary files of
/// processes that were killed. Connections that are being made are not disturbed: a lock file is removed only by a process
/// that holds the lock.
///
/// # Errors
///
/// [`Kind::File`] if the folder cannot be read.
pub fn sweep(paths: &Paths, known: &dyn Fn(&InstanceId) -> bool, now: u64) -> Result<()> {
    let folder = paths.keys();
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::file("read", &folder, &error)),
    };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let age = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .map(|time| now.saturating_sub(milliseconds(time)));
        let age = age.unwrap_or(0);
        let id = InstanceId::parse(name.split('.').next().unwrap_or_default());
        match id {
            Some(id) if name == id.as_str() => {
                let _ = remove_if_unused(paths, &id, now);
            }
            Some(id) if !known(&id) && age > LEFT_OVER && !paths.key(&id).exists() => {
                if name.ends_with("lock") {
                    files::remove_lock(&path);
                } else {
                    let _ = fs::remove_file(&path);
                }
            }
            None if name.starts_with(".ssh-eic-") && age > LEFT_OVER => {
                let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes all keys, in use or not, and what is remembered of their pushes; how many keys that were. Logins that are
/// under way at this moment fail.
///
/// # Errors
///
/// [`Kind::File`] for the first one that cannot be removed; the others are.
pub fn forget_all(paths: &Paths) -> Result<usize> {
    let mut forgotten = 0;
    let mut failed = None;
    for entry in fs::read_dir(paths.keys()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(".ssh-eic-") {
            // Of a process that was killed while it made a key, mostly.
            let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
        }
        let Some(id) = InstanceId::parse(name.split('.').next().unwrap_or_default()) else { continue };
        let removed = if name == id.as_str() {
            forgotten += 1;
            lock(&paths.key_lock(&id)).and_then(|_lock| remove(&entry.path()))
        } else if Path::new(&name).extension().is_some_and(|extension| extension == "push") {
            remove(&entry.path())
        } else {
            Ok(())
        };
        failed = failed.or(removed.err());
    }
    failed.map_or(Ok(forgotten), Err)
}

/// Removes a key that is out of use and leaves one in use as it is.
fn remove_if_unused(paths: &Paths, id: &InstanceId, now: u64) -> Result<()> {
    let path = paths.key(id);
    let lock = lock(&paths.key_lock(id))?;
    let window = window(&lock, now)?;
    match touched_until(&path, now)? {
        Some(touched) if !freshness::key_in_use(touched, window, now) => remove_unused(&path, &lock, window, now),
        _ => Ok(()),
    }
}

/// Takes a lock that is held for moments only.
fn lock(path: &Path) -> Result<Lock> {
    files::lock(path, LOCK_TIMEOUT)?.ok_or_else(|| {
        Error::new(Kind::File, format!("another process holds {} and does not go on", path.display()))
            .hint("look for a stopped ssh or ssh-eic (ps -o pid,stat,args), and end it")
    })
}

/// How long the key of that lock stays in use after each use, in milliseconds.
fn window(lock: &Lock, now: u64) -> Result<u64> {
    let made = lock.file.metadata().and_then(|metadata| metadata.modified());
    let made = made.map_err(|error| Error::new(Kind::File, "cannot access the lock of a key").because(error))?;
    Ok(freshness::key_window(milliseconds(made), now))
}

/// As [`touched`]. A time in the future, which a wrong clock leaves behind, becomes `now`: the key would otherwise never
/// be out of use.
fn touched_until(path: &Path, now: u64) -> Result<Option<u64>> {
    match touched(path)? {
        Some(touched) if touched > now => touch(path, now).map(|()| Some(now)),
        touched => Ok(touched),
    }
}

fn touched(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path).and_then(|metadata| metadata.modified()) {
        Ok(time) => Ok(Some(milliseconds(time))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("access", path, &error)),
    }
}

fn touch(path: &Path, now: u64) -> Result<()> {
    let time = UNIX_EPOCH + Duration::from_millis(now);
    File::open(path).and_then(|file| file.set_modified(time)).map_err(|error| Error::file("touch", path, &error))
}

/// Removes a key that was found to be out of use. Without an exclusive lock another process may have made a new one
/// meanwhile: then that one is put back.
fn remove_unused(path: &Path, lock: &Lock, window: u64, now: u64) -> Result<()> {
    if lock.is_exclusive {
        return remove(path);
    }
    let temporary = temporary_folder(path)?;
    let aside = temporary.path().join("key");
    match fs::rename(path, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        moved => moved.map_err(|error| Error::file("remove", path, &error))?,
    }
    if touched(&aside)?.is_some_and(|touched| freshness::key_in_use(touched, window, now)) {
        files::place_new(&aside, path).map_err(|error| Error::file("put back the key", path, &error))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path, &error)),
        _ => Ok(()),
    }
}

/// A file that is no key (cut short by a power failure) is as good as none: ssh could not have read it either.
fn read(path: &Path) -> Result<Option<PublicKey>> {
    // Wiped like the key itself: the memory of a proxy lives as long as its session.
    let Some(bytes) = trusted::read(path)?.map(Zeroizing::new) else { return Ok(None) };
    let Ok(private) = PrivateKey::from_openssh(&bytes) else { return Ok(None) };
    if private.algorithm() == Algorithm::Ed25519 && KeyType::Ed25519.refused().is_some() {
        // Left by another build; ssh could not use it.
        return Ok(None);
    }
    let fingerprint = private.fingerprint(HashAlg::Sha256).to_string();
    let mut public = private.public_key().clone();
    public.set_comment("");
    Ok(public.to_openssh().ok().map(|line| PublicKey { line, fingerprint }))
}

/// Makes a key where there is none, or a file that is no key. If another process has made one meanwhile, that one stays.
fn make(path: &Path, key_type: KeyType, lock: &Lock, now: u64) -> Result<()> {
    let fail = |error: &io::Error| Error::file("make the key", path, error);
    let temporary = temporary_folder(path)?;
    let fresh = temporary.path().join("key");
    match key_type {
        KeyType::Ed25519 => write_ed25519(&fresh)?,
        KeyType::Rsa => run_ssh_keygen(&fresh)?,
    }
    touch(&fresh, now)?;
    if touched(path)?.is_some() && read(path)?.is_none() {
        let aside = temporary.path().join("aside");
        fs::rename(path, &aside).map_err(|e| fail(&e))?;
        if read(&aside)?.is_some() {
            files::place_new(&aside, path).map_err(|e| fail(&e))?;
        }
    }
    if files::place_new(&fresh, path).map_err(|e| fail(&e))? {
        let made = UNIX_EPOCH + Duration::from_millis(now);
        lock.file.set_modified(made).map_err(|e| fail(&e))?;
    }
    Ok(())
}

/// A folder beside `path`, removed with the value.
fn temporary_folder(path: &Path) -> Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix(".ssh-eic-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(path.parent().unwrap_or(Path::new("/")))
        .map_err(|error| Error::file("make a temporary folder for", path, &error))
}

/// In this process: starting ssh-keygen would be most of a key's time.
#[cfg(not(feature = "fips"))]
fn write_ed25519(path: &Path) -> Result<()> {
    use std::io::Write;

    let key = PrivateKey::random(&mut ssh_key::rand_core::OsRng, Algorithm::Ed25519)
        .and_then(|key| key.to_openssh(ssh_key::LineEnding::LF))
        .map_err(|error| Error::new(Kind::Bug, "cannot make an Ed25519 key").because(error))?;
    private_file(path)
        .and_then(|mut file| file.write_all(key.as_bytes()))
        .map_err(|error| Error::file("make the key", path, &error))
}

/// An index of another build may still ask for one.
#[cfg(feature = "fips")]
fn write_ed25519(_: &Path) -> Result<()> {
    let why = KeyType::Ed25519.refused().unwrap_or_default();
    Err(Error::new(Kind::Config, format!("cannot make an Ed25519 key: {why}")).hint("ssh-eic sync"))
}

#[cfg(not(feature = "fips"))]
fn private_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

fn run_ssh_keygen(path: &Path) -> Result<()> {
    // No shell and no prompt: an empty passphrase, a path of our own.
    let output = Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-C", "", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::file("run ssh-keygen for", path, &error))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(Kind::File, "ssh-keygen could not make an RSA key").because(words.trim()))
}

#[cfg(test)]
mod tests {
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
        assert!(
            !fs::read_dir(paths.keys()).unwrap().any(|entry| entry.unwrap().path().is_dir()),
            "left something behind"
        );
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
}
