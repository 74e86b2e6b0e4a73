//! Host keys and host certificates of the instances, made by ssh-keygen.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::PoisonError;

use super::World;
use crate::model::Instance;
use crate::program::ssh_keygen;

/// The private key of the authority that signs host certificates, in the sandbox's folder.
const CA: &str = "host_ca";
/// The private key of an authority that nothing trusts, for forged certificates.
const OTHER_CA: &str = "other_host_ca";

/// The private key's file name.
pub(super) fn file_name(key_type: &str) -> String {
    format!("ssh_host_{key_type}_key")
}

/// Generates the instance's host keys in its folder, in place of older ones.
pub(super) fn generate(dir: &Path, instance: &Instance) -> io::Result<()> {
    for key_type in &instance.host_key_types {
        let path = dir.join(file_name(key_type));
        let _ = fs::remove_file(&path);
        let _ = fs::remove_file(path.with_extension("pub"));
        let _ = fs::remove_file(certificate(&path));
        keygen(&["-t", key_type, "-N", "", "-C", "", "-f"], &path)?;
    }
    Ok(())
}

/// The public keys, one a line.
pub(super) fn public_keys(dir: &Path, instance: &Instance) -> io::Result<String> {
    let paths = instance.host_key_types.iter().map(|key_type| dir.join(file_name(key_type)).with_extension("pub"));
    paths.map(fs::read_to_string).collect()
}

/// Signs the instance's host keys, if it has a certificate.
pub(super) fn certify(world: &World, dir: &Path, instance: &Instance) -> io::Result<()> {
    let Some(wanted) = &instance.host_certificate else { return Ok(()) };
    let ca = authority(world, if wanted.forged { OTHER_CA } else { CA })?;
    let ca = ca.to_string_lossy();
    for key_type in &instance.host_key_types {
        let public = dir.join(file_name(key_type)).with_extension("pub");
        let principals = wanted.principals.join(",");
        let mut args = vec!["-s", &ca, "-h", "-I", &instance.id, "-V", &wanted.validity];
        if !wanted.principals.is_empty() {
            args.extend(["-n", &principals]);
        }
        keygen(&args, &public)?;
    }
    Ok(())
}

/// sshd's options for the host keys and certificates.
pub(super) fn options(dir: &Path, instance: &Instance) -> String {
    let mut text = String::new();
    for key_type in &instance.host_key_types {
        let path = dir.join(file_name(key_type));
        text.extend(["HostKey ", &path.to_string_lossy(), "\n"]);
        if instance.host_certificate.is_some() {
            text.extend(["HostCertificate ", &certificate(&path).to_string_lossy(), "\n"]);
        }
    }
    text
}

/// The public key of the authority that signs host certificates.
pub(super) fn authority_public_key(world: &World) -> io::Result<String> {
    let text = fs::read_to_string(authority(world, CA)?.with_extension("pub"))?;
    Ok(text.trim_end().to_owned())
}

/// The private key of an authority, generated when it is first used.
fn authority(world: &World, name: &str) -> io::Result<PathBuf> {
    let _guard = world.prepared.authority.lock().unwrap_or_else(PoisonError::into_inner);
    let path = world.dir.join(name);
    if !path.exists() {
        keygen(&["-t", "ed25519", "-N", "", "-C", "", "-f"], &path)?;
    }
    Ok(path)
}

/// The path of a private key's certificate.
fn certificate(key: &Path) -> PathBuf {
    key.with_file_name(format!("{}-cert.pub", key.file_name().unwrap_or_default().to_string_lossy()))
}

fn keygen(args: &[&str], path: &Path) -> io::Result<()> {
    let output = Command::new(ssh_keygen()?).arg("-q").args(args).arg(path).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("ssh-keygen: {}", String::from_utf8_lossy(&output.stderr).trim())))
}
