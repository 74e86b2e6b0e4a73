//! `ssh-eic policy`.

use std::collections::BTreeSet;

use sandbox::{Image, Instance};
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
fn tag_filters_become_conditions_and_a_user_from_a_tag_requires_that_tag() {
    let world = World::new();
    world.sandbox.add(Instance::new("odd").address("10.0.4.1").tag("ssh-eic:user", "root")).unwrap();
    world.write(
        ".config/ssh-eic/config.toml",
        "[[source]]\nprofile = \"prod\"\nregions = [\"eu-west-1\"]\nexclude = { Name = \"*-fw\" }\n",
    );
    let before = world.eic(&["policy"]);
    before.says("config.toml has changed since the last complete sync: run ssh-eic sync first").ok();
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
fn accounts_can_be_selected_and_invalid_networks_are_rejected() {
    let world = World::new();
    assert_eq!(policy(&world, &["--account", "111122223333"]), policy(&world, &[]));
    world
        .eic(&["policy", "--account", "999999999999"])
        .fails_with(4)
        .says("no source in account 999999999999 has been synced yet");
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

/// Users that the policy allows without a condition on the tag `ssh-eic:user`.
fn users_everywhere(policy: &Value) -> BTreeSet<&str> {
    let is_for_all = |push: &&Value| push["Condition"]["StringEquals"].get("aws:ResourceTag/ssh-eic:user").is_none();
    pushes(policy)
        .into_iter()
        .filter(is_for_all)
        .flat_map(|push| push["Condition"]["StringEquals"]["ec2:osuser"].as_array().expect("users"))
        .filter_map(Value::as_str)
        .collect()
}

const CONFIG: &str = ".config/ssh-eic/config.toml";
const SOURCE: &str = "[[source]]\nprofile = \"prod\"\nregions = [\"eu-west-1\"]\n";

#[test]
fn an_image_name_never_allows_root() {
    let world = World::new();
    let image = Image {
        id: "ami-0aaaabbbbccccdddd".into(),
        name: "my-nixos-24.05".into(),
        owner: "999988887777".into(),
        owner_alias: String::new(),
        description: String::new(),
    };
    world.sandbox.add_image(image).unwrap();
    world.sandbox.add(Instance::new("odd").address("10.0.4.1").image("ami-0aaaabbbbccccdddd")).unwrap();
    world.write(CONFIG, SOURCE);
    world.eic(&["sync"]).ok();
    assert!(world.eic(&["list", "odd", "--json"]).ok().contains("\"root\""), "the image name implies root");
    let output = world.eic(&["policy"]);
    let printed = serde_json::from_str(output.ok()).expect("JSON");
    assert_eq!(users_everywhere(&printed), BTreeSet::from(["ec2-user"]), "{output}");
    output.says(
        "the policy does not allow OS user root for odd, because only the image name implies it: set user = \"root\" in \
         source \"prod\", or tag the instance ssh-eic:user = root",
    );

    world.write(CONFIG, &format!("{SOURCE}user = \"root\"\n"));
    world.eic(&["sync"]).ok();
    let output = world.eic(&["policy"]);
    let printed = serde_json::from_str(output.ok()).expect("JSON");
    assert_eq!(users_everywhere(&printed), BTreeSet::from(["root"]), "{output}");
    assert_eq!(output.stderr, "", "no warning about an explicit setting");
}

#[test]
fn the_user_of_a_host_block_is_allowed_with_a_warning_even_with_q() {
    let world = World::new();
    world.write(CONFIG, &format!("{SOURCE}[[host]]\nmatch = \"prod-web-1\"\nuser = \"root\"\n"));
    world.eic(&["sync"]).ok();
    for args in [&["policy"][..], &["-q", "policy"]] {
        let output = world.eic(args);
        let printed = serde_json::from_str(output.ok()).expect("JSON");
        assert_eq!(users_everywhere(&printed), BTreeSet::from(["ec2-user", "root"]), "{output}");
        output.says(
            "the policy allows more than the config needs: OS user \"root\" of a [[host]] is allowed on all instances of \
             source \"prod\", because IAM cannot match aliases",
        );
    }
}

#[test]
fn filters_that_iam_cannot_express_are_rejected_unless_others_remain() {
    let world = World::new();
    world.sandbox.add(Instance::new("odd").address("10.0.4.1").tag("日本", "x").tag("Role", "web")).unwrap();
    world.write(CONFIG, &format!("{SOURCE}tags = {{ \"日本\" = \"x\" }}\n"));
    world.eic(&["sync"]).ok();
    let output = world.eic(&["policy"]);
    output.fails_with(2).says("the policy omits the filter tags \"日本\"");
    assert_eq!(output.stdout, "");
    world.write(CONFIG, &format!("{SOURCE}tags = {{ \"日本\" = \"x\", Role = \"web\" }}\n"));
    world.eic(&["sync"]).ok();
    let output = world.eic(&["-q", "policy"]);
    output.says("the policy allows more than the config needs").says("the policy omits the filter tags \"日本\"").ok();
}

/// Actions of all statements.
fn actions(policy: &Value) -> BTreeSet<&str> {
    let statements = policy["Statement"].as_array().expect("statements");
    statements.iter().flat_map(|one| one["Action"].as_array().expect("actions")).filter_map(Value::as_str).collect()
}

#[test]
fn routes_and_host_key_modes_of_sources_and_single_hosts_need_actions_of_their_own() {
    let world = World::new();
    let source = "[[source]]\nname = \"prod\"\nprofile = \"prod\"\nregions = [\"eu-west-1\"]\n";
    let with = |lines: &str| {
        world.write(".config/ssh-eic/config.toml", &format!("{source}{lines}"));
        world.eic(&["sync"]).ok();
        policy(&world, &[])
    };
    let tunnel = "ec2-instance-connect:OpenTunnel";
    let session = "ssm:StartSession";
    let console = "ec2:GetConsoleOutput";
    for (lines, wanted) in [
        ("", &[][..]),
        ("route = \"jump:bastion\"\n", &[]),
        ("route = \"endpoint\"\nhost_keys = \"console\"\n", &[tunnel, console]),
        ("route = \"auto\"\n", &[tunnel, session]),
        (
            "[[host]]\nmatch = \"prod-web-1\"\nroute = \"endpoint\"\nhost_keys = \"require-console\"\n",
            &[tunnel, console],
        ),
    ] {
        let policy = with(lines);
        let allowed = actions(&policy);
        for action in [tunnel, session, console] {
            assert_eq!(allowed.contains(action), wanted.contains(&action), "{lines} {action} {policy:#}");
        }
        let lists_endpoints = policy["Statement"].as_array().unwrap().iter().any(|one| {
            one["Sid"] == "FindInstances" && one["Action"].to_string().contains("DescribeInstanceConnectEndpoints")
        });
        assert_eq!(lists_endpoints, wanted.contains(&tunnel), "{policy:#}");
    }
    let limited = with("route = \"endpoint\"\nmax_tunnel_duration = \"30m\"\n");
    let open = limited["Statement"].as_array().unwrap().iter().find(|one| one["Action"][0] == tunnel).unwrap();
    assert_eq!(open["Resource"][0], "arn:aws:ec2:eu-west-1:111122223333:instance-connect-endpoint/*");
    let at_most = &open["Condition"]["NumericLessThanEquals"]["ec2-instance-connect:maxTunnelDuration"];
    assert_eq!(at_most[0], "1800", "{limited:#}");
}
