//! Host names after `ssh`, completed by the packages that bash and zsh users have.

use std::collections::BTreeSet;

use sandbox::Instance;

use super::{has, is_skipped, starts};
use crate::match_hook::watched;
use crate::world::World;

/// Where Debian and most others have it.
const BASH_COMPLETION: &str = "/usr/share/bash-completion/bash_completion";

fn fleet() -> World {
    let world = watched();
    for (name, address) in [("only-one", "10.0.6.1"), ("Staging_DB.eu", "10.0.6.2")] {
        world.sandbox.add(Instance::new(name).user("ubuntu").address(address)).unwrap();
    }
    world.eic(&["sync"]).ok();
    world.write("starts", "");
    world
}

/// What is offered for the words, the last of which is being typed.
fn offered_by_bash(world: &World, words: &[&str]) -> BTreeSet<String> {
    let words = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let script = format!(
        ". {BASH_COMPLETION}
        COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) COMP_LINE=\"${{COMP_WORDS[*]}}\" COMP_TYPE=9
        COMP_POINT=${{#COMP_LINE}} program=${{COMP_WORDS[0]}}
        _completion_loader $program
        handler=$(complete -p $program | sed 's/.* -F \\([^ ]*\\).*/\\1/')
        $handler $program \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"
        printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    world.sh(&script).ok().lines().map(|line| line.trim().trim_end_matches(':').to_owned()).collect()
}

#[test]
fn bash_completes_every_name_after_ssh_scp_sftp_and_rsync() {
    let world = fleet();
    if is_skipped(std::path::Path::new(BASH_COMPLETION).exists(), "bash-completion") {
        return;
    }
    // The test of the loopback form has another machine's config in its home, which bash does not ask passwd for.
    let all = offered_by_bash(&world, &["ssh", ""]);
    let names = world.eic(&["list", "--names"]).ok().to_owned();
    world.write("starts", "");
    assert!(names.lines().count() >= 5 && names.lines().all(|name| all.contains(name)), "{names}\nnot in {all:?}");
    let expected = BTreeSet::from(["prod-web-1".to_owned(), "prod-web-2".to_owned()]);
    for program in ["ssh", "scp", "sftp", "rsync"] {
        assert_eq!(offered_by_bash(&world, &[program, "prod-w"]), expected, "{program}");
    }
    assert_eq!(starts(&world), Vec::<String>::new(), "no process of ours");
}

#[test]
fn zsh_completes_a_name_that_it_has_read_through_the_include() {
    let world = fleet();
    if !has(&world, "zsh") {
        return;
    }
    // A terminal of its own in which somebody types: a name's beginning, a tab, and back to the line's start to turn
    // what has come of it into an argument of print.
    let script = r#"zmodload zsh/zpty
        zpty z zsh -f -i
        zpty -w z 'PS1=; unsetopt zle_bracketed_paste; autoload -Uz compinit && compinit -D -u && print set""up'
        zpty -r -m z seen '*setup*' || exit 1
        for typed in 'ssh only-' 'ssh prod-web-2' 'scp stag'; do
            zpty -w -n z "$typed"$'\t\x01print -r -- got""ten: \n'
            zpty -r -m z seen $'*gotten: *\n*' || exit 1
            print -r -- "${${seen##*gotten: }%%$'\r'*}"
        done
        zpty -d z"#;
    world.write("type.zsh", script);
    let output = world.sh("TERM=dumb timeout 60 zsh -f type.zsh </dev/null");
    let lines: Vec<&str> = output.ok().lines().map(str::trim).collect();
    assert_eq!(lines, ["ssh only-one", "ssh prod-web-2", "scp staging_db-eu"], "{output}");
    assert_eq!(starts(&world), Vec::<String>::new(), "no process of ours");
}
