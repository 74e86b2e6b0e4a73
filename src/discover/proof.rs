//! Proves a new config with the real client before anything is replaced.
//!
//! One `ssh -G` parses every line; then one alias of each distinct set of options is resolved through the user's whole
//! config, and what comes out is compared with what was meant. For the second step our part is cut down to those
//! aliases: a client needs 20 ms for 10,000 hosts, and there may be hundreds of sets.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::domain::config::Config;
use crate::domain::digest;
use crate::domain::duration;
use crate::domain::fleet::{Host, Verdict};
use crate::domain::intent;
use crate::domain::source::KeyType;
use crate::domain::ssh_config::edit::{self, Edit, Part};
use crate::domain::ssh_config::options::{self, Written};
use crate::domain::ssh_config::render::{self, Files, OptionSet, Settings};
use crate::domain::ssh_config::shadow::{self, Options};
use crate::error::{Error, Kind, Result};
use crate::store::index::Proven;
use crate::store::paths::Paths;
use crate::store::reach::{Block, Reach};
use crate::store::ssh_config;
use crate::sys::ssh_client::{self, Complaint, ConfigFailure};

/// The system's own config, which ssh reads behind the user's.
const SYSTEM: &str = "/etc/ssh/ssh_config";

/// The config to prove.
pub struct ProofRequest<'a> {
    /// All paths.
    pub paths: &'a Paths,
    /// The checked config.
    pub config: &'a Config,
    /// What was rendered.
    pub generated: &'a Files,
    /// How.
    pub settings: &'a Settings,
    /// Bare names.
    pub bare: &'a [String],
    /// The user's config as it is.
    pub own: &'a [u8],
    /// What the user's config is about.
    pub reach: &'a Reach,
    /// What was proven before.
    pub before: &'a Proven,
    /// A folder for trials that only we can write.
    pub trial: &'a Path,
}

/// Findings that do not prevent the sync.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// The config of the user or the system has changed since the last sync.
    pub new_surroundings: bool,
    /// Aliases for which another ProxyCommand or ProxyJump wins.
    pub overridden: Vec<String>,
    /// Options that come from the user's config into our hosts and break them, and an alias for which they do.
    pub leaks: Vec<(String, String)>,
}

/// Proves the files as far as they have not been proven yet, and notes in the hosts what the user's config decides about
/// them.
///
/// # Errors
///
/// [`Kind::Config`] with ssh's words: nothing may be replaced then.
pub fn prove(request: &ProofRequest<'_>, hosts: &mut [Host]) -> Result<(Proven, Remarks)> {
    let surroundings = surroundings(request);
    let generated = digest::of(request.generated.named().map(|(_, text)| text.as_bytes()));
    let new_surroundings = surroundings != request.before.surroundings;
    let known = if new_surroundings { BTreeMap::new() } else { request.before.sets.clone() };
    let (group_of, firsts) = groups(request, hosts);
    let unknown = firsts.iter().filter(|(set, _)| !known.contains_key(*set));
    let (new_sets, new): (Vec<String>, Vec<Host>) =
        unknown.take(MOST_SETS).map(|(set, &at)| (set.clone(), hosts[at].clone())).unzip();
    if new_surroundings || generated != request.before.generated {
        parse(request, hosts)?;
    }
    let answers = if new.is_empty() && !new_surroundings { Vec::new() } else { resolve(request, &new)? };
    let mut remarks = Remarks { new_surroundings, ..Remarks::default() };
    let mut reported: BTreeSet<String> = BTreeSet::new();
    let mut sets = known;
    sets.retain(|set, _| firsts.contains_key(set));
    for ((set, host), (verdict, leaks)) in new_sets.into_iter().zip(&new).zip(answers) {
        if verdict.hook_pushes {
            remarks.overridden.push(host.label().to_owned());
        }
        for leak in leaks.into_iter().filter(|leak| reported.insert(leak.clone())) {
            remarks.leaks.push((leak, host.label().to_owned()));
        }
        sets.insert(set, verdict);
    }
    for (host, set) in hosts.iter_mut().zip(group_of) {
        if let Some(verdict) = set.and_then(|set| sets.get(&set)) {
            host.set_verdict(*verdict);
        }
    }
    Ok((Proven { generated, surroundings, sets }, remarks))
}

/// Sets of options that one sync proves at most: user and port are by tags, and whoever writes these does not decide how long a sync
/// takes. The next one goes on.
const MOST_SETS: usize = 400;

/// A digest of what the user and the system have written, and of what all of ours share.
fn surroundings(request: &ProofRequest<'_>) -> String {
    let blocks = format!("{:?}", request.reach.blocks);
    let shared = format!("{:?}", request.settings);
    let own = ssh_config::include_line(request.paths).ok().and_then(|line| edit::remove(request.own, &line).ok());
    let own = own.as_deref().unwrap_or(request.own);
    digest::of([own, blocks.as_bytes(), shared.as_bytes(), env!("CARGO_PKG_VERSION").as_bytes()])
}

/// Lets the client read every line, and resolve the last host of all.
fn parse(request: &ProofRequest<'_>, hosts: &[Host]) -> Result<()> {
    check_options(request.paths, &options(request.settings, hosts), request.trial)?;
    let every_line = written(request, "all", request.generated)?;
    let last = hosts.iter().rfind(|host| request.settings.names(host));
    let resolved =
        ssh_client::effective(Some(&every_line), last.map_or("localhost", Host::label)).map_err(|error| {
            let words = format!("the generated config is not what ssh reads, nothing was changed: {}", error.message);
            Error::new(Kind::Bug, words)
        })?;
    last.map_or(Ok(()), |last| check(last, &resolved, request).map(drop))
}

/// Resolves each of these, and one bare name, through the user's whole config.
fn resolve(request: &ProofRequest<'_>, hosts: &[Host]) -> Result<Vec<HostProof>> {
    let bare: Vec<String> = request.bare.iter().take(1).cloned().collect();
    // A client reads a short config sooner.
    let chunks: Vec<&[Host]> = if hosts.is_empty() { vec![&[]] } else { hosts.chunks(SAMPLES).collect() };
    let mut answers = Vec::new();
    for (number, chunk) in chunks.into_iter().enumerate() {
        let include = written(request, &format!("some-{number}"), &render::files(chunk, &bare, request.settings))?;
        let whole = Whole::write(request, &include)?;
        answers.extend(in_parallel(chunk, |host| {
            whole.resolve(host.label()).and_then(|found| check(host, &found, request))
        })?);
        if chunk.is_empty() {
            whole.resolve("localhost")?;
        }
    }
    Ok(answers)
}

/// What was found of a host, and what leaks into it.
type HostProof = (Verdict, Vec<String>);

/// Hosts in one trial config.
const SAMPLES: usize = 40;

/// Writes trial files and a config that includes them alone.
fn written(request: &ProofRequest<'_>, name: &str, files: &Files) -> Result<PathBuf> {
    let folder = request.trial.join(name);
    let files = files.relocated(&request.settings.folder, &folder.to_string_lossy());
    ssh_config::write_generated(&folder, &files)?;
    let alone = folder.join("alone");
    write(&alone, format!("{}\n", render::include_line(&folder.to_string_lossy())).as_bytes())?;
    Ok(alone)
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).map_err(|error| Error::file("write the trial config", path, &error))
}

/// The user's whole config with a trial of ours in it.
struct Whole<'a> {
    path: PathBuf,
    own: &'a Path,
    /// Lines that the trial has more than the user's file above any line of theirs.
    shift: i64,
}

impl<'a> Whole<'a> {
    fn write(request: &ProofRequest<'a>, alone: &Path) -> Result<Self> {
        let line = ssh_config::include_line(request.paths)?;
        let planned = match edit::insert(request.own, &line, Part::Line) {
            Edit::Replace(config) => config,
            Edit::Nothing | Edit::Stop(_) => request.own.to_vec(),
        };
        let include = fs::read_to_string(alone).map_err(|error| Error::file("read", alone, &error))?;
        let planned = edit::replace_line(&planned, &line, include.trim_end());
        let count = |bytes: &[u8]| i64::try_from(bytes.split(|&b| b == b'\n').count()).unwrap_or(0);
        let shift = count(&planned) - count(request.own);
        let system =
            if Path::new(SYSTEM).exists() { format!("\nMatch all\nInclude {SYSTEM}\n") } else { String::new() };
        let path = request.trial.join("whole");
        write(&path, &[planned.as_slice(), system.as_bytes()].concat())?;
        Ok(Self { path, own: &request.paths.ssh_config, shift })
    }

    fn resolve(&self, name: &str) -> Result<Options> {
        ssh_client::resolve(Some(&self.path), name).map_err(|failure| {
            let ConfigFailure { mut error, complaint } = failure;
            if let Some(Complaint { line, reason }) = complaint {
                error.message = format!("ssh rejects the config: {}", self.in_own_file(line, &reason));
            }
            (*error).hint("correct it in config.toml; nothing was changed")
        })
    }

    /// A complaint about the trial config as one about the user's file, in which the Include line may be missing yet.
    fn in_own_file(&self, line: Option<usize>, reason: &str) -> String {
        let own = self.own.display();
        match line.and_then(|line| i64::try_from(line).ok()) {
            Some(line) => format!("{own}:{}: {reason}", (line - self.shift).max(1)),
            None => format!("{own}: {reason}"),
        }
    }
}

/// The set of options of each host, and one host of each set, by digests. Hosts that different blocks of the user's match
/// are in different sets.
fn groups(request: &ProofRequest<'_>, hosts: &[Host]) -> (Vec<Option<String>>, BTreeMap<String, usize>) {
    let specific: Vec<_> = request.reach.blocks.iter().filter(|block| !block.is_general()).collect();
    let mut sets: BTreeMap<(OptionSet<'_>, Vec<usize>), String> = BTreeMap::new();
    let mut firsts = BTreeMap::new();
    let mut group_of = Vec::with_capacity(hosts.len());
    for (at, host) in hosts.iter().enumerate() {
        if !request.settings.names(host) {
            group_of.push(None);
            continue;
        }
        let about = |block: &Block| host.all_names().any(|name| block.is_about(name));
        let matching: Vec<usize> = (0..specific.len()).filter(|&block| about(specific[block])).collect();
        let set = sets.entry((OptionSet::of(host).anywhere(), matching)).or_insert_with_key(|set| {
            let digest = digest::of([format!("{set:?}").as_bytes()]);
            firsts.insert(digest.clone(), at);
            digest
        });
        group_of.push(Some(set.clone()));
    }
    (group_of, firsts)
}

/// Runs `resolve` for all hosts on as many threads as there are processors.
fn in_parallel(hosts: &[Host], resolve: impl Fn(&Host) -> Result<HostProof> + Sync) -> Result<Vec<HostProof>> {
    let next = AtomicUsize::new(0);
    let found: Mutex<BTreeMap<usize, Result<HostProof>>> = Mutex::default();
    let threads = thread::available_parallelism().map_or(2, usize::from).min(8).min(hosts.len().max(1));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(host) = hosts.get(at) else { return };
                    let finding = resolve(host);
                    if let Ok(mut found) = found.lock() {
                        found.insert(at, finding);
                    }
                }
            });
        }
    });
    found.into_inner().unwrap_or_default().into_values().collect()
}

/// The options of config.toml that the generated files contain.
#[must_use]
pub fn options<'a>(settings: &'a Settings, hosts: &'a [Host]) -> BTreeSet<(&'a String, &'a String)> {
    settings.options.iter().chain(hosts.iter().flat_map(|host| &host.options)).collect()
}

/// Validates options of config.toml with `ssh -G`, so that an error names the option and not a line of a generated file.
///
/// # Errors
///
/// [`Kind::Config`] naming the option.
pub fn check_options(paths: &Paths, wanted: &BTreeSet<(&String, &String)>, trial: &Path) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let wanted: Vec<(&String, &String)> = wanted.iter().copied().collect();
    let path = trial.join("options");
    let lines: Vec<String> = wanted.iter().map(|(keyword, value)| format!("{keyword} {value}\n")).collect();
    write(&path, lines.concat().as_bytes())?;
    ssh_client::resolve(Some(&path), "localhost").map(drop).map_err(|ConfigFailure { error, complaint }| {
        let Some(Complaint { line: Some(line), reason }) = complaint else { return *error };
        let Some((keyword, value)) = wanted.get(line.saturating_sub(1)) else { return *error };
        let (file, reason) = (paths.config.display(), reason.to_lowercase());
        Error::new(Kind::Config, format!("{file}: ssh rejects the option {keyword} = {value:?}: {reason}"))
            .hint("correct it in config.toml; nothing was changed")
    })
}

fn first<'a>(resolved: &'a Options, keyword: &str) -> &'a str {
    resolved.get(keyword).and_then(|values| values.first()).map_or("", String::as_str)
}

fn is_our_proxy(resolved: &Options, request: &ProofRequest<'_>) -> bool {
    let ours = format!("'{}'", request.settings.binary.replace('%', "%%"));
    let proxy = first(resolved, "proxycommand");
    proxy.contains(&ours) && proxy.contains(" proxy ") && matches!(first(resolved, "proxyjump"), "" | "none")
}

fn check(host: &Host, resolved: &Options, request: &ProofRequest<'_>) -> Result<HostProof> {
    let address = host.address.as_deref().unwrap_or(host.id.as_str());
    let port = host.port.to_string();
    for option in options::OPTIONS.iter().filter(|option| option.is_proven) {
        let keyword = &option.keyword.to_ascii_lowercase();
        let meant = match (option.written, option.keyword) {
            (Written::Fixed(value), _) => value,
            (_, "HostKeyAlias") => host.id.as_str(),
            (_, "HostName") => address,
            (_, "Port") => &port,
            (_, "User") => host.user.as_str(),
            _ => continue,
        };
        let read = first(resolved, keyword);
        if read != meant {
            let words =
                format!("ssh reads {keyword} {read:?} for {}, not {meant:?}; nothing was changed", host.label());
            return Err(Error::new(Kind::Config, words).hint(
                "an earlier line of your ssh config or the system's, or options in config.toml, sets another value",
            ));
        }
    }
    let timeout = duration::seconds(first(resolved, "connecttimeout"));
    let verdict = Verdict {
        hook_pushes: !is_our_proxy(resolved, request),
        connect_timeout: timeout.and_then(|seconds| u32::try_from(seconds).ok()),
        connection_attempts: first(resolved, "connectionattempts").parse().ok().filter(|&attempts| attempts > 1),
        quiet: intent::is_quiet_level(first(resolved, "loglevel")),
    };
    Ok((verdict, leaks(host, resolved, request)))
}

/// The type of the host's keys, or each that is configured where an entry of the config stands for many sources.
fn key_types(host: &Host, config: &Config) -> Vec<KeyType> {
    match config.source(&host.source) {
        Some(source) => vec![source.key_type],
        None => config.sources.iter().map(|source| source.key_type).collect(),
    }
}

/// Options of the user's config that prevent a login or a command on a managed host.
fn leaks(host: &Host, resolved: &Options, request: &ProofRequest<'_>) -> Vec<String> {
    let wanted = |keyword: &str| {
        request.settings.options.keys().chain(host.options.keys()).any(|own| own.eq_ignore_ascii_case(keyword))
    };
    let mut leaks = Vec::new();
    let command = first(resolved, "remotecommand");
    if !matches!(command, "" | "none") && !wanted("RemoteCommand") {
        leaks.push(format!("RemoteCommand {command}, so scp, rsync, git and Ansible cannot run their commands"));
    }
    leaks.extend(shadow::unusable_keys(resolved, &key_types(host, request.config)));
    if matches!(first(resolved, "sessiontype"), "none" | "subsystem") && !wanted("SessionType") {
        leaks.push(format!("SessionType {}, so no shell or command is run", first(resolved, "sessiontype")));
    }
    if first(resolved, "forkafterauthentication") == "yes" && !wanted("ForkAfterAuthentication") {
        leaks.push("ForkAfterAuthentication yes, so ssh goes to the background".to_owned());
    }
    leaks
}
