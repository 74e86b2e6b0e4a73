//! What an administrator gives to all users of a machine.

use sandbox::needs_namespaces;

use crate::world::World;

/// Puts a file to /etc/ssh-eic in the sandbox's own mount namespace.
fn install(world: &World, text: &str) {
    world.write("machine.toml", text);
    world.own_etc();
    world.sh("mkdir -p /etc/ssh-eic && install -m 0644 ~/machine.toml /etc/ssh-eic/config.toml").ok();
}

#[needs_namespaces]
#[test]
fn a_machine_wide_config_is_the_base_of_the_user_s() {
    let world = World::bare();
    install(&world, "[[source]]\nprofile = \"prod\"\nregions = [\"eu-west-1\"]\nalias = \"m-{Name}\"\n");
    world.eic(&["sync"]).ok();
    assert_eq!(world.eic(&["list", "--names"]).ok(), "m-prod-web-1\nm-prod-web-2\n");
    world.ssh(&["m-prod-web-1", "true"]).ok();
    world
        .write(".config/ssh-eic/config.toml", "[[source]]\nname = \"own\"\nprofile = \"prod\"\nalias = \"u-{Name}\"\n");
    world.eic(&["sync"]).ok();
    assert_eq!(world.eic(&["list", "--names"]).ok(), "u-prod-web-1\nu-prod-web-2\n");
    install(&world, "[[source]]\nprofil = \"prod\"\n");
    world.eic(&["sync"]).fails_with(3).says("/etc/ssh-eic/config.toml:2").says("did you mean \"profile\"?");
    install(&world, "");
    world.sh("chmod 0666 /etc/ssh-eic/config.toml").ok();
    world.eic(&["sync"]).fails_with(9).says("other users can write /etc/ssh-eic/config.toml");
}
