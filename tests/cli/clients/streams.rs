//! What editors do with one connection: forwards, a shell that reads its script from stdin, and hops through a host of
//! ours.

use std::time::Duration;

use sandbox::needs_namespaces;

use crate::world::World;

/// A key of the user's own that an instance accepts, for a host that is none of ours to reach.
fn own_key(world: &World, instance: &str) {
    world.sh("ssh-keygen -q -t ed25519 -N '' -f own").ok();
    world.sandbox.accept_key(instance, "ubuntu", &world.read("own.pub"), Duration::from_mins(5)).unwrap();
}

/// A host of the user's own behind prod-web-1.
fn with_inner() -> World {
    let world = World::new();
    own_key(&world, &world.web2);
    let inner = "Host inner\n    HostName 10.0.3.8\n    User ubuntu\n    IdentityFile ~/own\n    StrictHostKeyChecking accept-new\n    UserKnownHostsFile ~/own-hosts\n";
    world.write(".ssh/config", &(world.read(".ssh/config") + inner));
    world
}

#[needs_namespaces]
#[test]
fn an_editor_s_session_has_a_proxy_a_forward_and_the_agent() {
    let world = World::new();
    world.write(".ssh/config", &(world.read(".ssh/config") + "Host *\n    ForwardAgent yes\n"));
    // Visual Studio Code: `ssh -v -T -D PORT HOST bash`, and then the script on stdin; the forwards serve meanwhile.
    let script = "set -e; eval $(ssh-agent) >/dev/null; trap 'kill $SSH_AGENT_PID' EXIT
        ssh-keygen -q -t ed25519 -N '' -C mine -f own; ssh-add -q own; mkfifo in out
        ssh -v -T -D 1080 -L 8022:10.0.3.8:22 -o ControlMaster=no -o ConnectTimeout=15 prod-web-1 bash <in >out 2>log &
        exec 3>in 4<out
        echo 'echo ready $SSH_EIC_INSTANCE' >&3; read -r -t 60 line <&4; echo \"$line\"
        echo 'ssh-add -l | cut -d\" \" -f3' >&3; read -r -t 60 line <&4; echo \"agent has $line\"
        exec 5<>/dev/tcp/127.0.0.1/8022; read -r -n 7 -t 60 line <&5; echo \"forward: $line\"
        exec 6<>/dev/tcp/127.0.0.1/1080; printf '\\5\\1\\0' >&6; head -c 2 <&6 | od -An -tx1
        printf '\\5\\1\\0\\1\\12\\0\\3\\10\\0\\26' >&6; head -c 10 <&6 >/dev/null; read -r -n 7 -t 60 line <&6; echo \"socks: $line\"
        echo 'exit 7' >&3; exec 5>&- 6>&-; wait %1 || echo \"exit $?\"";
    let expected = format!("ready {}\nagent has mine\nforward: SSH-2.0\n 05 00\nsocks: SSH-2.0\nexit 7\n", world.web1);
    assert_eq!(world.sh(script).ok(), expected);
    assert_eq!(world.pushes().len(), 1);
    world.nothing_lingers(Duration::from_secs(5));
}

#[needs_namespaces]
#[test]
fn keys_of_an_agent_are_not_offered_and_the_pushed_key_is_not_added_to_it() {
    let world = World::new();
    world.write(".ssh/config", &(world.read(".ssh/config") + "Host *\n    AddKeysToAgent yes\n    ForwardAgent yes\n"));
    // Seven strangers ahead of ours would reach sshd's MaxAuthTries.
    let script = "eval $(ssh-agent) >/dev/null; trap 'kill $SSH_AGENT_PID' EXIT
        for n in 1 2 3 4 5 6 7; do ssh-keygen -q -t ed25519 -N '' -C mine -f own$n; ssh-add -q own$n; done
        ssh -A prod-web-1 'ssh-add -l | cut -d\" \" -f3 | uniq -c'; ssh-add -l | wc -l";
    assert_eq!(world.sh(script).ok().split_whitespace().collect::<Vec<_>>(), ["7", "mine", "7"]);
}

#[needs_namespaces]
#[test]
fn a_host_of_the_user_s_own_is_reached_through_an_instance() {
    let world = with_inner();
    assert_eq!(world.ssh(&["-J", "prod-web-1", "inner", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web2));
    let jump = world
        .read(".ssh/config")
        .replace("    IdentityFile ~/own\n", "    IdentityFile ~/own\n    ProxyJump prod-web-1\n");
    world.write(".ssh/config", &jump);
    assert_eq!(world.ssh(&["inner", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web2));
    let pushed: Vec<_> = world.pushes().iter().map(|push| push.params["InstanceId"].clone()).collect();
    assert_eq!(pushed, [world.web1.as_str()], "once, for the one in between, and nothing for the one behind");
}

#[needs_namespaces]
#[test]
fn stdio_goes_through_an_instance() {
    let world = World::new();
    let output = world.sh("sleep 2 | ssh -W 10.0.3.8:22 prod-web-1 | head -c 8");
    assert_eq!(output.ok(), "SSH-2.0-", "{output}");
    assert_eq!(world.pushes().len(), 1);
}
