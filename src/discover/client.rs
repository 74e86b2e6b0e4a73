//! Which encoding of private keys the ssh client on PATH can read, checked with its own ssh-keygen.

use crate::domain::source::KeyType;
use crate::domain::ssh_client::{CheckedClient, READS_PKCS8};
use crate::store::{files, keys};
use crate::sys::ssh_client;
use crate::ui;

/// Checks the client, unless the last sync has checked the same one. None if there is no ssh program file on PATH.
pub(super) fn check(version: (u32, u32), last: Option<CheckedClient>) -> Option<CheckedClient> {
    let (program, keygen) = ssh_client::find()?;
    if let Some(last) = last.filter(|last| last.program == program) {
        return Some(last);
    }
    let can_read = version >= READS_PKCS8 && KeyType::Ed25519.refused().is_none();
    let reads_pkcs8 = can_read && keygen.is_some_and(|keygen| reads_pkcs8(&keygen).unwrap_or(false));
    ui::trace(|| {
        format!("the ssh client {} Ed25519 keys in PKCS#8", if reads_pkcs8 { "reads" } else { "does not read" })
    });
    Some(CheckedClient { program, reads_pkcs8 })
}

/// Lets it read a new key, which is deleted afterwards.
fn reads_pkcs8(keygen: &std::path::Path) -> Option<bool> {
    let folder = files::trial_folder(&std::env::temp_dir()).ok()?;
    let file = folder.path().join("key");
    let public = keys::write_sample(&file).ok()?;
    let printed = ssh_client::public_half(keygen, &file)?;
    Some(printed.split_whitespace().take(2).eq(public.split_whitespace().take(2)))
}
