//! What the user reaches by name already: no alias may shadow it.
//!
//! Read from their ssh config and the system's, with everything that these include, from `/etc/hosts` and from
//! `known_hosts`, where a hashed line is compared with each name in question. A pattern of `*` alone is for all hosts and reaches none in particular. Our own part of
//! the config does not count. What cannot be read is passed over: ssh will say so better.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::hashed_name::HashedName;
use crate::domain::names::Conflict;
use crate::domain::pattern;
use crate::domain::ssh_config::render::FILES;
use crate::domain::ssh_config::{edit, read};
use crate::store::paths::Paths;

/// Further ports under which a name is looked for in hashed lines.
const MOST_PORTS: usize = 8;
/// How deep Includes may nest (readconf.c).
const DEPTH: usize = 16;
/// The pattern of all hosts, also for the lines before any block.
const EVERYWHERE: &str = "*";

/// How a block begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// At the top of the file.
    Top,
    /// With a Host line.
    Host,
    /// With a Match line.
    Match,
}

/// A block of the user's or the system's ssh config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// `Host`, `Match`, or the lines before any block.
    pub kind: BlockKind,
    /// The arguments of its line: `prod-*`; empty for the lines before any block.
    pub arguments: String,
    /// The file.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// Keywords in lower case, and their values.
    pub settings: Vec<(String, String)>,
    patterns: Vec<String>,
}

impl Block {
    /// Whether it is about this name.
    #[must_use]
    pub fn is_about(&self, name: &str) -> bool {
        pattern::matches_list(self.patterns.iter().map(String::as_str), name)
    }

    /// Whether it is for all hosts.
    #[must_use]
    pub fn is_general(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern == EVERYWHERE)
    }

    /// Its line without the place: `Host prod-*`.
    #[must_use]
    pub fn title(&self) -> String {
        match self.kind {
            BlockKind::Host => format!("Host {}", self.arguments),
            BlockKind::Match => format!("Match {}", self.arguments),
            BlockKind::Top => "before the first Host".to_owned(),
        }
    }
}

/// Which names lead somewhere already.
#[derive(Debug, Default)]
pub struct Reach {
    /// The user's and the system's config, in the order in which ssh reads them.
    pub blocks: Vec<Block>,
    /// The user's own config.
    own: PathBuf,
    /// The home of the user.
    home: Option<PathBuf>,
    /// Plain names, and where they come from.
    names: HashMap<String, Conflict>,
    /// Blocks with wildcards, by position.
    wild: Vec<usize>,
    /// Hashed lines of `known_hosts`, and where they are.
    hashed: Vec<(HashedName, Conflict)>,
    /// Ports that the user's config mentions: a hash is of `[name]:port` where the port is not 22.
    ports: BTreeSet<String>,
    /// Hashes computed so far.
    computed: AtomicU64,
}

/// Hashes that one sync computes at most, some seconds of work: 10,000 new names and 2,000 hashed lines.
const MOST_HASHES: u64 = 20_000_000;
/// Of one `known_hosts`, the last lines that are compared: ssh appends.
const MOST_HASHED_LINES: usize = 20_000;

impl Reach {
    /// Reads everything. `include_line` is ours, and is not followed.
    #[must_use]
    pub fn read(paths: &Paths, include_line: &str) -> Self {
        let home = paths.home.clone();
        let mut reader = Reader { home, own: &paths.eic, include_line, blocks: Vec::new(), seen: BTreeSet::new() };
        let folder = paths.ssh_config.parent().unwrap_or(Path::new("/"));
        reader.config(&paths.ssh_config, folder, None, 0);
        let system = Path::new("/etc/ssh");
        reader.config(&system.join("ssh_config"), system, None, 0);
        let mut reach =
            Self { blocks: reader.blocks, own: paths.ssh_config.clone(), home: paths.home.clone(), ..Self::default() };
        for at in 0..reach.blocks.len() {
            reach.add_block(at);
        }
        let of_hosts = |line: &str| {
            let entry = line.split('#').next().unwrap_or("");
            entry.split_whitespace().skip(1).map(str::to_owned).collect()
        };
        reach.add_names(Path::new("/etc/hosts"), of_hosts);
        let of_user =
            paths.home.iter().flat_map(|home| ["known_hosts", "known_hosts2"].map(|f| home.join(".ssh").join(f)));
        for file in of_user.chain([system.join("ssh_known_hosts")]) {
            reach.add_names(&file, known_names);
            reach.add_hashed(&file);
        }
        let settings = reach.blocks.iter().flat_map(|block| &block.settings);
        let ports =
            settings.filter(|(keyword, value)| keyword == "port" && value != "22").map(|(_, port)| port.clone());
        reach.ports = ports.take(MOST_PORTS).collect();
        reach
    }

    fn add_hashed(&mut self, file: &Path) {
        let Ok(bytes) = fs::read(file) else { return };
        let text = String::from_utf8_lossy(&bytes);
        let hash = |(number, line): (usize, &str)| {
            let mut words = line.split_whitespace();
            let first = words.next()?;
            let name = if first.starts_with('@') { words.next()? } else { first };
            Some((HashedName::parse(name)?, Conflict::Line(file.to_owned(), number)))
        };
        let mut hashed: Vec<_> = (1..).zip(text.lines()).filter_map(hash).collect();
        self.hashed.extend(hashed.split_off(hashed.len().saturating_sub(MOST_HASHED_LINES)));
    }

    /// The hashed line of `known_hosts` that has this name, in words. A name that could not be compared with all of them
    /// is taken as well: it gets its id suffix until a later sync has compared it.
    #[must_use]
    pub fn by_hash(&self, name: &str) -> Option<Conflict> {
        if self.hashed.is_empty() {
            return None;
        }
        let with_port = self.ports.iter().map(|port| format!("[{name}]:{port}"));
        let forms: Vec<String> = [name.to_owned()].into_iter().chain(with_port).collect();
        let computed = self.computed.load(Ordering::Relaxed).saturating_add((forms.len() * self.hashed.len()) as u64);
        if computed > MOST_HASHES {
            return Some(Conflict::NotCompared);
        }
        self.computed.store(computed, Ordering::Relaxed);
        let is_it = |hashed: &HashedName| forms.iter().any(|form| hashed.is_of(form));
        self.hashed.iter().find(|(hashed, _)| is_it(hashed)).map(|(_, place)| place.clone())
    }

    fn add_block(&mut self, at: usize) {
        let block = &self.blocks[at];
        if block.patterns.iter().all(|pattern| pattern == EVERYWHERE || pattern.starts_with('!')) {
            return;
        }
        if block.patterns.iter().any(|pattern| pattern.contains(['*', '?', '!'])) {
            self.wild.push(at);
            return;
        }
        for name in block.patterns.clone() {
            self.names.entry(name).or_insert(Conflict::Block(at));
        }
    }

    fn add_names(&mut self, file: &Path, of_line: impl Fn(&str) -> Vec<String>) {
        let Ok(bytes) = fs::read(file) else { return };
        for (number, line) in (1..).zip(String::from_utf8_lossy(&bytes).lines()) {
            for name in of_line(line) {
                let conflict = || Conflict::Line(file.to_owned(), number);
                self.names.entry(name.to_ascii_lowercase()).or_insert_with(conflict);
            }
        }
    }

    /// `~/.ssh/config:2`: the line of a block once the lines of the user's own config have moved down by `shift`.
    #[must_use]
    pub fn location(&self, block: &Block, shift: i64) -> String {
        let shift = if block.file == self.own { shift } else { 0 };
        let moved = i64::try_from(block.line).unwrap_or(0) + shift;
        format!("{}:{}", self.shown(&block.file), usize::try_from(moved).unwrap_or(block.line))
    }

    /// A path with `~` for the home.
    #[must_use]
    pub fn shown(&self, path: &Path) -> String {
        match self.home.as_deref().and_then(|home| path.strip_prefix(home).ok()) {
            Some(rest) => format!("~/{}", rest.display()),
            None => path.display().to_string(),
        }
    }

    /// The Host line of the user's or the system's config that has exactly this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<Conflict> {
        let has = |block: &Block| block.kind == BlockKind::Host && block.patterns.iter().any(|own| own == name);
        self.blocks.iter().position(has).map(Conflict::Block)
    }

    /// What resolves this name already, except for hashed lines of `known_hosts`.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<Conflict> {
        let specific = |block: &Block| {
            // `Host * !gitlab` is for all hosts, too.
            let mut listed = block.patterns.iter().map(String::as_str).filter(|pattern| *pattern != EVERYWHERE);
            pattern::matches_list(&mut listed, name)
        };
        let by_pattern = || self.wild.iter().copied().find(|&at| specific(&self.blocks[at])).map(Conflict::Block);
        self.names.get(name).cloned().or_else(by_pattern)
    }
}

/// The names of a line of `known_hosts` (sshd(8), `SSH_KNOWN_HOSTS FILE FORMAT`); for hashed ones see [`Reach::by_hash`].
fn known_names(line: &str) -> Vec<String> {
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or("");
    let names = if first.starts_with('@') { words.next().unwrap_or("") } else { first };
    if names.starts_with(['|', '#']) {
        return Vec::new();
    }
    let bare = |name: &str| name.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(name).to_owned();
    names.split(',').filter(|name| !name.contains(['*', '?', '!'])).map(bare).collect()
}

struct Reader<'a> {
    home: Option<PathBuf>,
    /// Our folder: what we wrote is no reason against a name.
    own: &'a Path,
    include_line: &'a str,
    blocks: Vec<Block>,
    seen: BTreeSet<PathBuf>,
}

impl Reader<'_> {
    /// Reads a file. `outer` is the block that an Include stands in. Relative Includes are below `folder`.
    fn config(&mut self, file: &Path, folder: &Path, outer: Option<&Block>, depth: usize) {
        let Ok(bytes) = fs::read(file) else { return };
        let generated = FILES.iter().any(|name| file == self.own.join(name));
        if generated || depth > DEPTH || !self.seen.insert(file.to_owned()) {
            return;
        }
        // What damaged marks hide from us is told elsewhere; here nothing is written.
        let bytes = edit::blanked(&bytes, self.include_line).unwrap_or(bytes);
        let general = || Block {
            kind: BlockKind::Top,
            arguments: String::new(),
            file: file.to_owned(),
            line: 1,
            settings: Vec::new(),
            patterns: vec![EVERYWHERE.to_owned()],
        };
        let mut block = outer.map_or_else(general, |outer| Block { settings: Vec::new(), ..outer.clone() });
        for line in read::lines(&bytes) {
            match line.keyword.as_str() {
                "host" | "match" => {
                    self.keep(&mut block);
                    let kind = if line.keyword == "host" { BlockKind::Host } else { BlockKind::Match };
                    let patterns = read::host_patterns(&line);
                    block = Block {
                        kind,
                        arguments: line.arguments.join(" "),
                        file: file.to_owned(),
                        line: line.number,
                        settings: Vec::new(),
                        patterns,
                    };
                }
                "include" => {
                    self.keep(&mut block);
                    let included: Vec<PathBuf> =
                        line.arguments.iter().flat_map(|path| self.included(path, folder)).collect();
                    for path in included {
                        self.config(&path, folder, Some(&block), depth + 1);
                    }
                }
                _ => block.settings.push((line.keyword, line.arguments.join(" "))),
            }
        }
        self.keep(&mut block);
    }

    /// Closes a block, or the part of it before an Include.
    fn keep(&mut self, block: &mut Block) {
        let settings = std::mem::take(&mut block.settings);
        if block.kind != BlockKind::Top || !settings.is_empty() {
            self.blocks.push(Block { settings, ..block.clone() });
        }
    }

    fn included(&self, path: &str, folder: &Path) -> Vec<PathBuf> {
        let path = match (path.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => folder.join(path),
        };
        let Some(pattern) = path.to_str() else { return Vec::new() };
        glob::glob(pattern).map(|found| found.flatten().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::paths::Environment;

    #[test]
    fn names_are_found_wherever_ssh_would_find_them() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path();
        let write = |name: &str, text: &str| {
            let path = home.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let line = format!("Include {}/.ssh/eic/guard", home.display());
        write(".ssh/eic/guard", "Host ours\n");
        write(
            ".ssh/config",
            &format!(
                "{line}\nUser me\nHost *\n  Port 1\nHost * !x\nHost plain \"quoted\"\nHost db-? !db-9\n  Include conf.d/*.conf\n\
                 Match originalhost m1,m2-* user x\nMatch all\n  Include ~/other\n"
            ),
        );
        write(".ssh/conf.d/a.conf", "Host nested\n");
        write("other", "HOST=late\n  User z\n");
        write(
            ".ssh/known_hosts",
            "known,10.0.0.1 ssh-ed25519 A\n|1|a= ssh-rsa B\n[odd]:2222 ssh-rsa C\n@cert-authority *.x,ca ssh-rsa D\n|1|WLtgV1kIHgr2C39LlktB2x4wVz0=|aMnI5djLPvPUcd1LijPHroaOoS0= ssh-rsa E\n",
        );
        let environment = Environment { home: Some(home.to_owned()), ..Environment::default() };
        let reach = Reach::read(&Paths::new(&environment).unwrap(), &line);
        for name in ["plain", "quoted", "db-1", "nested", "m1", "m2-x", "late", "known", "odd", "ca", "localhost"] {
            assert!(reach.of(name).is_some(), "{name}");
        }
        for name in ["ours", "x", "web", "db-9", "db-10", "Plain", "m3"] {
            assert_eq!(reach.of(name), None, "{name}");
        }
        assert_eq!(reach.by_hash("gitlab"), Some(Conflict::Line(home.join(".ssh/known_hosts"), 5)));
        assert_eq!((reach.by_hash("gitlab2"), reach.by_hash("known")), (None, None));
        reach.computed.store(MOST_HASHES, Ordering::Relaxed);
        assert!(reach.by_hash("gitlab2").is_some(), "not compared, so not given");
        let Some(Conflict::Block(at)) = reach.of("db-1") else { panic!("no block") };
        assert_eq!(reach.blocks[at].title(), "Host db-? !db-9");
        assert_eq!(reach.location(&reach.blocks[at], 2), "~/.ssh/config:9");
        let late = reach.blocks.iter().find(|block| block.is_about("late") && !block.is_general()).unwrap();
        assert_eq!(late.settings, [("user".to_owned(), "z".to_owned())]);
    }
}
