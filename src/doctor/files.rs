//! The files that ssh and we read: whose they are, who can change them, and what an editor reads instead.

use std::fs;
use std::path::{Path, PathBuf};

use super::CheckContext;
use crate::domain::diagnosis::{Cause, Finding};
use crate::domain::ssh_config::render::FILES;
use crate::domain::{digest, editor};
use crate::error::{Error, Result};
use crate::store::{files, ssh_config, trusted};
use crate::sys::ssh_client;

/// ssh finds its config by the user database, and everybody else by $HOME.
pub(super) fn home(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let own = context.paths.ssh_config.display();
    if context.named_config().is_some() {
        return Ok(vec![Finding::ok("home", format!("SSH_EIC_HOME is set: ssh -F {own} NAME"))]);
    }
    let same = |a: &Path, b: &Path| a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    Ok(vec![match ssh_client::defaults()?.config {
        Some(read) if !same(&read, &context.paths.ssh_config) => {
            let message =
                format!("$HOME differs from your home in the user database: ssh reads {}, not {own}", read.display());
            let fix = format!("ssh -F {own} NAME, or set HOME to your home");
            Finding::problem("home", Cause::HomeDiffers, message).fix(fix)
        }
        _ => Finding::ok("home", own.to_string()),
    }])
}

/// Nobody else owns or can change what ssh reads (readconf.c refuses it for every host), and where our keys are.
pub(super) fn trusted(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let paths = context.paths;
    ssh_config::check_owner(paths, rustix::process::geteuid().as_raw())?;
    let ours = FILES.map(|name| paths.eic.join(name));
    for path in ours.iter().chain([&paths.keys()]) {
        match fs::metadata(path) {
            Ok(metadata) => trusted::check_trusted(path, &metadata)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::file("access", path, &error)),
        }
    }
    Ok(vec![Finding::ok("files", "yours, and nobody else can change them")])
}

/// The generated files are there and as the last sync wrote them.
pub(super) fn generated(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    if context.present()?.iter().all(|part| part.is_block) {
        return Ok(vec![Finding::ok("generated", "in the block, unchanged")]);
    }
    let mut texts = Vec::new();
    for name in FILES {
        let path = context.paths.eic.join(name);
        let Some(text) = files::read(&path)? else {
            let message = format!("{} is not there", path.display());
            return Ok(vec![Finding::problem("generated", Cause::GeneratedMissing, message)]);
        };
        texts.push(text);
    }
    let folder = context.paths.eic.display();
    let written = context.index()?.proven()?.generated;
    Ok(vec![if digest::of(texts.iter().map(Vec::as_slice)) == written {
        Finding::ok("generated", format!("{folder}/{{{}}}, unchanged", FILES.join(",")))
    } else {
        let message = format!("{folder}/{{{}}} are not what the last sync wrote", FILES.join(","));
        Finding::problem("generated", Cause::GeneratedEdited, message)
            .fix("ssh-eic sync; what shall stay belongs into [[host]] or [ssh] options of config.toml")
    }])
}

/// Where editors of one family keep the settings of a user, below the home.
const SETTINGS: [&str; 4] = [
    ".config/{}/User/settings.json",
    "Library/Application Support/{}/User/settings.json",
    ".vscode-server/data/Machine/settings.json",
    ".cursor-server/data/Machine/settings.json",
];
const EDITORS: [&str; 5] = ["Code", "Code - Insiders", "VSCodium", "Cursor", "Windsurf"];

/// No editor is set to read another config that knows nothing of us.
pub(super) fn editor(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let Some(home) = &context.paths.home else {
        return Ok(vec![Finding::ok("editor", "whatever -F it is told")]);
    };
    let mut settings: Vec<PathBuf> =
        EDITORS.iter().flat_map(|name| SETTINGS.map(|path| home.join(path.replace("{}", name)))).collect();
    settings.dedup();
    let line = ssh_config::include_line(context.paths)?;
    let mut notes: Vec<Finding> = Vec::new();
    for path in settings {
        let Some(read) = fs::read_to_string(&path).ok().as_deref().and_then(editor::config_file) else { continue };
        let file = read.strip_prefix("~/").map_or_else(|| PathBuf::from(&read), |rest| home.join(rest));
        let there = fs::read(&file).unwrap_or_default();
        let knows_us = crate::domain::ssh_config::edit::present(&there, &line).is_ok_and(|parts| !parts.is_empty());
        if file != context.paths.ssh_config && !knows_us {
            let message = format!(
                "{} sets remote.SSH.configFile to {read}, which has no Include line of ssh-eic",
                path.display()
            );
            let fix = format!("put this at the top of {read}: {line}");
            let note = Finding::note("editor", Cause::EditorConfig, message).fix(fix);
            notes.extend((!notes.contains(&note)).then_some(note));
        }
    }
    if notes.is_empty() {
        notes.push(Finding::ok("editor", "none is set to read another ssh config"));
    }
    Ok(notes)
}
