//! Resource limits of this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Turns core dumps off, for this process and the programs that it starts. Called before credentials are in memory.
pub fn no_core_dumps() {
    // The hard limit stays: a user who wants the dump of a program that was started can raise the soft one again.
    let Rlimit { maximum, .. } = getrlimit(Resource::Core);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
}

/// Open files that a sync of many accounts needs at once.
const FILES: u64 = 1024;

/// Raises the soft limit of open files as far as needed and allowed: macOS starts programs with 256.
pub fn many_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(FILES, |maximum| maximum.min(FILES));
    if current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}
