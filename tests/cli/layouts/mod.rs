//! Where our part of the user's ssh config stands, and what is written, shown or left alone on the way there.

mod damaged;
mod diff;
mod full_disk;
mod inline;
mod killed;
mod output;
mod place;
pub(crate) mod snapshot;

use crate::world::World;

/// A config.toml with one source, and what else it shall have.
pub(crate) fn configure(world: &World, more: &str) {
    let text = format!("[[source]]\nprofile = \"prod\"\nregions = [\"eu-west-1\"]\n{more}");
    world.write(".config/ssh-eic/config.toml", &text);
}

/// The layout with everything in the user's own file.
pub(crate) const INLINE: &str = "[ssh]\nlayout = \"inline\"\n";

/// What ssh makes of a host.
pub(crate) fn resolved(world: &World, host: &str) -> String {
    world.ssh(&["-G", host]).ok().to_owned()
}

/// One option of what ssh makes of a host; the first where there are several.
pub(crate) fn option<'a>(resolved: &'a str, keyword: &str) -> &'a str {
    let value = |line: &'a str| line.strip_prefix(keyword).and_then(|rest| rest.strip_prefix(' '));
    resolved.lines().find_map(value).unwrap_or_default()
}
