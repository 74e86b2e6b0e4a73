//! How the program is linked.
//!
//! The hook runs at every connection, and most of its time was the dynamic loader's: the SDK's 39,000 pointers to move
//! to wherever the program was loaded, each page of them a page fault. Loaded at a fixed address there is nothing to
//! move: 120 page faults instead of 270. Heap, stack and libraries stay at random addresses; the program's own code does
//! not, which a flaw in the little C and assembly of its TLS library, or in an `unsafe` of a dependency, would be easier to
//! use for. Whoever would rather pay half a millisecond at each connection sets `SSH_EIC_PIE=1`.

//!
//! The unwinder is linked into the program as well: loading `libgcc_s.so` costs each process nine system calls and six page
//! faults, a tenth of a millisecond, for a part that only a panic needs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SSH_EIC_PIE");
    let target = |name: &str| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let wanted = env::var_os("SSH_EIC_PIE").is_none_or(|value| value.is_empty() || value == "0");
    if target("OS") != "linux" || target("ENV") != "gnu" {
        return;
    }
    if wanted {
        println!("cargo::rustc-link-arg-bin=ssh-eic=-no-pie");
    }
    if let (Some(unwinder), Some(out)) = (static_unwinder(), env::var_os("OUT_DIR")) {
        let folder = Path::new(&out).join("unwinder");
        // std asks for -lgcc_s. The linker finds this script first, and takes the static library in its place.
        let script = format!("INPUT({})\n", unwinder.display());
        if fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join("libgcc_s.so"), script)).is_ok() {
            println!("cargo::rustc-link-search=native={}", folder.display());
        }
    }
}

/// The static library of the C compiler's unwinder. None for another machine than this one, whose compiler is unknown,
/// and where the compiler does not have it.
fn static_unwinder() -> Option<PathBuf> {
    println!("cargo::rerun-if-env-changed=CC");
    if env::var_os("HOST") != env::var_os("TARGET") {
        return None;
    }
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let output = Command::new(compiler).arg("-print-file-name=libgcc_eh.a").output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    // The bare name is printed where there is none. A path with other characters would need quotes in the script.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._+-".contains(&byte);
    let found = path.is_absolute() && path.is_file() && path.to_str()?.bytes().all(is_plain);
    found.then_some(path)
}
