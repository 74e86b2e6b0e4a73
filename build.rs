//! How the program is linked.
//!
//! The hook runs at every connection, and most of its time was the dynamic loader's: the SDK's 39,000 pointers to move
//! to wherever the program was loaded, each page of them a page fault. Loaded at a fixed address there is nothing to
//! move: 120 page faults instead of 270. Heap, stack and libraries stay at random addresses; the program's own code does
//! not, which a flaw in the little C and assembly of its TLS library, or in an `unsafe` of a dependency, would be easier to
//! use for. Whoever would rather pay half a millisecond at each connection sets `SSH_EIC_PIE=1`.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SSH_EIC_PIE");
    let target = |name: &str| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let wanted = env::var_os("SSH_EIC_PIE").is_none_or(|value| value.is_empty() || value == "0");
    if wanted && target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bin=ssh-eic=-no-pie");
    }
}
