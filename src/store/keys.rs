//! The ephemeral private keys: one an instance, made when absent, never replaced while in use, removed afterwards.
//!
//! Why so: ssh reads the public half before the proxy starts and the private half when it authenticates. A key that
//! changes in between fails the login; one that was absent at first and is made in between works (ssh 9.2). The
//! file's modification time says when it was last made, handed out, pushed or leased. Looking and acting happen under
//! the instance's key lock, which is held for moments only.

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
use crate::store::files;
use crate::store::paths::Paths;

/// How long to wait for a lock that others hold for moments.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

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
    let _lock = lock(&paths.key_lock(id))?;
    match touched(&path)? {
        Some(touched) if freshness::key_in_use(touched, now) => touch(&path, now),
        Some(_) => remove(&path),
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
        None => make(&path, key_type, now)?,
    }
    drop(held);
    // In use from here on, so that nobody replaces it: it can be read while others have the lock. Sixty at once would
    // wait for each other's arithmetic otherwise.
    if let Some(public) = read(&path)? {
        return Ok(public);
    }
    let _lock = lock(&paths.key_lock(id))?;
    if read(&path)?.is_none() {
        make(&path, key_type, now)?;
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

/// For a living proxy whose own lease is over: removes the key, or says how many milliseconds others still use it.
///
/// # Errors
///
/// [`Kind::File`].
pub fn retire(paths: &Paths, id: &InstanceId, now: u64) -> Result<Option<u64>> {
    let path = paths.key(id);
    let _lock = lock(&paths.key_lock(id))?;
    match touched(&path)? {
        None => Ok(None),
        Some(touched) if freshness::key_in_use(touched, now) => {
            Ok(Some((touched + freshness::KEY_IN_USE).saturating_sub(now).max(1)))
        }
        Some(_) => remove(&path).map(|()| None),
    }
}

/// How old a temporary of ours has to be to be a left-over of a process that was killed.
const LEFT_OVER: u64 = 3_600_000;

/// Removes what nobody will come back for: keys out of use, with the locks and records of instances that are no longer
/// `known`, and temporaries of processes that were killed. A connection in the making is never disturbed.
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
        let age = touched(&path)?.map_or(0, |touched| now.saturating_sub(touched));
        let id = InstanceId::parse(name.split('.').next().unwrap_or_default());
        match id {
            Some(id) if name == id.as_str() => {
                let _ = hand_out_old(paths, &id, now);
            }
            // Locks and records of an instance that is gone, when none of its connections can be in the making.
            Some(id) if !known(&id) && age > LEFT_OVER && !paths.key(&id).exists() => {
                let _ = fs::remove_file(&path);
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
fn hand_out_old(paths: &Paths, id: &InstanceId, now: u64) -> Result<()> {
    let path = paths.key(id);
    let _lock = lock(&paths.key_lock(id))?;
    match touched(&path)? {
        Some(touched) if !freshness::key_in_use(touched, now) => remove(&path),
        _ => Ok(()),
    }
}

/// Takes a lock that is held for moments, in a folder that is nobody else's. On a file system without locks it keeps
/// nobody out.
fn lock(path: &Path) -> Result<Option<File>> {
    if let Some(folder) = path.parent() {
        let metadata = fs::metadata(folder).map_err(|error| Error::file("look at", folder, &error))?;
        files::check_trusted(folder, &metadata)?;
    }
    let file = files::open_lock(path).map_err(|error| Error::file("open", path, &error))?;
    if files::wait_for(&file, LOCK_PATIENCE) {
        return Ok(Some(file));
    }
    Err(Error::new(Kind::File, format!("another process holds {} and does not go on", path.display()))
        .hint("look for a stopped ssh or ssh-eic (ps -o pid,stat,args), and end it"))
}

fn touched(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path).and_then(|metadata| metadata.modified()) {
        Ok(time) => Ok(Some(milliseconds(time))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("look at", path, &error)),
    }
}

fn touch(path: &Path, now: u64) -> Result<()> {
    let time = UNIX_EPOCH + Duration::from_millis(now);
    File::open(path).and_then(|file| file.set_modified(time)).map_err(|error| Error::file("touch", path, &error))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path, &error)),
        _ => Ok(()),
    }
}

/// A file that is no key (cut short by a power failure) is as good as none: ssh could not have read it either.
fn read(path: &Path) -> Result<Option<PublicKey>> {
    // Wiped as the key itself is: the memory of a proxy lives as long as its session.
    let Some(bytes) = files::read(path)?.map(Zeroizing::new) else { return Ok(None) };
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

fn make(path: &Path, key_type: KeyType, now: u64) -> Result<()> {
    let fail = |error: &io::Error| Error::file("make the key", path, error);
    let folder = path.parent().unwrap_or(Path::new("/"));
    let temporary = tempfile::Builder::new()
        .prefix(".ssh-eic-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(folder)
        .map_err(|e| fail(&e))?;
    let fresh = temporary.path().join("key");
    match key_type {
        KeyType::Ed25519 => write_ed25519(&fresh)?,
        KeyType::Rsa => run_ssh_keygen(&fresh)?,
    }
    touch(&fresh, now)?;
    fs::rename(&fresh, path).map_err(|e| fail(&e))
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
    fn a_folder_that_others_can_write_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        files::make_private_folder(&paths.keys()).unwrap();
        fs::set_permissions(paths.keys(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = lease(&paths, &id(), KeyType::default(), 1_000_000).unwrap_err();
        assert!(error.message.contains("can be changed by others"), "{}", error.message);
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
