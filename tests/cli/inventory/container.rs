//! `inventory --self-contained`: all that ssh needs is in the inventory, for containers that live for one job and run
//! under any user id.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::playbooks::has_synchronize;
use super::{collections, example, list, world_for_ansible};
use crate::world::{CommandOutput, World, binary, run};

/// A user id that nobody has.
const UID: u32 = 100_100;

/// A container as far as it matters here: a home of its own with nothing in it, credentials in the environment, the
/// program and the example on read-only ground, and an arbitrary user of the group root.
struct Container<'a> {
    world: &'a World,
    home: PathBuf,
}

/// What all containers of one image have.
fn image(world: &World) -> PathBuf {
    let image = world.sandbox.dir().join("image");
    if !image.exists() {
        fs::create_dir(&image).unwrap();
        fs::copy(binary(), image.join("ssh-eic")).unwrap();
        for file in ["ansible.cfg", "self-contained/ssh_eic"] {
            fs::copy(example().join(file), image.join(Path::new(file).file_name().unwrap())).unwrap();
        }
    }
    image
}

impl<'a> Container<'a> {
    fn new(world: &'a World, name: &str) -> Self {
        image(world);
        let home = world.sandbox.dir().join(name);
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o770)).unwrap();
        chown(&home, Some(UID), Some(0)).unwrap();
        Self { world, home }
    }

    /// The folder of `SSH_EIC_HOME`.
    fn eic(&self) -> PathBuf {
        self.home.join("e i c")
    }

    fn run(&self, script: &str) -> CommandOutput {
        let image = image(self.world);
        let key = self.world.sandbox.credential("prod").expect("a profile");
        let mut command = self.world.sandbox.command("setpriv");
        command.args(["--reuid", &UID.to_string(), "--regid", "0", "--clear-groups"]);
        command.args(["sh", "-c", &format!("cd && {script}")]);
        command.env_remove("USER").env_remove("LOGNAME").env("HOME", &self.home).env("SSH_EIC_HOME", self.eic());
        command.env("PATH", format!("{}:/usr/bin:/bin", image.display())).env("IMAGE", &image);
        command.env("ANSIBLE_CONFIG", image.join("ansible.cfg")).env("ANSIBLE_INVENTORY", image.join("ssh_eic"));
        command.env("AWS_REGION", "eu-west-1").env("AWS_ACCESS_KEY_ID", &key.access_key_id);
        command.env("AWS_SECRET_ACCESS_KEY", &key.secret_access_key);
        run(command)
    }
}

/// What the entry point of such an image does for the user that it finds itself to be.
fn enter_into_passwd(world: &World) {
    world.sh(&format!("echo 'runner:x:{UID}:0::/nonexistent:/bin/sh' >>/etc/passwd")).ok();
}

#[sandbox::needs_namespaces]
#[test]
fn a_play_runs_in_an_empty_home_under_any_user_id() {
    let Some(world) = world_for_ansible() else { return };
    enter_into_passwd(&world);
    let container = Container::new(&world, "one");
    let ping = container.run("ansible all -m ping");
    assert_eq!(ping.ok().matches("\"ping\": \"pong\"").count(), 2, "{ping}");
    let told = container.run("ansible all -m shell -a 'echo $SSH_EIC_INSTANCE is {{ ssh_eic_id }}'");
    for id in [&world.web1, &world.web2] {
        assert!(told.ok().contains(&format!("{id} is {id}\n")), "{told}");
    }
    assert_eq!(world.pushes().len(), 2, "{:#?}", world.pushes());
    // By instance, whatever the name: nothing of ours or of ssh's is in another place.
    let known = fs::read_to_string(container.eic().join("known_hosts")).unwrap();
    assert!(known.contains(&world.web1) && known.contains(&world.web2), "{known}");
    assert!(container.eic().join(format!("cm/{}-22-ec2-user", world.web1)).exists());
    assert!(!container.home.join(".ssh").exists());
}

/// As AWX does it: one container exports the inventory, another one runs the job.
#[sandbox::needs_namespaces]
#[test]
fn an_inventory_from_one_container_works_in_another() {
    let Some(world) = world_for_ansible() else { return };
    enter_into_passwd(&world);
    let first = Container::new(&world, "first");
    let exported = first.run("ansible-inventory --list --export");
    let kept = image(&world).join("exported");
    fs::write(&kept, format!("#!/bin/sh\ncat <<'END'\n{}END\n", exported.ok())).unwrap();
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_dir_all(&first.home).unwrap();
    let second = Container::new(&world, "second");
    let ping = second.run("ansible -i $IMAGE/exported all -m ping");
    assert_eq!(ping.ok().matches("\"ping\": \"pong\"").count(), 2, "{ping}");
    assert!(second.eic().join("known_hosts").exists() && !first.home.exists());
}

#[sandbox::needs_namespaces]
#[test]
fn without_an_entry_in_passwd_sync_reports_the_fix() {
    let Some(world) = world_for_ansible() else { return };
    let container = Container::new(&world, "one");
    container.run("ssh -V").fails_with(255).says("No user exists for uid");
    let output = container.run("ssh-eic sync");
    output.fails_with(9).says("ssh does not run for user id 100100").says(">>/etc/passwd");
}

#[sandbox::needs_namespaces]
#[test]
fn rsync_parses_the_options_as_ansible_does() {
    let Some(world) = world_for_ansible() else { return };
    if !has_synchronize(&world) {
        return;
    }
    // A user's own options are in it, and an empty home with a space in its name has nothing of ssh's.
    world.write(
        ".config/ssh-eic/config.toml",
        "[ssh]\noptions = { SetEnv = \"LC_NOTE=here\" }\n[[source]]\nprofile = \"prod\"\n",
    );
    world.eic(&["-q", "sync"]).ok();
    world.write(
        "inventory",
        &format!("#!/bin/sh\nHOME='{}' exec ssh-eic inventory --self-contained \"$@\"\n", world.home().display()),
    );
    fs::set_permissions(world.home().join("inventory"), fs::Permissions::from_mode(0o755)).unwrap();
    let home = world.home().join("an empty home");
    fs::create_dir_all(home.join(".aws")).unwrap();
    for file in ["config", "credentials"] {
        fs::copy(world.home().join(".aws").join(file), home.join(".aws").join(file)).unwrap();
    }
    let playbook = |name: &str| {
        let mut command = world.sandbox.command("ansible-playbook");
        command.arg(example().join(name)).args(["--limit", "prod-web-1", "-i"]).arg(world.home().join("inventory"));
        command.env("HOME", &home).env("ANSIBLE_CONFIG", example().join("ansible.cfg"));
        command.env("ANSIBLE_COLLECTIONS_PATH", collections());
        run(command)
    };
    playbook("synchronize.yml").ok();
    playbook("site.yml").ok();
    let users = world.sandbox.dir().join("users/ec2-user");
    assert!(users.join("from-rsync/hello.txt").exists() && users.join("hello.txt").exists());
    assert!(home.join(".ssh/eic/known_hosts").exists() && !home.join(".ssh/config").exists());
    assert!(!world.eic_folder().join("known_hosts").exists(), "its own home was not touched");
}

#[test]
fn the_options_are_those_of_the_self_contained_config() {
    let world = World::new();
    let vars = list(&world, &["--self-contained"])["_meta"]["hostvars"]["prod-web-1"].clone();
    assert_eq!(
        (&vars["ansible_user"], &vars["ansible_port"]),
        (&"ec2-user".into(), &list(&world, &[])["_meta"]["hostvars"]["prod-web-1"]["ssh_eic_port"])
    );
    assert_eq!(vars.get("ansible_host"), None);
    let arguments = vars["ansible_ssh_common_args"]["__ansible_unsafe"].as_str().expect("marked");
    let output =
        world.run("python3", &["-c", "import shlex, sys; print('\\n'.join(shlex.split(sys.argv[1])))", arguments]);
    let words: Vec<&str> = output.ok().lines().filter(|word| *word != "-o").collect();
    let file = world.eic(&["-q", "sync", "--output", "-"]);
    let block = file.ok().split("\nHost ").find(|block| block.starts_with("prod-web-1 ")).expect("its block");
    let folder = world.eic_folder();
    let expected: Vec<String> = block
        .lines()
        .skip(1)
        .filter_map(|line| line.trim().split_once(' '))
        .filter(|(keyword, _)| !["User", "Port"].contains(keyword))
        .map(|(keyword, value)| format!("{keyword}={}", value.replace(folder.to_str().unwrap(), "${HOME}/.ssh/eic")))
        .collect();
    assert_eq!(words[..2], ["-F", "/dev/null"]);
    // Quotes are more where a variable may hold a space.
    assert_eq!(words[2..].iter().map(|word| word.replace('"', "")).collect::<Vec<_>>(), expected);
}
