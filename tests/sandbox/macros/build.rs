//! Sets `cfg(no_namespaces)` where the sandbox cannot have network and mount namespaces, which takes root on Linux.
//!
//! libtest cannot skip a test at run time, so a missing feature of the machine has to be known when tests are compiled.

use std::env;
use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(no_namespaces)");
    println!("cargo::rerun-if-changed=build.rs");
    // Another user, or CI, in which no test may be skipped.
    for variable in ["USER", "CI"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["-n", "-m", "--propagation", "private", "true"]);
    unshare.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let possible = unshare.status().is_ok_and(|status| status.success());
    if !possible && env::var_os("CI").is_none() {
        println!("cargo::rustc-cfg=no_namespaces");
    }
}
