//! What hosts have otherwise: who is left out, the OS user of an image, `[defaults]`, `[[host]]` and `[ssh]`.

use sandbox::{
    ACCOUNT, AMAZON_LINUX, DEBIAN, Image, Instance, Network, RHEL, STAGING_ACCOUNT, Switches, UBUNTU, needs_namespaces,
};

use crate::sources::{calls_of, configure, listed, pairs};
use crate::world::World;

/// What `ssh -G` says of one option.
fn option(world: &World, host: &str, keyword: &str) -> String {
    let output = world.ssh(&["-G", host]);
    let values = output.ok().lines().filter_map(|line| line.strip_prefix(keyword)?.strip_prefix(' '));
    values.collect::<Vec<_>>().join("\n")
}

/// An instance on no network that a test could reach, so that the sandbox leaves its tags alone.
fn away(name: &str, image: &str) -> Instance {
    let mut instance = Instance::new(name).network(Network::Away);
    image.clone_into(&mut instance.image);
    instance
}

fn image(world: &World, id: &str, name: &str) {
    let image = Image {
        id: id.to_owned(),
        name: name.to_owned(),
        owner: ACCOUNT.to_owned(),
        owner_alias: String::new(),
        description: String::new(),
    };
    world.sandbox.add_image(image).unwrap();
}

const PROD: &str = "[[source]]\nprofile = \"prod\"\n";

#[test]
fn excluded_and_ignored_instances_are_left_out() {
    let world = World::bare();
    for (name, environment) in [("edge-fw", "prod"), ("lab-fw", "lab"), ("edge-web", "prod")] {
        world.sandbox.add(Instance::new(name).tag("Environment", environment)).unwrap();
    }
    world.sandbox.add(Instance::new("mute").tag("ssh-eic:ignore", "")).unwrap();
    configure(&world, &format!("{PROD}exclude = {{ Name = \"*-fw\", Environment = [\"prod\", \"x\"] }}\n"));
    world.eic(&["sync"]).ok();
    assert_eq!(world.eic(&["list", "--names"]).ok(), "edge-web\nlab-fw\nprod-web-1\nprod-web-2\n");
    assert_eq!(option(&world, "edge-fw", "hostname"), "edge-fw");
}

#[test]
fn defaults_apply_to_sources_without_own_settings() {
    let world = World::bare();
    let stage = |name: &str| away(name, UBUNTU).account(STAGING_ACCOUNT).region("us-east-1");
    for instance in [away("web", UBUNTU), away("edge-fw", UBUNTU), stage("stage-web"), stage("stage-fw")] {
        world.sandbox.add(instance).unwrap();
    }
    configure(
        &world,
        "[defaults]\nuser = \"deploy\"\nport = 2222\nexclude = { Name = [\"*-fw\", \"prod-*\"] }\n\
         [[source]]\nprofile = \"prod\"\n[[source]]\nprofile = \"staging\"\nuser = \"auto\"\nexclude = {}\n",
    );
    world.eic(&["sync"]).ok();
    let users = listed(&world, "user");
    assert_eq!(pairs(&users), [("stage-fw", "ubuntu"), ("stage-web", "ubuntu"), ("web", "deploy")]);
    assert_eq!(option(&world, "web", "port"), "2222");
    assert_eq!(option(&world, "stage-web", "port"), "2222");
}

#[test]
fn the_user_is_derived_from_the_image_and_a_tag_has_precedence() {
    let world = World::bare();
    image(&world, "ami-0c6666666666666cc", "corp-golden-ubuntu-2204-v17");
    image(&world, "ami-0c7777777777777cc", "our secret recipe");
    let tagged = away("tagged", UBUNTU).user("deploy");
    for instance in [
        tagged,
        away("amazon", AMAZON_LINUX),
        away("ubuntu", UBUNTU),
        away("debian", DEBIAN),
        away("rhel", RHEL),
        away("golden", "ami-0c6666666666666cc"),
        away("secret", "ami-0c7777777777777cc"),
        away("gone", "ami-0c8888888888888cc"),
        away("desktop", "").windows(),
    ] {
        world.sandbox.add(instance).unwrap();
    }
    configure(&world, PROD);
    world.eic(&["sync"]).says("skipped 1 Windows instance").ok();
    for (host, user) in [
        ("amazon", "ec2-user"),
        ("ubuntu", "ubuntu"),
        ("debian", "admin"),
        ("rhel", "ec2-user"),
        ("golden", "ubuntu"),
        ("secret", "ec2-user"),
        ("gone", "ec2-user"),
        ("tagged", "deploy"),
    ] {
        assert_eq!(option(&world, host, "user"), user, "{host}");
    }
    assert!(!world.eic(&["list", "--names"]).ok().contains("desktop"));
}

#[needs_namespaces]
#[test]
fn a_login_by_name_or_id_uses_the_user_of_the_image() {
    let world = World::bare();
    let one = |name: &str, image: &str, address: &str| {
        let instance = away(name, image).network(Network::Ok).address(address);
        world.sandbox.add(instance).unwrap()
    };
    let (ubuntu, debian) = (one("ubuntu", UBUNTU, "10.6.0.1"), one("debian", DEBIAN, "10.6.0.2"));
    configure(&world, PROD);
    world.eic(&["sync"]).ok();
    for (host, user) in [("ubuntu", "ubuntu"), (&ubuntu, "ubuntu"), ("debian", "admin"), (&debian, "admin")] {
        assert_eq!(world.ssh(&[host, "id -un"]).ok(), format!("{user}\n"), "{host}");
    }
}

#[test]
fn images_are_described_once() {
    let world = World::bare();
    for n in 0..30 {
        world.sandbox.add(away(&format!("web-{n}"), [UBUNTU, DEBIAN, RHEL, "ami-0c8888888888888cc"][n % 4])).unwrap();
    }
    configure(&world, PROD);
    world.eic(&["sync"]).ok();
    assert_eq!(calls_of(&world, "DescribeImages").len(), 1, "one for all");
    world.eic(&["sync"]).ok();
    assert_eq!(calls_of(&world, "DescribeImages").len(), 1, "also one that there is none");
    image(&world, "ami-0c9999999999999cc", "corp-ubuntu");
    world.sandbox.add(away("new", "ami-0c9999999999999cc")).unwrap();
    world.eic(&["sync"]).ok();
    let asked = calls_of(&world, "DescribeImages").pop().unwrap();
    assert_eq!(asked.params["Filter.1.Value.1"].as_str(), Some("ami-0c9999999999999cc"));
    assert!(asked.params.get("Filter.1.Value.2").is_none(), "only what is not known yet: {asked:?}");
    assert_eq!(option(&world, "new", "user"), "ubuntu");
}

#[test]
fn if_images_cannot_be_described_the_known_users_are_kept() {
    let world = World::bare();
    world.sandbox.add(away("old", UBUNTU)).unwrap();
    configure(&world, PROD);
    world.eic(&["sync"]).ok();
    std::fs::remove_file(world.home().join(".cache/ssh-eic/images.json")).unwrap();
    world.sandbox.add(away("new", UBUNTU)).unwrap();
    world.deny("DescribeImages");
    let output = world.eic(&["sync"]);
    output.says("warning: AWS denies ec2:DescribeImages").says("to set them, use user in config.toml").ok();
    assert_eq!(output.stderr.matches("DescribeImages").count(), 1, "{output}");
    assert_eq!((option(&world, "old", "user"), option(&world, "new", "user")), ("ubuntu".into(), "ec2-user".into()));
    world.sandbox.reset_switches().unwrap();
    world.eic(&["sync"]).ok();
    assert_eq!(option(&world, "new", "user"), "ubuntu", "as soon as AWS tells");
}

#[test]
fn a_denied_describe_images_in_one_account_does_not_affect_another() {
    let world = World::bare();
    world.sandbox.add(away("one", UBUNTU)).unwrap();
    world.sandbox.add(away("two", UBUNTU).account(STAGING_ACCOUNT).region("us-east-1")).unwrap();
    configure(&world, &format!("{PROD}[[source]]\nprofile = \"staging\"\n"));
    world.switch(Switches {
        deny: Some(vec![format!("DescribeImages@{ACCOUNT}")]),
        latency_ms: [(format!("DescribeInstances@{STAGING_ACCOUNT}"), 500)].into(),
        ..Switches::default()
    });
    world.eic(&["sync"]).ok();
    assert_eq!(option(&world, "two", "user"), "ubuntu");
}

#[test]
fn the_first_matching_host_table_is_used() {
    let world = World::bare();
    for name in ["db-1", "db-9", "web-1"] {
        world.sandbox.add(away(name, AMAZON_LINUX)).unwrap();
    }
    configure(
        &world,
        &format!(
            "{PROD}[[host]]\nmatch = [\"db-*\", \"!db-9\"]\nuser = \"deploy\"\nport = 2222\n\
             options = {{ ForwardAgent = \"yes\", ServerAliveInterval = \"7\" }}\n\
             [[host]]\nmatch = \"db-*\"\nuser = \"admin\"\n[ssh]\noptions = {{ ServerAliveInterval = \"30\" }}\n"
        ),
    );
    world.eic(&["sync"]).ok();
    let id = listed(&world, "id").into_iter().find(|(alias, _)| alias == "db-1").unwrap().1;
    for (host, options) in [
        ("db-1", ["deploy", "2222", "yes", "7"]),
        (&id, ["deploy", "2222", "yes", "7"]),
        ("db-9", ["admin", "22", "no", "30"]),
        ("web-1", ["ec2-user", "22", "no", "30"]),
    ] {
        let found = ["user", "port", "forwardagent", "serveraliveinterval"].map(|key| option(&world, host, key));
        assert_eq!(found, options, "{host}");
    }
}

#[test]
fn options_in_config_toml_override_generated_ones() {
    let world = World::bare();
    let options = "[ssh]\noptions = { ServerAliveInterval = \"30\", StrictHostKeyChecking = \"yes\" }\n";
    configure(&world, &format!("{PROD}{options}"));
    world.eic(&["sync"]).ok();
    for host in ["prod-web-1", world.web2.as_str()] {
        assert_eq!(option(&world, host, "serveraliveinterval"), "30", "{host}");
        assert!(["yes", "true"].contains(&option(&world, host, "stricthostkeychecking").as_str()), "{host}");
    }
    world.ssh(&["prod-web-1", "true"]).fails_with(255).says("Host key verification failed");
    configure(&world, PROD);
    world.eic(&["sync"]).ok();
    world.ssh(&["prod-web-1", "true"]).ok();
}

#[test]
fn an_option_that_ssh_does_not_take_is_named_and_nothing_is_written() {
    let world = World::bare();
    let rule = |options: &str| format!("{PROD}[[host]]\nmatch = \"prod-*\"\noptions = {options}\n");
    let general = |options: &str| format!("{PROD}[ssh]\noptions = {options}\n");
    let unknown = "{ ServerAliveInterval = \"30\", NoSuchOption = \"1\" }";
    let wrong = "{ ServerAliveInterval = \"soon\" }";
    for (text, words) in [
        (general(unknown), "NoSuchOption"),
        (rule(unknown), "NoSuchOption"),
        (general(wrong), "ServerAliveInterval = \"soon\""),
        (general("{ ProxyCommand = \"nc\" }"), "ProxyCommand cannot be set here"),
        (rule("{ User = \"x\" }"), "set user next to options"),
    ] {
        configure(&world, &text);
        world.eic(&["sync"]).fails_with(3).says("config.toml").says(words);
        assert!(!world.eic_folder().join("hosts").exists() && !world.home().join(".ssh/config").exists(), "{text}");
        assert!(!world.home().join(".local/state/ssh-eic/index").exists(), "{text}");
    }
    configure(&world, PROD);
    world.eic(&["sync"]).ok();
    let before = world.read(".ssh/eic/hosts");
    configure(&world, &general(unknown));
    world.eic(&["sync"]).fails_with(3).says("NoSuchOption");
    assert_eq!(world.read(".ssh/eic/hosts"), before);
    // What is refused is the config, not the last good one that ssh has.
    world.ssh(&["-G", "prod-web-1"]).ok();
}

#[test]
fn hosts_without_a_block_are_listed_and_reached_by_id() {
    let world = World::bare();
    let id = world.sandbox.add(Instance::new("batch-1").address("10.7.0.1")).unwrap();
    configure(&world, &format!("{PROD}[ssh]\nhosts = [\"prod-*\", \"!prod-web-2\"]\n"));
    world.eic(&["sync"]).ok();
    assert_eq!(world.eic(&["list", "--names"]).ok(), "batch-1\nprod-web-1\nprod-web-2\n");
    for (host, address) in [("batch-1", "batch-1"), ("prod-web-2", "prod-web-2")] {
        assert_eq!(option(&world, host, "hostname"), address);
        assert!(!world.read(".ssh/eic/hosts").contains(&format!("Host {host}")), "{host}");
    }
    for (host, id) in [("prod-web-1", &world.web1), (world.web2.as_str(), &world.web2), (id.as_str(), &id)] {
        assert_eq!(world.ssh(&[host, "echo $SSH_EIC_INSTANCE"]).ok(), format!("{id}\n"));
    }
}
