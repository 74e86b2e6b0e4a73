//! `ssh-eic logout`: removes the temporary credentials and the keys.
//!
//! Open sessions continue: a key is checked once, when a session begins. The sign-in of the AWS CLI is not removed.

use crate::command::{Context, Exit};
use crate::error::Result;
use crate::store::{credentials, keys};
use crate::ui;

/// # Errors
///
/// [`crate::error::Kind::File`] for what cannot be removed; everything else is removed.
pub fn run(context: &Context) -> Result<Exit> {
    let paths = &context.paths;
    let removed: Vec<Result<usize>> =
        credentials::all_folders(paths).iter().map(|folder| credentials::forget_all(folder)).collect();
    let keys = keys::forget_all(paths);
    let credentials = removed.into_iter().sum::<Result<usize>>()?;
    let keys = keys?;
    let count = |number: usize, one: &str, many: &str| {
        (number > 0).then(|| format!("{number} {}", if number == 1 { one } else { many }))
    };
    let removed = [
        count(keys, "key", "keys"),
        count(credentials, "set of temporary credentials", "sets of temporary credentials"),
    ];
    let removed: Vec<String> = removed.into_iter().flatten().collect();
    if removed.is_empty() {
        ui::note("nothing to remove: no keys, no temporary credentials");
    } else {
        ui::note(&format!("removed {}; open sessions continue", removed.join(" and ")));
    }
    ui::hint("aws sso logout ends the Identity Center session");
    Ok(Exit::default())
}
