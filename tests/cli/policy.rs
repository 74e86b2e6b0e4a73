//! `ssh-eic policy`.

use crate::world::World;

#[test]
fn the_policy_names_the_fleet_s_accounts_regions_and_users() {
    let world = World::new();
    let story = world.eic(&["policy", "--source-ip", "198.51.100.0/24"]);
    let policy: serde_json::Value = serde_json::from_str(story.ok()).unwrap();
    let push = &policy["Statement"][0];
    assert_eq!(push["Resource"][0], "arn:aws:ec2:eu-west-1:111122223333:instance/*");
    assert_eq!(push["Condition"]["IpAddress"]["aws:SourceIp"][0], "198.51.100.0/24");
    World::bare().eic(&["policy"]).fails_with(4).says("hint: ssh-eic sync");
}
