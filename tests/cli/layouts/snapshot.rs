//! What a folder holds, with modes, contents and times of writing, so that a test can say that nothing was touched.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A folder as it was at one moment; paths are below it.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    mode: u32,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Folder,
    Link(PathBuf),
    /// Content, and when it was written in nanoseconds: the same bytes written again are a write, too.
    File(Vec<u8>, i128),
    Other,
}

impl Snapshot {
    /// Of a folder that may be absent.
    pub(crate) fn of(folder: &Path) -> Self {
        let mut entries = BTreeMap::new();
        let mut below = vec![folder.to_owned()];
        while let Some(path) = below.pop() {
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let what = if metadata.is_dir() {
                below.extend(fs::read_dir(&path).expect("a folder").flatten().map(|entry| entry.path()));
                What::Folder
            } else if metadata.is_symlink() {
                What::Link(fs::read_link(&path).expect("a link"))
            } else if metadata.is_file() {
                let modified = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
                What::File(fs::read(&path).expect("a file"), modified)
            } else {
                What::Other
            };
            let name = path.strip_prefix(folder).expect("below it").to_owned();
            entries.insert(name, Entry { mode: metadata.mode() & 0o7777, what });
        }
        Self { entries }
    }

    /// The same without what is at `path` and below.
    pub(crate) fn without(mut self, path: &str) -> Self {
        self.entries.retain(|name, _| !name.starts_with(path));
        self
    }

    /// Whether there is not even the folder.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The paths that have this in them, in order.
    pub(crate) fn paths_with(&self, part: &str) -> Vec<String> {
        self.entries.keys().map(|path| path.display().to_string()).filter(|path| path.contains(part)).collect()
    }

    /// Asserts that nothing was added, removed or written since.
    #[track_caller]
    pub(crate) fn assert_same(&self, now: &Self, about: &dyn std::fmt::Display) {
        self.assert(now, about, |before, after| before == after);
    }

    /// Asserts that the same is there, whenever it was written.
    #[track_caller]
    pub(crate) fn assert_same_content(&self, now: &Self, about: &dyn std::fmt::Display) {
        self.assert(now, about, |before, after| match (&before.what, &after.what) {
            (What::File(old, _), What::File(new, _)) => old == new && before.mode == after.mode,
            _ => before == after,
        });
    }

    #[track_caller]
    fn assert(&self, now: &Self, about: &dyn std::fmt::Display, same: impl Fn(&Entry, &Entry) -> bool) {
        let mut changes = String::new();
        for (path, before) in &self.entries {
            match now.entries.get(path) {
                None => writeln!(changes, "gone: {}", path.display()),
                Some(after) if !same(before, after) => {
                    writeln!(changes, "changed: {}\n  was {}\n  is  {}", path.display(), told(before), told(after))
                }
                Some(_) => Ok(()),
            }
            .expect("a string");
        }
        for (path, _) in now.entries.iter().filter(|(path, _)| !self.entries.contains_key(*path)) {
            writeln!(changes, "new: {}", path.display()).expect("a string");
        }
        assert!(changes.is_empty(), "{changes}after\n{about}");
    }
}

fn told(entry: &Entry) -> String {
    match &entry.what {
        What::File(content, modified) => {
            format!("{:o} written {modified}: {:?}", entry.mode, String::from_utf8_lossy(content))
        }
        what => format!("{:o} {what:?}", entry.mode),
    }
}
