//! `install.sh`, and the completions that it installs, in the real shells.

use std::fs;
use std::path::{Path, PathBuf};

use crate::generate::has;
use crate::layouts::snapshot::Snapshot;
use crate::layouts::{INLINE, configure};
use crate::sources::append_aws_config;
use crate::world::{CommandOutput, World, binary};

fn install(world: &World, args: &[&str]) -> CommandOutput {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh");
    let script = script.to_str().expect("text").to_owned();
    world.run("bash", &[&[script.as_str()], args].concat())
}

fn install_ours(world: &World) {
    install(world, &["--binary", binary().to_str().expect("text")]).ok();
}

/// Files below a folder whose path has our name.
fn ours(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().contains("ssh-eic") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn uninstall_removes_what_was_installed_and_nothing_else() {
    let world = World::bare();
    world.write(".local/bin/other", "somebody else's");
    let before = Snapshot::of(&world.home().join(".local"));
    install_ours(&world);
    // A second time, as an update does.
    install_ours(&world);
    for path in ["bin/ssh-eic", "share/man/man1/ssh-eic.1", "share/man/man5/ssh-eic-config.5"] {
        assert!(world.home().join(".local").join(path).exists(), "{path}");
    }
    let program = world.home().join(".local/bin/ssh-eic");
    let program = program.to_str().unwrap();
    world.run(program, &["init", "--profile", "prod", "--region", "eu-west-1"]).ok();
    assert!(world.read(".ssh/config").contains("Include"));
    install(&world, &["--uninstall"]).says("removed the lines of ssh-eic from").ok();
    assert!(!world.home().join(".ssh/config").exists());
    let left = ours(world.home());
    assert_eq!(left, [world.home().join(".config/ssh-eic/config.toml")]);
    let after = Snapshot::of(&world.home().join(".local")).without("state");
    before.assert_same(&after, &world.sh("find ~/.local"));
    install(&world, &["--uninstall"]).fails_with(1).says("nothing is recorded");
}

#[test]
fn if_remove_fails_nothing_is_uninstalled() {
    let world = World::bare();
    configure(&world, INLINE);
    world.eic(&["sync"]).ok();
    install_ours(&world);
    let whole = world.read(".ssh/config");
    let damaged: String = whole.split_inclusive('\n').filter(|line| !line.starts_with("# >>> ")).collect();
    world.write(".ssh/config", &damaged);
    install(&world, &["--uninstall"]).fails_with(1).says("nothing was uninstalled");
    assert!(world.home().join(".local/bin/ssh-eic").exists());
    world.write(".ssh/config", &whole);
    install(&world, &["--uninstall"]).ok();
    assert!(!world.home().join(".local/bin/ssh-eic").exists());
}

#[test]
fn a_prefix_is_used_and_conflicting_flags_are_rejected() {
    let world = World::bare();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh");
    let (script, binary) = (script.display(), binary());
    let (prefix, binary) = (world.home().join("a b"), binary.display());
    world.sh(&format!("cd && PREFIX='a b' {script} --binary {binary}")).ok();
    assert!(prefix.join("bin/ssh-eic").exists());
    world.sh(&format!("cd && PREFIX='a b' {script} --uninstall")).ok();
    assert!(!prefix.exists());
    for flags in ["--demo --uninstall", "--binary x --uninstall", "--loopback", "--binary"] {
        world.sh(&format!("{script} {flags}")).fails_with(1);
    }
}

/// A compiler that prints whether it may use unstable flags, and its arguments; it refuses the flags in `REFUSED`.
const COMPILER: &str = "#!/bin/sh
case \" $* \" in *\" ${REFUSED:-none} \"*) exit 1 ;; esac
case \" $* \" in *\" --print \"*) exit 0 ;; esac
echo \"${RUSTC_BOOTSTRAP:-stable} $*\"
";

#[test]
fn the_rustc_wrapper_changes_the_call_for_one_crate_and_only_if_the_compiler_accepts_it() {
    let world = World::bare();
    world.write("rustc", COMPILER);
    let wrapper = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/rustc-wrapper");
    let compile = |environment: &str, arguments: &str| {
        let script = format!("chmod +x ~/rustc; {environment} {} ~/rustc {arguments}", wrapper.display());
        world.sh(&script).ok().to_owned()
    };
    let sdk = "--crate-name aws_sdk_ec2 --edition=2021 'a b'";
    let plain = "stable --crate-name aws_sdk_ec2 --edition=2021 a b\n";
    assert_eq!(compile("", sdk), "1 --crate-name aws_sdk_ec2 --edition=2021 a b -Zhint-mostly-unused\n");
    assert_eq!(compile("REFUSED=-Zhint-mostly-unused", sdk), plain);
    for other in ["--crate-name aws_sdk_ec2instanceconnect", "--crate-name ssh_eic --extern aws_sdk_ec2=x", "-vV"] {
        assert_eq!(compile("", other), format!("stable {other}\n"));
    }
}

#[test]
fn a_rustc_wrapper_of_the_user_is_kept() {
    let world = World::bare();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).display();
    let wrapper = |environment: &str| {
        let script = "use_rustc_wrapper; echo \"${RUSTC_WRAPPER-none}\"";
        let output = world.sh(&format!(
            "unset RUSTC_WRAPPER CARGO_BUILD_RUSTC_WRAPPER CARGO_HOME; {environment} bash -c '. {project}/contrib/tools.sh; \
             mkdir -p ~/project; cd ~/project; {script}'"
        ));
        output.ok().trim().to_owned()
    };
    let home = world.home().display().to_string();
    assert_eq!(wrapper(""), format!("{home}/project/contrib/rustc-wrapper"));
    assert_eq!(wrapper("RUSTC_WRAPPER=sccache"), "sccache");
    assert_eq!(wrapper("RUSTC_WRAPPER="), "");
    assert_eq!(wrapper("CARGO_BUILD_RUSTC_WRAPPER=sccache"), "none");
    for config in [".cargo/config.toml", "cargo/config.toml", "project/.cargo/config"] {
        world.write(config, "[build]\nrustc-wrapper = \"sccache\"\n");
        assert_eq!(wrapper("CARGO_HOME=~/cargo"), "none", "{config}");
        fs::remove_file(world.home().join(config)).unwrap();
    }
}

/// A line with the cursor at its end, and what is offered there.
const OFFERED: [(&str, &[&str]); 17] = [
    ("ssh-eic pus", &["push"]),
    ("ssh-eic sync --acc", &["--accept-moves"]),
    ("ssh-eic push ", &["prod-web-1", "prod-web-2"]),
    ("ssh-eic push --json prod-web-", &["prod-web-1", "prod-web-2"]),
    ("ssh-eic list prod-web-", &["prod-web-1", "prod-web-2"]),
    ("ssh-eic list nothing-like-this", &[]),
    ("ssh-eic doctor prod-web-", &["prod-web-1", "prod-web-2"]),
    ("ssh-eic inventory --host prod-web-", &["prod-web-1", "prod-web-2"]),
    ("ssh-eic init --profile st", &["staging"]),
    ("ssh-eic init --sso-session ", &["corp"]),
    ("ssh-eic init --region us-gov-e", &["us-gov-east-1"]),
    ("ssh-eic sync --source ", &["prod"]),
    ("ssh-eic list --source p", &["prod"]),
    ("ssh-eic policy --account 1", &["111122223333"]),
    ("ssh-eic matc", &[]),
    ("ssh-eic prox", &[]),
    ("ssh-eic value", &[]),
];

/// A fleet, an SSO session, and the completions.
fn completing() -> World {
    let world = World::new();
    append_aws_config(&world, "[sso-session corp]\nsso_region = eu-west-1\n");
    install_ours(&world);
    world
}

#[test]
fn bash_completes_commands_flags_and_hosts() {
    let world = completing();
    for (line, offered) in OFFERED {
        let script = format!(
            ". ~/.local/share/bash-completion/completions/ssh-eic; line='{line}'; COMP_WORDS=($line); \
             case $line in *' ') COMP_WORDS+=('') ;; esac; COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             $(complete -p ssh-eic | sed 's/.*-F \\([^ ]*\\).*/\\1/') ssh-eic \"${{COMP_WORDS[COMP_CWORD]}}\" \
             \"${{COMP_WORDS[COMP_CWORD-1]}}\"; [ ${{#COMPREPLY[@]}} -eq 0 ] || printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let output = world.run("bash", &["--norc", "-c", &script]);
        assert_eq!(output.ok().lines().collect::<Vec<_>>(), offered, "{line}\n{output}");
        assert_eq!(output.stderr, "", "{output}");
    }
}

#[test]
fn fish_completes_commands_flags_and_hosts() {
    if !has("fish") {
        return;
    }
    let world = completing();
    for (line, offered) in OFFERED {
        let output = world.run("fish", &["-c", &format!("complete -C '{line}'")]);
        let words: Vec<&str> = output.ok().lines().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(words, offered, "{line}\n{output}");
    }
}

/// An interactive zsh on a terminal of its own: types each line and a tab, and writes down what has become of it.
const TYPIST: &str = r#"
zmodload zsh/zpty
out=$1; shift
: >$out
zpty z 'zsh -f -i'
zpty -w z 'PS1=; fpath=(~/.local/share/zsh/site-functions $fpath); autoload -Uz compinit; compinit -u -D'
zpty -w z "note() { print -r -- \"[\$BUFFER]\" >>$out; BUFFER=; }; zle -N note; bindkey '^T' note; print ready >>$out"
wait_for() {
    for try in {1..600}; do
        [ "$(wc -l <$out)" -ge $1 ] && return
        zpty -r -t z said
        sleep 0.05
    done
    print -u2 "no answer: $said"; exit 1
}
wait_for 1
lines=1
for line in "$@"; do
    zpty -w -n z "$line"$'\t\x14'
    wait_for $((++lines))
done
zpty -d z
tail -n +2 $out
"#;

#[test]
fn zsh_completes_commands_flags_and_hosts() {
    if !has("zsh") {
        return;
    }
    let world = completing();
    world.write("typist", TYPIST);
    let lines: Vec<&str> = OFFERED.iter().map(|(line, _)| *line).collect();
    let output = world.run("zsh", &[&["-f", "typist", "noted"], &lines[..]].concat());
    let wanted = [
        "[ssh-eic push ]",
        "[ssh-eic sync --accept-moves ]",
        // As far as all that are offered agree.
        "[ssh-eic push prod-web-]",
        "[ssh-eic push --json prod-web-]",
        "[ssh-eic list prod-web-]",
        "[ssh-eic list nothing-like-this]",
        "[ssh-eic doctor prod-web-]",
        "[ssh-eic inventory --host prod-web-]",
        "[ssh-eic init --profile staging ]",
        "[ssh-eic init --sso-session corp ]",
        "[ssh-eic init --region us-gov-east-1 ]",
        "[ssh-eic sync --source prod ]",
        "[ssh-eic list --source prod ]",
        "[ssh-eic policy --account 111122223333 ]",
        "[ssh-eic matc]",
        "[ssh-eic prox]",
        "[ssh-eic value]",
    ];
    assert_eq!(output.ok().lines().collect::<Vec<_>>(), wanted, "{output}");
}
