//! What lies beside the program: units, agents, packages, workflows, read by the programs that they are for.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ci::{scripts, yaml};
use crate::world::{World, binary};

const SERVICE: &str = "contrib/systemd/ssh-eic-sync.service";
const TIMER: &str = "contrib/systemd/ssh-eic-sync.timer";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Both streams of a command that went well; none if a laptop does not have it.
fn said(command: &mut Command) -> Option<String> {
    match command.output() {
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{command:?}: {error}");
            None
        }
        Ok(output) => {
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{command:?}: {said}");
            Some(said)
        }
    }
}

/// The value of `key=` in a unit.
fn value<'a>(unit: &'a str, key: &str) -> &'a str {
    let value = |line: &'a str| line.strip_prefix(key)?.strip_prefix('=');
    unit.lines().find_map(value).unwrap_or_else(|| panic!("no {key}= in\n{unit}"))
}

/// The program where `install.sh` puts it.
fn installed(world: &World) -> PathBuf {
    let program = world.home().join(".local/bin/ssh-eic");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    symlink(binary(), &program).unwrap();
    program
}

fn configured() -> World {
    let world = World::bare();
    let config = world.home().join(".config/ssh-eic/config.toml");
    world.write(".config/ssh-eic/config.toml", "[[source]]\nprofile = \"prod\"\nregions = [\"eu-west-1\"]\n");
    fs::set_permissions(config, fs::Permissions::from_mode(0o600)).unwrap();
    world
}

fn calls(world: &World) -> usize {
    world.sandbox.calls().unwrap().len()
}

#[test]
fn systemd_understands_every_line_of_the_units() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for file in [SERVICE, TIMER] {
        let copy = dir.path().join(Path::new(file).file_name().unwrap());
        // The program has to be there, and the manual would be looked for.
        let unit = text(file).replace("/usr/bin/ssh-eic", &binary().display().to_string());
        fs::write(&copy, unit).unwrap();
        units.push(copy);
    }
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--user", "--man=no"]).args(&units).env("XDG_RUNTIME_DIR", dir.path());
    // It succeeds even where it has ignored what it does not know, and says so.
    assert_eq!(said(&mut verify).unwrap_or_default(), "");
}

#[test]
fn the_service_syncs_and_its_sandbox_holds_all_that_it_does() {
    let world = configured();
    let (unit, program) = (text(SERVICE), installed(&world));
    let command = value(&unit, "ExecStart").replace("/usr/bin/ssh-eic", &program.display().to_string());
    let trace = if cfg!(target_os = "linux") { "strace -f -qq -c -U name,errors -o calls " } else { "" };
    let has_strace = said(Command::new("strace").arg("-V")).is_some();
    world.sh(&format!("{}{command}", if has_strace { trace } else { "" })).ok();
    assert_eq!(world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web1));
    assert!(world.read(".ssh/eic/hosts").contains(&program.display().to_string()));
    world.sandbox.clear_calls().unwrap();
    world.sh(&command).ok();
    assert_eq!(calls(&world), 0, "younger than 10 minutes");
    if !has_strace {
        return;
    }
    let mut allowed = Command::new("systemd-analyze");
    let Some(allowed) = said(allowed.args(["syscall-filter", value(&unit, "SystemCallFilter")])) else { return };
    let allowed = all_of(&allowed);
    // The first program of the service is started by systemd itself, and what ends it is never asked for.
    for call in world.read("calls").lines().skip(2).filter_map(|line| line.split_whitespace().next()) {
        let is_summary = matches!(call, "total") || call.starts_with('-');
        assert!(is_summary || allowed.iter().any(|one| one == call), "{call} is not in the unit's SystemCallFilter");
    }
}

/// The system calls of a set, those of sets in it included.
fn all_of(listing: &str) -> Vec<String> {
    let mut all = Vec::new();
    for word in listing.lines().skip(1).map(str::trim).filter(|word| !word.is_empty() && !word.starts_with('#')) {
        if word.starts_with('@') {
            let inner = said(Command::new("systemd-analyze").args(["syscall-filter", word])).unwrap_or_default();
            all.extend(all_of(&inner));
        } else {
            all.push(word.to_owned());
        }
    }
    all
}

#[test]
fn being_signed_out_or_off_the_network_does_not_fail_the_service() {
    let unit = text(SERVICE);
    let fine: Vec<&str> = value(&unit, "SuccessExitStatus").split(' ').collect();
    let world = configured();
    world.write(".aws/credentials", "");
    let signed_out = world.eic(&["--quiet", "sync", "--if-older-than", "10m"]);
    signed_out.fails_with(5);
    let world = configured();
    let off = world.sh("AWS_ENDPOINT_URL=http://127.0.0.1:9 ssh-eic --quiet sync --if-older-than 10m");
    off.fails_with(7);
    for output in [signed_out, off] {
        assert!(fine.contains(&output.code.unwrap().to_string().as_str()) && !output.stderr.is_empty(), "{output}");
    }
}

#[test]
fn the_agent_for_launchd_is_a_plist_whose_command_syncs() {
    let file = root().join("contrib/launchd/ssh-eic.sync.plist");
    let script = "import json, plistlib, sys; print(json.dumps(plistlib.load(open(sys.argv[1], 'rb'))))";
    let Some(plist) = said(Command::new("python3").args(["-c", script]).arg(&file)) else { return };
    let plist: serde_json::Value = serde_json::from_str(&plist).unwrap();
    let label = plist["Label"].as_str().unwrap();
    assert_eq!(file.file_name().unwrap().to_str().unwrap(), format!("{label}.plist"), "launchctl looks for it so");
    let command: Vec<&str> = plist["ProgramArguments"].as_array().unwrap().iter().filter_map(|a| a.as_str()).collect();
    let bare = World::bare();
    bare.run(command[0], &command[1..]).ok();
    assert_eq!(calls(&bare), 0, "nobody has set it up");
    let world = configured();
    let program = installed(&world);
    fs::create_dir_all(world.home().join("Library/Logs")).unwrap();
    world.run(command[0], &command[1..]).ok();
    assert!(world.read(".ssh/eic/hosts").contains(&program.display().to_string()));
    assert_eq!(world.read("Library/Logs/ssh-eic.log"), "");
}

/// The files that packages are made of, as (source, destination).
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
fn packages_are_made_of_files_that_are_there_and_hold_the_same() {
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
    assert_eq!(value(&text(SERVICE), "ExecStart").split(' ').next(), Some("/usr/bin/ssh-eic"), "where packages put it");
}

const OWN_WORKFLOWS: [&str; 4] = [
    ".github/workflows/ci.yml",
    ".github/workflows/openssh.yml",
    ".github/workflows/release.yml",
    ".github/workflows/weekly.yml",
];

#[test]
fn scripts_of_workflows_and_examples_are_sound() {
    let mut seen = 0;
    for file in [&OWN_WORKFLOWS[..], &["contrib/ci/github-actions.yml"]].concat() {
        let Some(workflow) = yaml(file) else { return };
        for (job, what) in workflow["jobs"].as_object().expect("jobs") {
            for (name, script) in scripts(what) {
                assert!(!script.contains("${{"), "{file}: {job}: {name}: values come by the environment");
                seen += 1;
                let dir = tempfile::tempdir().unwrap();
                let step = dir.path().join("step.sh");
                fs::write(&step, &script).unwrap();
                said(Command::new("bash").arg("-n").arg(&step));
                said(Command::new("shellcheck").args(["--shell=bash", "--severity=style"]).arg(&step));
            }
        }
    }
    assert!(seen > 15, "only {seen} steps were seen");
}

#[test]
fn actions_of_our_own_workflows_are_pinned_and_have_no_more_rights_than_they_need() {
    for file in OWN_WORKFLOWS {
        let Some(workflow) = yaml(file) else { return };
        assert_eq!(workflow["permissions"], serde_json::json!({ "contents": "read" }), "{file}");
        for line in text(file).lines().filter(|line| line.trim_start().starts_with("- uses:")) {
            let (_, revision) = line.split_once('@').expect(line);
            let (hash, version) = revision.split_once(" # v").unwrap_or_else(|| panic!("{file}: {line}"));
            assert!(hash.len() == 40 && hash.bytes().all(|b| b.is_ascii_hexdigit()) && !version.is_empty(), "{line}");
        }
    }
}

#[test]
fn an_archive_of_a_release_holds_the_program_and_what_belongs_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("project");
    fs::create_dir(&copy).unwrap();
    for part in ["Cargo.toml", "README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "man", "contrib"] {
        said(Command::new("cp").arg("-R").arg(root().join(part)).arg(&copy));
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
    let listed = said(Command::new("tar").arg("-tzf").arg(copy.join(format!("target/dist/{name}.tar.gz")))).unwrap();
    for file in ["ssh-eic", "man/ssh-eic.1", "contrib/completions/_ssh-eic", "contrib/systemd/ssh-eic-sync.timer"] {
        assert!(listed.contains(&format!("{name}/{file}\n")), "{file} in\n{listed}");
    }
    assert!(!listed.contains("bench") && !listed.contains("tools.sh"), "{listed}");
}
