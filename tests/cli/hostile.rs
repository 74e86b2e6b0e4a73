//! Names from people who are not trusted: on the command line, in tags, in the config.

use std::path::Path;

use sandbox::{Instance, needs_namespaces};

use crate::world::{World, run};

#[test]
fn no_user_or_host_name_reaches_a_shell() {
    let world = World::new();
    let mark = world.home().join("pwned");
    let touch = format!("touch {}", mark.display());
    for user in [
        format!("x'$({touch})'"),
        format!("x';{touch};'"),
        format!("$({touch})"),
        format!("`{touch}`"),
        format!("x\"; {touch}; \""),
        "../../x".to_owned(),
    ] {
        for host in ["prod-web-1", world.web1.as_str()] {
            let output = world.ssh(&["-o", "BatchMode=yes", "-l", &user, host, "true"]);
            assert_ne!(output.code, Some(0), "{output}");
            assert!(!mark.exists(), "a shell ran the user name\n{output}");
        }
    }
    assert!(world.pushes().is_empty(), "{:#?}", world.pushes());
    // A client rejects such names on the command line nowadays, but not in a config; older clients reject them nowhere.
    let own = world.read(".ssh/config");
    for user in [format!("x'$({touch})'"), format!("x';{touch};'"), "x\\';id;'".to_owned(), "--home=/tmp".to_owned()] {
        world.write(".ssh/config", &format!("User \"{user}\"\n{own}"));
        for host in ["prod-web-1", world.web1.as_str()] {
            let output = world.ssh(&["-o", "BatchMode=yes", "-o", "ConnectTimeout=2", host, "true"]);
            assert_ne!(output.code, Some(0), "{output}");
            assert!(!mark.exists(), "a shell ran the user name\n{output}");
        }
    }
    world.write(".ssh/config", &own);
    for host in [
        format!("i-'$({touch})'"),
        "i-`x`xxxxx".to_owned(),
        "i-$(id)xx".to_owned(),
        "i-;id;xxxx".to_owned(),
        "i-dev.example.com".to_owned(),
        "i-../../x".to_owned(),
    ] {
        let output = world.ssh(&["-o", "BatchMode=yes", "-o", "ConnectTimeout=2", &host, "true"]);
        assert_ne!(output.code, Some(0), "{output}");
        assert!(!mark.exists(), "a shell ran the host name\n{output}");
    }
    assert!(world.pushes().iter().all(|push| push.params["InstanceOSUser"] == "ec2-user"), "{:#?}", world.pushes());
}

/// Whether tcsh is there; without it a test is skipped, never under CI.
fn has_tcsh() -> bool {
    let has = Path::new("/usr/bin/tcsh").exists();
    assert!(has || std::env::var_os("CI").is_none(), "CI has tcsh");
    has
}

/// As an option, in the quotes that ssh takes off its value.
fn quoted_user(user: &str) -> String {
    format!("User=\"{}\"", user.replace('\\', "\\\\").replace('"', "\\\""))
}

#[test]
fn a_newline_in_a_user_name_runs_nothing_under_tcsh() {
    if !has_tcsh() {
        return;
    }
    let world = World::new();
    let mark = world.home().join("pwned");
    world.eic(&["sync", "--output", "only.conf"]).ok();
    let only = world.home().join("only.conf").display().to_string();
    let name = format!("a\ntouch {}\nb", mark.display());
    // As ssh runs a ProxyCommand, with the tokens put in by hand: a patched client refuses such a name by itself.
    let run_as_ssh_does = |command: &str| {
        let command = command.replace("%h", "10.0.3.7").replace("%p", "22").replace("%n", "h").replace("%k", "h");
        world.run("/usr/bin/tcsh", &["-c", &format!("exec {}", command.replace("%r", &name))])
    };
    let output = run_as_ssh_does("/bin/true '%r'");
    assert!(mark.exists(), "tcsh ends a command at a newline in quotes\n{output}");
    std::fs::remove_file(&mark).unwrap();
    for host in ["prod-web-1", world.web1.as_str()] {
        // To a pattern a space and a newline are alike: neither is a permitted character.
        let user = quoted_user(&name.replace('\n', " "));
        let output = world.ssh(&["-G", "-F", &only, "-o", &user, host]);
        let command = output.ok().lines().find_map(|line| line.strip_prefix("proxycommand ")).expect("a command");
        let output = run_as_ssh_does(command);
        assert!(output.stdout.contains("does not accept this user name"), "{output}");
        assert!(!mark.exists(), "a shell ran the user name\n{output}");
        // The commands of the user's config do not contain it.
        assert!(!world.ssh(&["-G", "-o", &user, host]).ok().contains("%r'"));
    }
    assert!(!world.read(".ssh/eic/hook").contains("%r"));
    // Names that are fine log in by this shell.
    for (host, id) in [("prod-web-1", &world.web1), (world.web2.as_str(), &world.web2)] {
        let mut command = world.ssh_command(&[host, "echo $SSH_EIC_INSTANCE"]);
        command.env("SHELL", "/usr/bin/tcsh");
        assert_eq!(run(command).ok(), format!("{id}\n"));
    }
}

#[test]
fn only_user_names_that_instance_connect_accepts_are_in_the_commands_of_a_self_contained_config() {
    let world = World::new();
    world.eic(&["sync", "--output", "only.conf"]).ok();
    let only = world.home().join("only.conf").display().to_string();
    let longest = "a".repeat(32);
    let good = ["a", "Ab0@._-", "x$", "9lives", &longest];
    let too_long = format!("{longest}a");
    let bad = ["a b", "a;b", "a\nb", "a\tb", "\u{fc}", "a'", "a\\b", "*", "?", "!a", "a,b", &too_long, "a#", "a\n"];
    for (user, is_good) in good.iter().map(|user| (user, true)).chain(bad.iter().map(|user| (user, false))) {
        for host in ["prod-web-1", world.web1.as_str()] {
            let output = world.ssh(&["-F", &only, "-G", "-o", &quoted_user(user), host]);
            // Some of these a patched client rejects by itself.
            if !is_good && output.stderr.contains("invalid characters") {
                continue;
            }
            let line = output.ok().lines().find(|line| line.starts_with("proxycommand ")).unwrap_or_default();
            assert_eq!(line.ends_with(" '%r'"), is_good, "{user:?} {host} {line}");
            assert_eq!(line.contains(" --refused-user "), !is_good, "{user:?} {host} {line}");
        }
    }
}

#[test]
fn an_invalid_user_name_is_rejected_with_a_message_for_managed_hosts_only() {
    let world = World::new();
    for host in ["prod-web-1", world.web1.as_str()] {
        let output = world.ssh(&["-o", "User=CORP\\alice", host, "true"]);
        output
            .fails_with(255)
            .says("EC2 Instance Connect does not accept the user name \"CORP\\\\alice\"")
            .says("hint: user names have");
    }
    let config = world.read(".ssh/config");
    world.write(
        ".ssh/config",
        &format!(
            "{config}Host intranet i-dev12345\n    ProxyJump bastion\nHost anonymous\n    ProxyCommand nc -X 5 %h %p\n"
        ),
    );
    for user in ["CORP\\alice", "a b", "a#b", "ok"] {
        let option = quoted_user(user);
        for host in ["intranet", "i-dev12345"] {
            let output = world.ssh(&["-G", "-o", &option, host]);
            assert!(output.ok().contains("proxyjump bastion\n"), "{user} has no bastion\n{output}");
        }
        let output = world.ssh(&["-G", "-o", &option, "anonymous"]);
        assert!(output.ok().contains("proxycommand nc -X 5 %h %p\n"), "{user} has no proxy\n{output}");
        assert!(!world.ssh(&["-G", "-o", &option, "github.com"]).ok().contains("ssh-eic"));
    }
}

#[needs_namespaces]
#[test]
fn the_user_of_the_command_line_is_pushed_for_however_it_is_given() {
    let world = World::new();
    let url = "ssh://deploy@prod-web-1";
    for args in [
        &["-l", "deploy", "prod-web-1"][..],
        &["-ldeploy", "prod-web-1"],
        &["deploy@prod-web-1"],
        &[url],
        &["-o", "User=deploy", "prod-web-1"],
        &["-oUser deploy", "prod-web-1"],
        &["-o", "user=\"deploy\"", "-l", "ec2-user", "prod-web-1"],
        &["deploy@prod-web-1", "-l", "ec2-user"],
        &["-J", "deploy@prod-web-1", "deploy@prod-web-2"],
    ] {
        let pushed = world.pushes().len();
        assert_eq!(world.ssh(&[args, &["id -un"]].concat()).ok(), "deploy\n", "{args:?}");
        assert!(
            world.pushes()[pushed..].iter().all(|push| push.params["InstanceOSUser"] == "deploy"),
            "{args:?} {:#?}",
            world.pushes()
        );
    }
    let users: Vec<String> =
        world.pushes().into_iter().map(|push| push.params["InstanceOSUser"].as_str().unwrap().to_owned()).collect();
    assert_eq!(users, ["deploy", "deploy"], "once for each instance");
}

#[needs_namespaces]
#[test]
fn a_local_user_with_a_backslash_logs_in_and_is_noticed_by_the_next_sync() {
    let world = World::new();
    world.own_etc();
    world.sh("sed 's/^root:/CORP\\\\alice:/;q' /etc/passwd >/etc/first && cat /etc/passwd >>/etc/first && cp /etc/first /etc/passwd").ok();
    assert!(world.ssh(&["-G", "-F", "none", "x"]).ok().contains("user CORP\\alice\n"));
    world.eic(&["sync"]).ok();
    for (host, id) in [("prod-web-1", &world.web1), (world.web2.as_str(), &world.web2)] {
        assert_eq!(world.ssh(&[host, "echo $SSH_EIC_INSTANCE"]).ok(), format!("{id}\n"));
    }
    world
        .ssh(&["-o", "User=CORP\\bob", "prod-web-1", "true"])
        .fails_with(255)
        .says("does not accept the user name \"CORP\\\\bob\"");
}

#[test]
fn names_that_only_look_like_ids_are_left_to_ssh() {
    let world = World::new();
    for host in [
        "i-dev.example.com",
        "i-dev12345",
        "i-0ABC12DE",
        "i-../x",
        "i-0abc12d",
        "i-0abc12de.f",
        "web-0abc12de",
        "i-0abc12d=",
    ] {
        let options = world.ssh(&["-G", host]);
        assert!(!options.ok().contains("ssh-eic"), "{host} is taken for an instance\n{options}");
    }
    for id in ["i-0abc12de", "i-0abc12def34567890"] {
        assert!(world.ssh(&["-G", id]).ok().contains("ssh-eic"), "{id}");
    }
}

#[test]
fn tags_cannot_write_config() {
    let world = World::new();
    let mark = world.home().join("pwned");
    let evil = [
        format!("x\nHost *\n    ProxyCommand touch {}", mark.display()),
        format!("x\r\nMatch exec \"touch {}\"", mark.display()),
        "* !x ?".to_owned(),
        "-oProxyCommand=id".to_owned(),
        "%h ${HOME} $(id) `id` '\"\\".to_owned(),
        "../../../etc/passwd".to_owned(),
        "\u{202e}\u{9b}31mred\u{200b}\u{feff}".to_owned(),
        "localhost".to_owned(),
        "10.0.0.1".to_owned(),
        world.web1.clone(),
        "日本語".to_owned(),
    ];
    for (n, name) in evil.iter().enumerate() {
        world.sandbox.add(Instance::new(name).address(format!("10.0.66.{n}")).tag("ssh-eic:note", "x")).unwrap();
    }
    let output = world.eic(&["sync"]);
    output.ok();
    let hosts = world.read(".ssh/eic/hosts") + &world.read(".ssh/eic/hook");
    assert!(hosts.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)));
    for line in world.eic(&["list", "--names"]).ok().lines() {
        assert!(line.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{line:?}");
        let options = world.ssh(&["-G", line]);
        assert!(options.ok().contains("hostkeyalias i-"), "{options}");
    }
    assert!(world.ssh(&["-G", "github.com"]).ok().contains("hostname github.com\n"));
    assert!(world.ssh(&["-G", "localhost"]).ok().contains("hostname localhost\n"));
    assert!(!mark.exists());
}

#[test]
fn a_user_that_instance_connect_rejects_is_reported_without_a_request() {
    let world = World::new();
    let output = world.ssh(&["-l", "a b", "prod-web-1", "true"]);
    output.fails_with(255);
    world
        .eic(&["proxy", &world.web1, "10.0.3.7", "22", "a b"])
        .fails_with(2)
        .says("does not accept the user name \"a b\"");
    world.eic(&["proxy", "i-../../x", "10.0.3.7", "22", "u"]).fails_with(2).says("is not an instance id");
    assert!(world.pushes().is_empty());
}

#[needs_namespaces]
#[test]
fn a_folder_of_another_user_causes_no_push() {
    let world = World::new();
    // What a user name such as `--home=…` would lead to, if it were ever read as a flag.
    world.sh("cp -r .ssh/eic evil && mkdir -p evil/state && cp .local/state/ssh-eic/index evil/state/ && chown -R deploy evil").ok();
    let evil = world.home().join("evil");
    for args in [["match", "prod-web-1", "ec2-user"], ["match", "--", "prod-web-1"]] {
        let mut command = world.sandbox.command("ssh-eic");
        command.args(args).env("SSH_EIC_HOME", &evil);
        assert_eq!(crate::world::run(command).stdout, "");
    }
    let output = world.eic(&["match", "--", "prod-web-1", &format!("--home={}", evil.display())]);
    output.says("does not accept the user name \"--home=");
    assert!(world.pushes().is_empty(), "{:#?}", world.pushes());
}
