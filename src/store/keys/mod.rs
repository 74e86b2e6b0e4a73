//! The ephemeral private keys: one per instance, created when absent, never replaced while in use, removed afterwards.
//!
//! ssh reads the public half before the proxy starts and the private half when it authenticates. A login fails if the key
//! changes in between; it succeeds if the key was absent at first and is created in between (ssh 9.2). The file's
//! modification time is the time of its last use (created, handed out, pushed or leased), its lock file's time is the time
//! of its creation. Every check and change is made under the instance's key lock, which is held for moments only. On a file
//! system without locks a key is still never replaced: it is put in its place only if nothing is there, and a key that is
//! removed is moved aside first and checked once more.
//!
//! An Ed25519 key has one of two encodings (`domain::ssh_client`). If a client cannot read the encoding of a key in use,
//! the file is replaced by the same key in OpenSSH's format. That is safe for every ssh that is using the key: one that
//! has read the public half finds the same key, and one that reads the private key only can read both encodings. The
//! opposite change is never made to a key in use, because an older client may be about to read it.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT};
use ssh_key::PrivateKey;
use zeroize::Zeroizing;

use crate::domain::freshness::{self, milliseconds};
use crate::domain::ids::InstanceId;
use crate::domain::source::KeyType;
use crate::domain::ssh_client::KeyEncoding;
use crate::error::{Error, Kind, Result};
use crate::store::files::{self, Lock};
use crate::store::paths::Paths;
use crate::store::trusted;

mod encoding;
#[cfg(test)]
mod tests;

use encoding::StoredKey;

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

/// For the hook: removes a key that is not in use, or extends the use of one that is. Afterwards the client can read the
/// key: it reads the encoding `readable`, and OpenSSH's format in any case.
///
/// # Errors
///
/// [`Kind::File`]; the key is then unchanged.
pub fn hand_out(paths: &Paths, id: &InstanceId, readable: KeyEncoding, now: u64) -> Result<()> {
    let path = paths.key(id);
    if !path.exists() {
        return Ok(());
    }
    let lock = lock(&paths.key_lock(id))?;
    let window = window(&lock, now)?;
    let Some(metadata) = metadata(&path)? else { return Ok(()) };
    if !freshness::key_in_use(used(&path, &metadata)?, window, now) {
        return remove_unused(&path, &lock, window, now);
    }
    if readable == KeyEncoding::OpenSsh && metadata.len() <= encoding::LARGEST_PKCS8 {
        write_openssh(&path, &lock, now)?;
    }
    touch(&path, now)
}

/// For the proxy and for pushes: creates the key if it is absent, extends its use, and returns its public half.
/// Afterwards the client can read the key, as with [`hand_out`].
///
/// # Errors
///
/// [`Kind::File`] if it cannot be read or created, naming the path.
pub fn lease(paths: &Paths, id: &InstanceId, key_type: KeyType, readable: KeyEncoding, now: u64) -> Result<PublicKey> {
    files::make_private_folder(&paths.keys())?;
    let path = paths.key(id);
    let held = lock(&paths.key_lock(id))?;
    match last_use(&path)? {
        Some(_) => touch(&path, now)?,
        None => create(&path, key_type, readable, &held, now)?,
    }
    drop(held);
    // Now in use, so that no process replaces it: it is read without the lock. Sixty processes at once would otherwise wait
    // for each other's arithmetic.
    if let Some(key) = read(&path)?
        && key.is_readable_by(readable)
    {
        return Ok(key.public);
    }
    let held = lock(&paths.key_lock(id))?;
    match read(&path)? {
        None => create(&path, key_type, readable, &held, now)?,
        Some(_) => write_openssh(&path, &held, now)?,
    }
    let key = read(&path)?;
    key.map(|key| key.public).ok_or_else(|| {
        Error::new(Kind::File, format!("the key {} was removed just after its creation", path.display()))
    })
}

/// The public half of the key, without a lease.
///
/// # Errors
///
/// [`Kind::File`] if the key exists and cannot be read.
pub fn present(paths: &Paths, id: &InstanceId) -> Result<Option<PublicKey>> {
    Ok(read(&paths.key(id))?.map(|key| key.public))
}

/// Creates an Ed25519 key in PKCS#8 in a new file, for a test of the client, and returns its public half as a line.
///
/// # Errors
///
/// [`Kind::File`] if it cannot be written, naming the path.
pub fn write_sample(path: &Path) -> Result<String> {
    let key = generate()?;
    write_ed25519(path, &key, KeyEncoding::Pkcs8)?;
    key.public_key().to_openssh().map_err(|error| Error::new(Kind::Bug, "cannot encode a key").because(error))
}

/// For a running proxy whose own lease is over: removes the key, or returns for how many milliseconds it is still in use.
///
/// # Errors
///
/// [`Kind::File`].
pub fn retire(paths: &Paths, id: &InstanceId, now: u64) -> Result<Option<u64>> {
    let path = paths.key(id);
    if last_use(&path)?.is_none() {
        return Ok(None);
    }
    let lock = lock(&paths.key_lock(id))?;
    let window = window(&lock, now)?;
    match past_use(&path, now)? {
        None => Ok(None),
        Some(used) if freshness::key_in_use(used, window, now) => Ok(Some((used + window).saturating_sub(now).max(1))),
        Some(_) => remove_unused(&path, &lock, window, now).map(|()| None),
    }
}

/// The age from which a temporary file counts as left behind by a killed process.
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
    match past_use(&path, now)? {
        Some(used) if !freshness::key_in_use(used, window, now) => remove_unused(&path, &lock, window, now),
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

/// As [`last_use`]. A time in the future, which a wrong clock leaves behind, becomes `now`: the key would otherwise stay
/// in use for ever.
fn past_use(path: &Path, now: u64) -> Result<Option<u64>> {
    match last_use(path)? {
        Some(used) if used > now => touch(path, now).map(|()| Some(now)),
        used => Ok(used),
    }
}

/// When the key was last used, in milliseconds since 1970; none if it is absent.
fn last_use(path: &Path) -> Result<Option<u64>> {
    metadata(path)?.map(|metadata| used(path, &metadata)).transpose()
}

fn used(path: &Path, metadata: &Metadata) -> Result<u64> {
    metadata.modified().map(milliseconds).map_err(|error| Error::file("access", path, &error))
}

fn metadata(path: &Path) -> Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("access", path, &error)),
    }
}

fn touch(path: &Path, now: u64) -> Result<()> {
    let last_modification = Timespec {
        tv_sec: i64::try_from(now / 1000).unwrap_or(i64::MAX),
        tv_nsec: (now % 1000 * 1_000_000).try_into().unwrap_or_default(),
    };
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times = Timestamps { last_access, last_modification };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::empty())
        .map_err(|error| Error::file("touch", path, &error.into()))
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
    if last_use(&aside)?.is_some_and(|used| freshness::key_in_use(used, window, now)) {
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

/// A file that is not a key (truncated by a power failure) counts as absent: ssh could not read it either.
fn read(path: &Path) -> Result<Option<StoredKey>> {
    // Zeroized like the key itself: the memory of a proxy lives as long as its session.
    let Some(bytes) = trusted::read(path)?.map(Zeroizing::new) else { return Ok(None) };
    // An Ed25519 key in a FIPS build is from another build; ssh could not use it.
    let is_usable = |key: &StoredKey| !key.is_ed25519 || KeyType::Ed25519.refused().is_none();
    Ok(encoding::decode(&bytes).filter(is_usable))
}

/// Creates a key where there is none, or a file that is not a key. If another process has created one meanwhile, that one
/// stays.
fn create(path: &Path, key_type: KeyType, readable: KeyEncoding, lock: &Lock, now: u64) -> Result<()> {
    let fail = |error: &io::Error| Error::file("make the key", path, error);
    let temporary = temporary_folder(path)?;
    let fresh = temporary.path().join("key");
    // Without a lock the encoding of a key in use cannot be changed safely, so that every client has to be able to read it.
    let encoding = if lock.is_exclusive { readable } else { KeyEncoding::OpenSsh };
    match (key_type, KeyType::Ed25519.refused()) {
        (KeyType::Ed25519, None) => write_ed25519(&fresh, &generate()?, encoding)?,
        // The index of another build may still have that key type.
        (KeyType::Ed25519, Some(why)) => {
            let error = Error::new(Kind::Config, format!("cannot make an Ed25519 key: {why}"));
            return Err(error.hint("ssh-eic sync"));
        }
        (KeyType::Rsa, _) => run_ssh_keygen(&fresh)?,
    }
    touch(&fresh, now)?;
    if metadata(path)?.is_some() && read(path)?.is_none() {
        let aside = temporary.path().join("aside");
        fs::rename(path, &aside).map_err(|e| fail(&e))?;
        if read(&aside)?.is_some() {
            files::place_new(&aside, path).map_err(|e| fail(&e))?;
        }
    }
    if files::place_new(&fresh, path).map_err(|e| fail(&e))? {
        let created = UNIX_EPOCH + Duration::from_millis(now);
        lock.file.set_modified(created).map_err(|e| fail(&e))?;
    }
    Ok(())
}

/// Replaces a key file in PKCS#8 by the same key in OpenSSH's format. Not without an exclusive lock: another process may
/// have removed that key and created a new one, which would be lost.
fn write_openssh(path: &Path, lock: &Lock, now: u64) -> Result<()> {
    let Some(key) = read(path)?.and_then(|key| key.pkcs8).filter(|_| lock.is_exclusive) else { return Ok(()) };
    let temporary = temporary_folder(path)?;
    let fresh = temporary.path().join("key");
    write_ed25519(&fresh, &key, KeyEncoding::OpenSsh)?;
    touch(&fresh, now)?;
    fs::rename(&fresh, path).map_err(|error| Error::file("write", path, &error))
}

/// A folder beside `path`, removed with the value.
fn temporary_folder(path: &Path) -> Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix(".ssh-eic-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(path.parent().unwrap_or(Path::new("/")))
        .map_err(|error| Error::file("make a temporary folder for", path, &error))
}

/// Generates an Ed25519 key in this process: starting ssh-keygen would be most of the time that a key takes.
fn generate() -> Result<PrivateKey> {
    PrivateKey::random(&mut ssh_key::rand_core::OsRng, ssh_key::Algorithm::Ed25519)
        .map_err(|error| Error::new(Kind::Bug, "cannot make an Ed25519 key").because(error))
}

fn write_ed25519(path: &Path, key: &PrivateKey, encoding: KeyEncoding) -> Result<()> {
    let text = encoding::encode(key, encoding).ok_or_else(|| Error::new(Kind::Bug, "cannot encode an Ed25519 key"))?;
    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| Error::file("make the key", path, &error))
}

/// RSA keys are always in PEM (PKCS#1), which every supported client signs with at once.
fn run_ssh_keygen(path: &Path) -> Result<()> {
    // No shell and no prompt: the passphrase is empty and nothing exists at the path.
    let output = Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-C", "", "-f"])
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
