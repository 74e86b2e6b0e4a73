//! `ssh-eic logout`: removes cached temporary credentials and keys.
//!
//! Open sessions continue: sshd checks a key only at login. The SSO token of the AWS CLI is not removed.

use crate::command::{Context, Exit};
use crate::error::Result;
use crate::store::{credentials, keys};
use crate::ui;

/// Removes all that can be removed.
///
/// # Errors
///
/// [`crate::error::Kind::File`] for the first file that could not be removed.
pub fn run(context: &Context) -> Result<Exit> {
    let paths = &context.paths;
    let removed: Vec<Result<usize>> =
        credentials::all_folders(paths).iter().map(|folder| credentials::forget_all(folder)).collect();
    let keys = keys::forget_all(paths);
    let credentials = removed.into_iter().sum::<Result<usize>>()?;
    let keys = keys?;
    ui::note(&summary(credentials, keys));
    ui::hint("aws sso logout also ends the session of IAM Identity Center");
    Ok(Exit::default())
}

fn summary(credentials: usize, keys: usize) -> String {
    let counted = |count: usize, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {many}")),
    };
    let parts: Vec<String> = [
        counted(credentials, "set of temporary credentials", "sets of temporary credentials"),
        counted(keys, "key", "keys"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() {
        "nothing to remove: no temporary credentials and no keys".to_owned()
    } else {
        format!("removed {}; open sessions continue", parts.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn the_summary_counts_only_what_was_removed() {
        for (credentials, keys, expected) in [
            (0, 0, "nothing to remove: no temporary credentials and no keys"),
            (0, 1, "removed 1 key; open sessions continue"),
            (1, 0, "removed 1 set of temporary credentials; open sessions continue"),
            (2, 3, "removed 2 sets of temporary credentials and 3 keys; open sessions continue"),
        ] {
            assert_eq!(summary(credentials, keys), expected);
        }
    }
}
