//! `ssh-eic list`.

use crate::world::World;

#[test]
fn a_table_names_and_json_of_the_same_hosts() {
    let world = World::new();
    let table = world.eic(&["list"]);
    assert!(table.ok().lines().nth(1).is_some_and(|line| line.starts_with("prod-web-1  i-")), "{table}");
    assert_eq!(world.eic(&["list", "--names", "*-2"]).ok(), "prod-web-2\n");
    let json: serde_json::Value = serde_json::from_str(world.eic(&["list", "--json", &world.web1]).ok()).unwrap();
    assert_eq!(json[0]["address"], "10.0.3.7");
    world.eic(&["list", "nothing-like-this"]).fails_with(4).says("no managed host matches");
}

#[test]
fn without_an_index_it_says_what_to_type() {
    World::bare().eic(&["list"]).fails_with(4).says("hint: ssh-eic sync");
}
