//! Names from people who are not trusted: on the command line, in tags, in the config.

use sandbox::Instance;

use crate::world::{World, can_have_namespaces};

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
            let story = world.ssh(&["-o", "BatchMode=yes", "-l", &user, host, "true"]);
            assert_ne!(story.code, Some(0), "{story}");
            assert!(!mark.exists(), "a shell ran the user name\n{story}");
        }
    }
    // A client refuses such names on the command line nowadays; in a config nobody does, and older clients nowhere.
    let own = world.read(".ssh/config");
    for user in [format!("x'$({touch})'"), format!("x';{touch};'"), "x\\';id;'".to_owned(), "--home=/tmp".to_owned()] {
        world.write(".ssh/config", &format!("User \"{user}\"\n{own}"));
        for host in ["prod-web-1", world.web1.as_str()] {
            let story = world.ssh(&["-o", "BatchMode=yes", "-o", "ConnectTimeout=2", host, "true"]);
            assert_ne!(story.code, Some(0), "{story}");
            assert!(!mark.exists(), "a shell ran the user name\n{story}");
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
        let story = world.ssh(&["-o", "BatchMode=yes", "-o", "ConnectTimeout=2", &host, "true"]);
        assert_ne!(story.code, Some(0), "{story}");
        assert!(!mark.exists(), "a shell ran the host name\n{story}");
    }
    assert!(world.pushes().is_empty(), "{:#?}", world.pushes());
}

#[test]
fn names_that_only_look_like_ids_are_left_to_ssh() {
    let world = World::new();
    for host in ["i-dev.example.com", "i-dev12345", "i-0ABC12DE", "i-../x", "i-0abc12d", "i-0abc12de.f", "web-0abc12de"]
    {
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
    let story = world.eic(&["sync"]);
    story.ok();
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
fn what_eic_would_refuse_as_a_user_is_told_without_asking() {
    let world = World::new();
    let story = world.ssh(&["-l", "a b", "prod-web-1", "true"]);
    story.fails_with(255);
    world.eic(&["proxy", &world.web1, "10.0.3.7", "22", "a b"]).fails_with(2).says("takes no user such as \"a b\"");
    world.eic(&["proxy", "i-../../x", "10.0.3.7", "22", "u"]).fails_with(2).says("is not an instance id");
    assert!(world.pushes().is_empty());
}

#[test]
fn a_folder_of_somebody_else_pushes_nothing() {
    if !can_have_namespaces() {
        return;
    }
    let world = World::new();
    // What a user name such as `--home=…` would lead to, if it were ever read as a flag.
    world.sh("cp -r .ssh/eic evil && mkdir -p evil/state && cp .local/state/ssh-eic/index evil/state/ && chown -R deploy evil").ok();
    let evil = world.home().join("evil");
    for args in [["match", "prod-web-1", "ec2-user"], ["match", "--", "prod-web-1"]] {
        let mut command = world.sandbox.command("ssh-eic");
        command.args(args).env("SSH_EIC_HOME", &evil);
        assert_eq!(crate::world::run(command).stdout, "");
    }
    let story = world.eic(&["match", "--", "prod-web-1", &format!("--home={}", evil.display())]);
    story.says("takes no user such as \"--home=");
    assert!(world.pushes().is_empty(), "{:#?}", world.pushes());
}
