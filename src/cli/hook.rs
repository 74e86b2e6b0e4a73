//! The hook's arguments, read without building the whole parser: ssh runs the hook before every connection.

use std::ffi::OsString;

/// Alias and user from `match -- ALIAS [USER]`, as sync writes it, or from the plain forms without options.
///
/// `None` for every other command line, which the complete parser then reads.
#[must_use]
pub fn hook_arguments(args: &[OsString]) -> Option<(&str, Option<&str>)> {
    let word = |at: usize| args.get(at).and_then(|arg| arg.to_str());
    let plain = |text: &&str| !text.starts_with('-');
    match (args.len(), word(1)?) {
        (4, "match") if word(2)? == "--" => Some((word(3)?, None)),
        (5, "match") if word(2)? == "--" => Some((word(3)?, Some(word(4)?))),
        (3, "match") => word(2).filter(plain).map(|alias| (alias, None)),
        (4, "match") => Some((word(2).filter(plain)?, Some(word(3).filter(plain)?))),
        _ => None,
    }
}
