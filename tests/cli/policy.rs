//! `ssh-eic policy`.

use std::collections::BTreeSet;

use sandbox::Instance;
use serde_json::Value;

use crate::world::World;

fn policy(world: &World, args: &[&str]) -> Value {
    let args: Vec<&str> = ["policy"].iter().chain(args).copied().collect();
    serde_json::from_str(world.eic(&args).ok()).expect("JSON")
}

fn pushes(policy: &Value) -> Vec<&Value> {
    let is_push = |one: &&Value| one["Action"][0] == "ec2-instance-connect:SendSSHPublicKey";
    policy["Statement"].as_array().expect("statements").iter().filter(is_push).collect()
}

#[test]
fn the_policy_names_accounts_regions_users_and_networks() {
    let world = World::new();
    let policy = policy(&world, &["--source-ip", "198.51.100.0/24"]);
    let push = pushes(&policy)[0];
    assert_eq!(push["Resource"][0], "arn:aws:ec2:eu-west-1:111122223333:instance/*");
    assert_eq!(push["Condition"]["IpAddress"]["aws:SourceIp"][0], "198.51.100.0/24");
    assert_eq!(push["Condition"]["StringEquals"]["ec2:osuser"][0], "ec2-user");
    World::bare().eic(&["policy"]).fails_with(4).says("hint: ssh-eic sync");
}

#[test]
fn filters_of_the_config_are_conditions_and_a_user_by_tag_is_bound_to_the_tag() {
    let world = World::new();
    world.sandbox.add(Instance::new("odd").address("10.0.4.1").tag("ssh-eic:user", "root")).unwrap();
    world.write(
        ".config/ssh-eic/config.toml",
        "[[source]]\nprofile = \"prod\"\nregions = [\"eu-west-1\"]\nexclude = { Name = \"*-fw\" }\n",
    );
    let before = world.eic(&["policy"]);
    before.says("config has changed since the last complete sync").ok();
    world.eic(&["sync"]).ok();
    let policy = policy(&world, &[]);
    let pushes = pushes(&policy);
    assert_eq!(pushes.len(), 2, "{policy:#}");
    for push in &pushes {
        assert_eq!(push["Condition"]["StringNotLike"]["aws:ResourceTag/Name"][0], "*-fw", "{policy:#}");
        let equals = &push["Condition"]["StringEquals"];
        let for_root = equals["ec2:osuser"][0] == "root";
        assert_eq!(equals["aws:ResourceTag/ssh-eic:user"][0] == "root", for_root, "{policy:#}");
    }
    let sids: BTreeSet<&str> =
        policy["Statement"].as_array().unwrap().iter().filter_map(|one| one["Sid"].as_str()).collect();
    assert!(sids.contains("Diagnose") && sids.contains("FindInstances"), "{policy:#}");
}

#[test]
fn one_account_s_part_and_what_cannot_be_said() {
    let world = World::new();
    assert_eq!(policy(&world, &["--account", "111122223333"]), policy(&world, &[]));
    world.eic(&["policy", "--account", "999999999999"]).fails_with(4).says("no source of that account");
    for (args, words) in [
        (&["--account", "1"][..], "12 digits"),
        (&["--source-ip", "vpn"], "198.51.100.0/24"),
        (&["--source-vpce", "vpc-1"], "vpce-"),
        (&["--source-ip", "10.0.0.0/8"], "add --source-vpce"),
    ] {
        let args: Vec<&str> = ["policy"].iter().chain(args).copied().collect();
        world.eic(&args).fails_with(2).says(words);
    }
    let through = policy(&world, &["--source-ip", "10.0.0.0/8", "--source-vpce", "vpce-0abc12de"]);
    let push = pushes(&through)[0];
    assert_eq!(push["Condition"]["IpAddress"]["aws:VpcSourceIp"][0], "10.0.0.0/8", "{through:#}");
    assert_eq!(push["Condition"]["StringEquals"]["aws:SourceVpce"][0], "vpce-0abc12de", "{through:#}");
}
