//! What packages and release archives contain.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{output, root, text, unit_value};

const SERVICE: &str = "contrib/systemd/ssh-eic-sync.service";
const TIMER: &str = "contrib/systemd/ssh-eic-sync.timer";

#[test]
fn systemd_accepts_every_line_of_the_units() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for file in [SERVICE, TIMER] {
        let copy = dir.path().join(Path::new(file).file_name().unwrap());
        // systemd-analyze requires that the program exists.
        let unit = text(file).replace("/usr/bin/ssh-eic", "/bin/sh");
        fs::write(&copy, unit).unwrap();
        units.push(copy);
    }
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--user", "--man=no"]).args(&units).env("XDG_RUNTIME_DIR", dir.path());
    // It succeeds with a warning if it ignores a line.
    assert_eq!(output(&mut verify).unwrap_or_default(), "");
}

/// The files of a package, as (source, destination).
fn assets(metadata: &toml::Value, of: &str) -> Vec<(String, String)> {
    let word = |value: &toml::Value| value.as_str().expect("text").to_owned();
    let assets = metadata[of]["assets"].as_array().expect("assets");
    let pair = |asset: &toml::Value| match asset.as_array() {
        Some(list) => (word(&list[0]), format!("/{}", word(&list[1]))),
        None => (word(&asset["source"]), format!("/{}", word(&asset["dest"]).trim_start_matches('/'))),
    };
    assets.iter().map(pair).collect()
}

#[test]
fn packages_contain_existing_files_and_both_kinds_the_same() {
    let manifest: toml::Value = toml::from_str(&text("Cargo.toml")).unwrap();
    let metadata = &manifest["package"]["metadata"];
    let (deb, rpm) = (assets(metadata, "deb"), assets(metadata, "generate-rpm"));
    for (source, destination) in deb.iter().chain(&rpm).filter(|(source, _)| !source.starts_with("target/")) {
        let found = glob::glob(&root().join(source).display().to_string()).unwrap().flatten().count();
        assert!(found > 0, "no {source} for {destination}");
    }
    let sources = |assets: &[(String, String)]| assets.iter().map(|(source, _)| source.clone()).collect::<Vec<_>>();
    assert_eq!(sources(&deb), sources(&rpm));
    for (source, destination) in [
        ("target/release/ssh-eic", "/usr/bin/"),
        ("man/*.1", "/usr/share/man/man1/"),
        ("contrib/systemd/ssh-eic-sync.*", "/usr/lib/systemd/user/"),
    ] {
        for assets in [&deb, &rpm] {
            assert!(assets.contains(&(source.to_owned(), destination.to_owned())), "{source} in {assets:?}");
        }
    }
    assert_eq!(
        unit_value(&text(SERVICE), "ExecStart").split(' ').next(),
        Some("/usr/bin/ssh-eic"),
        "where packages put it"
    );
}

#[test]
fn a_release_archive_contains_the_program_and_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("project");
    fs::create_dir(&copy).unwrap();
    for part in ["Cargo.toml", "README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "man", "contrib"] {
        output(Command::new("cp").arg("-R").arg(root().join(part)).arg(&copy));
    }
    fs::write(dir.path().join("program"), "program").unwrap();
    let archive = |tag: &str| {
        let mut command = Command::new(copy.join("contrib/release/archive"));
        command.arg(dir.path().join("program")).args(["x86_64-unknown-linux-gnu", tag]);
        command.output().unwrap()
    };
    let version = env!("CARGO_PKG_VERSION");
    assert!(archive(&format!("v{version}")).status.success());
    let refused = archive("v99.0.0");
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("v99.0.0"));
    let name = format!("ssh-eic-{version}-x86_64-unknown-linux-gnu");
    let listed = output(Command::new("tar").arg("-tzf").arg(copy.join(format!("target/dist/{name}.tar.gz")))).unwrap();
    for file in ["ssh-eic", "man/ssh-eic.1", "contrib/completions/_ssh-eic", "contrib/systemd/ssh-eic-sync.timer"] {
        assert!(listed.contains(&format!("{name}/{file}\n")), "{file} in\n{listed}");
    }
    assert!(!listed.contains("bench") && !listed.contains("tools.sh"), "{listed}");
}
