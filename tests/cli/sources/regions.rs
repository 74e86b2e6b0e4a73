//! Where a source looks: named regions, all that are enabled, and what happens if some of them, or many sources at
//! once, refuse to answer.

use sandbox::{ACCOUNT, Fail, Instance, REGION, Switches};

use crate::sources::{asked, calls_of, configure, login, told};
use crate::world::World;

/// A host in each of three regions; the last of them is in eu-central-1.
fn three_regions() -> (World, String) {
    let world = World::bare();
    let enabled = vec![REGION.to_owned(), "us-east-1".to_owned(), "eu-central-1".to_owned()];
    world.switch(Switches { regions: Some(enabled), ..Switches::default() });
    world.sandbox.add(Instance::new("us-web").region("us-east-1").address("10.4.0.1")).unwrap();
    world.sandbox.add(Instance::new("not-enabled").region("ap-south-1").address("10.4.0.3")).unwrap();
    let id = world.sandbox.add(Instance::new("central-web").region("eu-central-1").address("10.4.0.2")).unwrap();
    (world, id)
}

const ALL: &str = "[[source]]\nprofile = \"prod\"\nregions = [\"all\"]\n";
const EVERYBODY: &str = "central-web\nprod-web-1\nprod-web-2\nus-web\n";

fn names(world: &World) -> String {
    world.eic(&["list", "--names"]).ok().to_owned()
}

#[test]
fn all_means_every_enabled_region() {
    let (world, id) = three_regions();
    configure(&world, ALL);
    world.eic(&["sync"]).ok();
    let place = |region: &str| (ACCOUNT.to_owned(), region.to_owned());
    assert_eq!(asked(&world), [place(REGION), place("us-east-1"), place("eu-central-1")].into());
    assert_eq!(names(&world), EVERYBODY);
    assert_eq!(login(&world, "central-web", &id).1, "eu-central-1");
    // An instance that no sync has seen is found there, too.
    let new = world.sandbox.add(Instance::new("new").region("us-east-1").address("10.4.0.9").user("deploy")).unwrap();
    if crate::world::can_have_namespaces() {
        assert_eq!(login(&world, &new, &new).1, "us-east-1");
    }
}

#[test]
fn a_denied_region_is_a_note_with_all_and_an_error_if_it_is_listed() {
    let (world, _) = three_regions();
    configure(&world, ALL);
    let denied = Some(vec!["eu-central-1".to_owned()]);
    world.switch(Switches { denied_regions: denied, ..Switches::default() });
    let output = world.eic(&["sync"]);
    output.says("source \"prod\" is denied access to eu-central-1; its hosts there are unchanged").ok();
    assert_eq!(told(&output).0, 0, "{output}");
    assert_eq!(names(&world), "prod-web-1\nprod-web-2\nus-web\n");
    configure(&world, "[[source]]\nprofile = \"prod\"\nregions = [\"eu-west-1\", \"eu-central-1\"]\n");
    world.eic(&["sync"]).fails_with(6).says("source \"prod\" in eu-central-1: AWS denies ec2:DescribeInstances");
    assert_eq!(names(&world), "prod-web-1\nprod-web-2\n");
}

#[test]
fn hosts_of_a_named_region_that_fails_stay() {
    let (world, _) = three_regions();
    configure(&world, "[[source]]\nprofile = \"prod\"\nregions = [\"us-east-1\", \"eu-west-1\", \"eu-central-1\"]\n");
    world.eic(&["sync"]).ok();
    world.sandbox.remove(&world.web1).unwrap();
    let denied = Some(vec!["eu-central-1".to_owned()]);
    world.switch(Switches { denied_regions: denied, ..Switches::default() });
    world.eic(&["sync"]).fails_with(6).says("are unchanged");
    assert_eq!(names(&world), "central-web\nprod-web-2\nus-web\n", "what could be asked is up to date");
}

#[test]
fn an_error_names_its_regions() {
    let (world, _) = three_regions();
    configure(&world, "[[source]]\nprofile = \"prod\"\nregions = [\"us-east-1\", \"eu-west-1\", \"eu-central-1\"]\n");
    let denied = Some(vec!["us-east-1".to_owned(), "eu-central-1".to_owned()]);
    world.switch(Switches { denied_regions: denied, ..Switches::default() });
    world.eic(&["sync"]).fails_with(6).says("us-east-1").says("eu-central-1");
}

#[test]
fn with_all_hosts_of_a_failing_region_stay() {
    let (world, _) = three_regions();
    configure(&world, ALL);
    world.eic(&["sync"]).ok();
    let fault = Fail::new(503, "Unavailable");
    let fail = [("DescribeInstances@us-east-1".to_owned(), fault)].into();
    world.switch(Switches { fail, ..Switches::default() });
    world.eic(&["sync"]).fails_with(7).says("AWS failed in us-east-1");
    assert_eq!(names(&world), EVERYBODY);
}

#[test]
fn if_all_regions_are_denied_it_is_an_error() {
    let (world, _) = three_regions();
    configure(&world, ALL);
    world.eic(&["sync"]).ok();
    world.deny("DescribeInstances");
    let output = world.eic(&["sync"]);
    assert_eq!(names(&world), EVERYBODY, "a policy that lacks ec2:DescribeInstances emptied the config\n{output}");
    output.fails_with(6).says("ec2:DescribeInstances").says("ssh-eic policy");
}

#[test]
fn all_regions_are_found_although_the_default_one_is_denied() {
    let (mut world, _) = three_regions();
    world.sandbox.add_profile("corp", ACCOUNT, "us-east-1").unwrap();
    configure(&world, "[[source]]\nprofile = \"corp\"\nregions = [\"all\"]\n");
    let denied = Some(vec!["us-east-1".to_owned()]);
    world.switch(Switches { denied_regions: denied, ..Switches::default() });
    world.eic(&["sync"]).says("is denied access to us-east-1").ok();
    assert_eq!(names(&world), "central-web\nprod-web-1\nprod-web-2\n");
}

#[test]
fn an_invalid_region_is_reported_with_its_line() {
    let world = World::bare();
    for (regions, words) in
        [("[\"eu west\"]", "\"eu west\" is not a region"), ("[\"all\", \"x\"]", "cannot be combined with others")]
    {
        configure(&world, &format!("[[source]]\nprofile = \"prod\"\nregions = {regions}\n"));
        world.eic(&["sync"]).fails_with(3).says("config.toml:3: ").says(words);
    }
}

#[test]
fn forty_sources_that_fail_for_one_cause_are_one_error() {
    let mut world = World::bare();
    let account = |n: usize| format!("{:012}", 300_000_000_000 + n);
    for n in 0..40 {
        world.sandbox.add_profile(&format!("corp-{n:02}"), &account(n), REGION).unwrap();
    }
    let id = world.sandbox.add(Instance::new("good").account(account(17)).address("10.5.0.17")).unwrap();
    let deny = (0..40).filter(|n| *n != 17).map(|n| format!("DescribeInstances@{}", account(n))).collect();
    world.switch(Switches { deny: Some(deny), ..Switches::default() });
    configure(&world, "[[source]]\nprofile = \"corp-*\"\n");
    let output = world.eic(&["sync"]);
    output.fails_with(6).says("source \"corp-00\": AWS denies ec2:DescribeInstances");
    output.says("the same for corp-01, corp-02, corp-03, corp-04, corp-05 and 33 more");
    assert_eq!((told(&output).0, told(&output).1.len()), (1, 1), "{output}");
    assert_eq!(calls_of(&world, "DescribeInstances").len(), 40);
    assert_eq!(names(&world), "good\n");
    assert_eq!(login(&world, "good", &id).0, account(17));
}
