//! `ssh-eic sync`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use sandbox::{Change, Fail, Instance, State, Switches};

use crate::world::{CommandOutput, World, finish, spawn};

#[test]
fn the_same_fleet_gives_the_same_bytes_and_nothing_is_written() {
    let world = World::new();
    let before: Vec<_> = ["hosts", "hook", "guard"]
        .map(|name| fs::metadata(world.eic_folder().join(name)).unwrap().modified().unwrap())
        .into();
    world.eic(&["sync"]).ok();
    let after: Vec<_> = ["hosts", "hook", "guard"]
        .map(|name| fs::metadata(world.eic_folder().join(name)).unwrap().modified().unwrap())
        .into();
    assert_eq!(before, after);
}

#[test]
fn several_sources_each_sign_with_their_own_profile() {
    let world = World::bare();
    world
        .sandbox
        .add(Instance::new("stage-web").account(sandbox::STAGING_ACCOUNT).region("us-east-1").address("10.1.0.1"))
        .unwrap();
    world.sandbox.add(Instance::new("prod-db").tag("Role", "db").address("10.0.5.1")).unwrap();
    world.write(
        ".config/ssh-eic/config.toml",
        "[[source]]\nprofile = \"prod\"\nregions = [\"eu-west-1\"]\ntags = { Role = [\"db\", \"cache\"] }\n[[source]]\nprofile = \"staging\"\n",
    );
    // Keys in the environment are for sources without a profile; here they would be of no account at all.
    let mut command = world.sandbox.command("ssh-eic");
    command.arg("sync").env("AWS_ACCESS_KEY_ID", "AKIAWRONG0000000TEST").env("AWS_SECRET_ACCESS_KEY", "x");
    crate::world::run(command).ok();
    assert_eq!(world.eic(&["list", "--names"]).ok(), "prod-db\nstage-web\n");
    assert_eq!(world.ssh(&["stage-web", "echo $SSH_EIC_INSTANCE"]).ok().len(), "i-0123456789abcdef0\n".len());
    let push = world.pushes().pop().unwrap();
    assert_eq!((push.account.as_str(), push.region.as_str()), (sandbox::STAGING_ACCOUNT, "us-east-1"));
}

#[test]
fn a_source_that_fails_keeps_its_hosts_and_does_not_stop_the_others() {
    let world = World::bare();
    world
        .sandbox
        .add(Instance::new("stage-web").account(sandbox::STAGING_ACCOUNT).region("us-east-1").address("10.1.0.1"))
        .unwrap();
    world.write(".config/ssh-eic/config.toml", "[[source]]\nprofile = \"staging\"\n[[source]]\nprofile = \"prod\"\n");
    world.eic(&["sync"]).ok();
    world.sandbox.add(Instance::new("prod-new").address("10.0.9.9")).unwrap();
    let deny = vec![format!("DescribeInstances@{}", sandbox::STAGING_ACCOUNT)];
    world.switch(Switches { deny: Some(deny), ..Switches::default() });
    let output = world.eic(&["sync"]);
    output
        .fails_with(6)
        .says("source \"staging\": AWS denies ec2:DescribeInstances")
        .says("ssh-eic: the hosts of these sources are unchanged\n");
    assert_eq!(world.eic(&["list", "--names"]).ok(), "prod-new\nprod-web-1\nprod-web-2\nstage-web\n");
}

#[test]
fn credentials_of_another_account_than_before_are_an_error() {
    let world = World::new();
    let credentials = world.read(".aws/credentials").replace(&world.access_key("prod"), &world.access_key("staging"));
    world.write(".aws/credentials", &credentials);
    world.eic(&["sync"]).fails_with(5).says("has credentials for account 444455556666, not for 111122223333");
    assert_eq!(world.eic(&["list", "--names"]).ok(), "prod-web-1\nprod-web-2\n");
}

#[test]
fn stopped_windows_and_skipped_instances_are_reported() {
    let world = World::bare();
    world.sandbox.add(Instance::new("old").state(State::Stopped).address("10.0.4.1")).unwrap();
    world.sandbox.add(Instance::new("dead").state(State::Terminated).address("10.0.4.2")).unwrap();
    world.sandbox.add(Instance::new("desktop").windows().address("10.0.4.3")).unwrap();
    world.sandbox.add(Instance::new("bad").tag("ssh-eic:port", "22; rm").address("10.0.4.4")).unwrap();
    world.sandbox.add(Instance::new("").address("10.0.4.5")).unwrap();
    let output = world.eic(&["init", "--profile", "prod"]);
    output
        .says("skipped 1 Windows")
        .says("tag ssh-eic:port is not a port number")
        .says("without a name: 1 instance")
        .ok();
    assert_eq!(world.eic(&["list", "--names"]).ok(), "old\nprod-web-1\nprod-web-2\n");
}

#[test]
fn only_the_selected_source_is_queried() {
    let world = World::bare();
    world.write(".config/ssh-eic/config.toml", "[[source]]\nprofile = \"staging\"\n[[source]]\nprofile = \"prod\"\n");
    world.eic(&["sync"]).ok();
    world.sandbox.clear_calls().unwrap();
    world.eic(&["sync", "--source", "staging"]).ok();
    assert!(world.sandbox.calls().unwrap().iter().all(|call| call.account == sandbox::STAGING_ACCOUNT));
    assert_eq!(world.eic(&["list", "--names"]).ok(), "prod-web-1\nprod-web-2\n");
    world.eic(&["sync", "--source", "nope"]).fails_with(2).says("there is no source \"nope\"").says("staging, prod");
    world.eic(&["sync", "--source", "prdo"]).fails_with(2).says("there is no source \"prdo\"; did you mean prod?\n");
}

#[test]
fn a_fresh_index_is_not_rebuilt() {
    let world = World::new();
    world.eic(&["sync", "--if-older-than", "10m"]).ok();
    assert!(world.sandbox.calls().unwrap().is_empty());
    world.eic(&["sync", "--if-older-than", "0s"]).ok();
    assert!(!world.sandbox.calls().unwrap().is_empty());
}

#[test]
fn an_ssh_config_that_ssh_rejects_is_reported_and_nothing_is_written() {
    let world = World::bare();
    world.write(".config/ssh-eic/config.toml", "[[source]]\nprofile = \"prod\"\n");
    for (content, words) in [
        ("Host x\n    NoSuchOption yes\n", "/.ssh/config:2: Bad configuration option: nosuchoption"),
        ("\u{feff}Host x\n", "byte-order mark"),
    ] {
        world.write(".ssh/config", content);
        world.eic(&["sync"]).fails_with(3).says(words);
        assert_eq!(world.read(".ssh/config"), content);
    }
    world.write(".ssh/config", "Host x\n");
    fs::set_permissions(world.home().join(".ssh/config"), fs::Permissions::from_mode(0o664)).unwrap();
    world.eic(&["sync"]).fails_with(9).says("hint: chmod go-w");
    assert_eq!(world.read(".ssh/config"), "Host x\n");
}

#[test]
fn an_include_inside_a_block_is_reported_with_its_line() {
    let world = World::new();
    let config = format!("Host x\n{}", world.read(".ssh/config"));
    world.write(".ssh/config", &config);
    world.eic(&["sync"]).fails_with(3).says("config:3: the ssh-eic lines are inside the block of line 1");
    assert_eq!(world.read(".ssh/config"), config);
}

#[test]
fn concurrent_syncs_do_not_interleave() {
    let world = World::bare();
    world.write(".config/ssh-eic/config.toml", "[[source]]\nprofile = \"prod\"\n");
    let start = Instant::now();
    let children: Vec<_> = (0..8)
        .map(|n| {
            world.sandbox.add(Instance::new(&format!("more-{n}")).address(format!("10.0.20.{n}"))).unwrap();
            spawn(world.sandbox.command("ssh-eic").arg("sync"))
        })
        .collect();
    for child in children {
        finish(child, "ssh-eic sync".to_owned(), start).ok();
    }
    assert_eq!(world.eic(&["list", "--names"]).ok().lines().count(), 10, "the last to finish has seen all");
    assert_eq!(world.read(".ssh/config").lines().count(), 2);
    assert!(world.ssh(&["-G", "prod-web-2"]).ok().contains("hostname 10.0.3.8\n"));
}

#[test]
fn the_config_follows_the_fleet() {
    let world = World::new();
    world.sandbox.update(&world.web1, Change { address: Some("10.0.3.99".to_owned()), ..Change::default() }).unwrap();
    world.sandbox.remove(&world.web2).unwrap();
    world.eic(&["sync"]).ok();
    assert!(world.ssh(&["-G", "prod-web-1"]).ok().contains("hostname 10.0.3.99\n"));
    assert!(world.ssh(&["-G", "prod-web-2"]).ok().contains("hostname prod-web-2\n"));
}

#[test]
fn an_error_of_aws_is_retried_and_then_reported() {
    let world = World::bare();
    let fail = |times| Fail { status: 503, code: "Unavailable".to_owned(), message: String::new(), times };
    world.fail("DescribeInstances", fail(Some(2)));
    world.eic(&["init", "--profile", "prod"]).ok();
    world.fail("DescribeInstances", fail(None));
    world.eic(&["sync"]).fails_with(7).says("AWS failed in eu-west-1 (503 Unavailable)");
}

#[test]
fn an_ssh_that_is_too_old_is_rejected_with_a_message() {
    let mut world = World::bare();
    let bin = world.home().join("bin");
    world.write("bin/ssh", "#!/bin/sh\necho 'OpenSSH_8.2p1 Ubuntu-4ubuntu0.11, OpenSSL 1.1.1f' >&2\n");
    fs::set_permissions(bin.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    world.sandbox.path_with(&bin);
    world.eic(&["init", "--profile", "prod"]).fails_with(3).says("OpenSSH 8.2; ssh-eic needs 8.7 or newer");
}

#[test]
fn a_sync_that_is_killed_at_any_moment_leaves_complete_files() {
    let world = World::new();
    for n in 0..25_u64 {
        world.sandbox.add(Instance::new(&format!("more-{n}")).address(format!("10.0.20.{n}"))).unwrap();
        let mut child = spawn(world.sandbox.command("ssh-eic").arg("sync"));
        std::thread::sleep(std::time::Duration::from_millis(10 + n * 7));
        child.kill().unwrap();
        child.wait().unwrap();
        for (file, end) in [
            ("hosts", "accept-new\n"),
            ("hook", "\"\n"),
            ("guard", "Match all\n"),
            ("users", "a user name.\n"),
            ("ids", "%p\n"),
            ("main", "hook\n"),
        ] {
            assert!(world.read(&format!(".ssh/eic/{file}")).ends_with(end), "{file} is cut short");
        }
        assert!(world.ssh(&["-G", "prod-web-1"]).ok().contains("hostname 10.0.3.7\n"));
        world.eic(&["list"]).ok();
    }
    world.eic(&["sync"]).ok();
    assert_eq!(world.eic(&["list", "--names"]).ok().lines().count(), 27);
}

#[test]
fn a_failed_sync_does_not_make_the_index_fresh() {
    let world = World::new();
    world.deny("*");
    world.age(".local/state/ssh-eic/index", 0);
    world.eic(&["sync"]).fails_with(6);
    world.sandbox.reset_switches().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    world.sandbox.clear_calls().unwrap();
    world.eic(&["sync", "--if-older-than", "1s"]).ok();
    assert!(!world.sandbox.calls().unwrap().is_empty());
}

#[test]
fn a_missing_config_file_given_by_the_environment_is_an_error() {
    let world = World::bare();
    world.eic(&["--config", "nope.toml", "sync"]).fails_with(3).says("there is no config file").says("nope.toml");
}

#[test]
fn a_config_folder_of_the_environment_without_a_file_means_the_defaults() {
    let world = World::bare();
    let mut command = world.sandbox.command("ssh-eic");
    command.arg("sync").env("XDG_CONFIG_HOME", world.home().join("conf"));
    crate::world::run(command).ok();
    world.ssh(&["prod-web-1", "true"]).ok();
}

#[test]
fn the_state_folder_of_the_environment_reaches_what_ssh_starts() {
    let world = World::bare();
    let mut command = world.sandbox.command("ssh-eic");
    let state = world.home().join("state");
    command
        .args(["init", "--profile", "prod"])
        .env("XDG_STATE_HOME", &state)
        .env("XDG_CONFIG_HOME", world.home().join("conf"));
    crate::world::run(command).ok();
    // ssh is started without the variables, as from an editor or cron.
    assert_eq!(world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web1));
    assert!(state.join("ssh-eic/pushes.jsonl").exists());
}

#[test]
fn a_required_rsa_size_that_excludes_the_generated_key_is_reported() {
    let world = World::new();
    if world.ssh(&["-G", "-o", "RequiredRSASize=3072", "prod-web-1"]).code != Some(0) {
        // Before 9.1 ssh has no such option.
        return;
    }
    let config = world.read(".config/ssh-eic/config.toml");
    let own = world.read(".ssh/config");
    world.write(".ssh/config", &format!("{own}Host *\n    RequiredRSASize 3072\n"));
    let output = world.eic(&["sync"]);
    output.ok();
    assert!(!output.stderr.contains("RequiredRSASize"), "the keys are Ed25519\n{output}");
    world.write(".config/ssh-eic/config.toml", &format!("[defaults]\nkey_type = \"rsa\"\n{config}"));
    world.write(".ssh/config", &format!("{own}# rsa\nHost *\n    RequiredRSASize 3072\n"));
    world.eic(&["sync"]).says("RequiredRSASize 3072, so the RSA key of ssh-eic (2048 bits) is not offered").ok();
}

/// The user's config with a `Match exec` that hangs, and the file that has its process id.
fn with_hanging_exec(world: &World) {
    let own = world.read(".ssh/config");
    let hang = world.home().join("hang");
    world.write("hang", "#!/bin/sh\necho $$ >\"$0.pid.new\" && mv \"$0.pid.new\" \"$0.pid\"\nexec sleep 1000\n");
    world.sh("chmod +x hang").ok();
    world.write(".ssh/config", &format!("{own}Match exec {}\n    User x\n", hang.display()));
}

#[track_caller]
fn is_gone_soon(world: &World) {
    let pid = world.read("hang.pid");
    let start = std::time::Instant::now();
    let is_running = || {
        // A process that has ended and has not been waited for has no command line.
        std::fs::read(format!("/proc/{}/cmdline", pid.trim())).is_ok_and(|line| !line.is_empty())
    };
    while is_running() {
        assert!(start.elapsed() < std::time::Duration::from_mins(1), "the Match exec still runs");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_match_exec_of_the_user_that_hangs_ends_with_the_timeout() {
    let world = World::new();
    with_hanging_exec(&world);
    let before = world.read(".ssh/eic/hosts");
    world.sandbox.add(Instance::new("prod-db").address("10.0.5.1")).unwrap();
    world
        .eic(&["sync"])
        .says("did not finish within 10 s")
        .says("Match exec in your ssh config that hangs")
        .fails_with(3);
    is_gone_soon(&world);
    assert_eq!(world.read(".ssh/eic/hosts"), before);
}

#[test]
fn a_sync_that_is_ended_by_a_signal_leaves_no_process_behind() {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let world = World::new();
        with_hanging_exec(&world);
        let mut command = world.sandbox.command("ssh-eic");
        // Exec of the sandbox's own wrapper: the process that is started is the one to signal.
        command.arg("sync");
        let start = std::time::Instant::now();
        let child = crate::world::spawn(&mut command);
        while !world.home().join("hang.pid").exists() {
            assert!(start.elapsed() < std::time::Duration::from_mins(1), "the Match exec does not run");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let processes = world.processes();
        for (folder, _) in processes.iter().filter(|(_, line)| line.contains("ssh-eic sync")) {
            let pid = folder.file_name().and_then(|name| name.to_str()?.parse().ok());
            let pid = pid.and_then(rustix::process::Pid::from_raw).expect("a process id");
            rustix::process::kill_process(pid, signal).expect("a signal");
        }
        let output = crate::world::finish(child, "ssh-eic sync".to_owned(), start);
        assert_ne!(output.code, Some(0), "{output}");
        is_gone_soon(&world);
    }
}

#[test]
fn entries_of_terminated_instances_are_removed_from_known_hosts_and_no_others() {
    let world = World::new();
    for host in ["prod-web-1", "prod-web-2"] {
        world.ssh(&[host, "true"]).ok();
    }
    let unknown = "i-0123456789abcdef0 ssh-ed25519 AAAA\n";
    world.write(".ssh/eic/known_hosts", &(world.read(".ssh/eic/known_hosts") + unknown));
    world.write(".ssh/eic/known_hosts.console", &format!("{} ssh-ed25519 AAAA\n{unknown}", world.web1));
    let before = world.read(".ssh/eic/known_hosts");
    assert!(before.contains(&world.web1) && before.contains(&world.web2), "{before}");
    // Stopped: it still exists. Not answered: nothing is known of it.
    let state = |state| Change { state: Some(state), ..Change::default() };
    world.sandbox.update(&world.web1, state(State::Stopped)).unwrap();
    world.eic(&["sync"]).ok();
    world.sandbox.update(&world.web1, state(State::Terminated)).unwrap();
    world.deny("DescribeInstances");
    world.eic(&["sync"]);
    assert_eq!(world.read(".ssh/eic/known_hosts"), before);
    world.sandbox.reset_switches().unwrap();
    world.eic(&["sync"]).ok();
    let kept: String = before.split_inclusive('\n').filter(|line| !line.starts_with(&world.web1)).collect();
    assert_eq!(world.read(".ssh/eic/known_hosts"), kept);
    assert_eq!(world.read(".ssh/eic/known_hosts.console"), unknown);
}

#[test]
fn images_that_another_user_could_have_written_set_no_user() {
    let world = World::bare();
    let mut instance = Instance::new("imaged").address("10.0.5.9");
    instance.image = sandbox::UBUNTU.to_owned();
    world.sandbox.add(instance).unwrap();
    world.eic(&["init", "--profile", "prod", "--region", "eu-west-1"]).ok();
    let user = || {
        let json: serde_json::Value = serde_json::from_str(world.eic(&["list", "--json", "imaged"]).ok()).unwrap();
        json[0]["user"].as_str().unwrap().to_owned()
    };
    let before = user();
    let path = ".cache/ssh-eic/images.json";
    let forged = world.read(path).replace("ubuntu", "al2023-ami").replace("099720109477", "137112412989");
    assert_ne!(forged, world.read(path));
    world.write(path, &forged);
    world.sh(&format!("chmod 666 {path}")).ok();
    world.eic(&["sync"]).ok();
    assert_eq!(user(), before);
}

#[test]
fn a_trial_folder_of_a_killed_sync_is_removed_by_the_next_one() {
    let world = World::new();
    world.write(".ssh/eic/.ssh-eic-trial-abcDEF/hosts", "");
    // Also by one that fails later.
    let config = world.read(".ssh/config");
    world.write(".ssh/config", &format!("{config}Nonsense here\n"));
    world.eic(&["sync"]);
    assert!(!world.eic_folder().join(".ssh-eic-trial-abcDEF").exists());
    world.write(".ssh/eic/trial-of-mine", "");
    world.write(".ssh/config", &config);
    world.eic(&["sync"]).ok();
    assert!(world.eic_folder().join("trial-of-mine").exists());
}

#[test]
fn a_sync_ends_with_what_it_changed() {
    let world = World::new();
    let last = |output: &CommandOutput| output.stderr.lines().last().unwrap_or_default().to_owned();
    world.sandbox.remove(&world.web1).unwrap();
    world.sandbox.add(Instance::new("db").address("10.0.4.1")).unwrap();
    let tags = std::collections::BTreeMap::from([("Name".to_owned(), Some("api".to_owned()))]);
    world.sandbox.update(&world.web2, Change { tags, ..Change::default() }).unwrap();
    let output = world.eic(&["sync"]);
    output.says("ssh-eic: removed prod-web-1\n").says("ssh-eic: renamed prod-web-2 -> api\n").ok();
    assert_eq!(last(&output), "ssh-eic: 2 hosts (+1 -1, 1 renamed) from prod", "{output}");
    let output = world.eic(&["sync"]);
    assert_eq!(last(&output), "ssh-eic: 2 hosts from prod", "{output}");
}

#[test]
fn settings_that_match_nothing_are_warned_about() {
    let world = World::bare();
    let sync = |text: &str| {
        world.write(".config/ssh-eic/config.toml", &format!("[[source]]\nprofile = \"prod\"\n{text}"));
        world.eic(&["sync"])
    };
    sync("alias = \"{Naem}\"\n").says("ssh-eic: warning: prod: no instance has the tag Naem, which alias uses\n").ok();
    sync("[[host]]\nmatch = \"prdo-*\"\nuser = \"deploy\"\n")
        .says("ssh-eic: warning: [[host]] match prdo-* matches no host\n")
        .ok();
    let typo = "no instance has the tag Name = \"prod-wbe-1\"; did you mean \"prod-web-1\"?";
    let output = sync("tags = { Name = \"prod-wbe-1\" }\n");
    output.says(&format!("ssh-eic: warning: prod: no instance matches: {typo}\n")).ok();
}

#[test]
fn verbose_sync_names_source_region_filters_and_pages() {
    let world = World::bare();
    let config = "[[source]]\nprofile = \"prod\"\nregions = [\"eu-west-1\"]\ntags = { Name = [\"prod-*\", \"x\"] }\n";
    world.write(".config/ssh-eic/config.toml", config);
    let output = world.eic(&["sync", "-v"]);
    output.says(
        "ssh-eic: debug: source \"prod\": ec2:DescribeInstances in eu-west-1 with profile \"prod\", filters \
         instance-state-name = pending|running|shutting-down|stopping|stopped, tag:Name = prod-*|x\n",
    );
    output.says("ssh-eic: debug: source \"prod\": 2 instances on 1 page in eu-west-1\n").ok();
    assert!(!world.eic(&["sync"]).stderr.contains("DescribeInstances"));
}
