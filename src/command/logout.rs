//! `ssh-eic logout`: forgets the temporary credentials and the keys that are kept between connections.
//!
//! Open sessions go on: a key is checked once, when a session begins. The sign-in that the AWS CLI keeps is the AWS CLI's.

use crate::command::{Context, Exit};
use crate::error::Result;
use crate::store::{credentials, keys};
use crate::ui;

/// Runs it.
///
/// # Errors
///
/// [`crate::error::Kind::File`] for what cannot be removed; everything else is.
pub fn run(context: &Context) -> Result<Exit> {
    let paths = &context.paths;
    let removed: Vec<Result<usize>> =
        credentials::all_folders(paths).iter().map(|folder| credentials::forget_all(folder)).collect();
    let keys = keys::forget_all(paths);
    let credentials = removed.into_iter().sum::<Result<usize>>()?;
    let keys = keys?;
    let some = |number: usize, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
    if credentials + keys == 0 {
        ui::note("nothing was kept: no temporary credentials, no keys");
    } else {
        ui::note(&format!(
            "removed {} of temporary credentials and {}; open sessions go on",
            some(credentials, "set", "sets"),
            some(keys, "key", "keys")
        ));
    }
    ui::hint("aws sso logout ends the Identity Center session itself");
    Ok(Exit::default())
}
