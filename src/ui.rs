//! Words on the terminal: messages on stderr in one form, data on stdout, progress only where somebody watches.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use crate::error::Error;

/// How much is said: 0 errors only (`-q`), 1 what was done, 2 `-v`, 3 `-vv`.
static LEVEL: AtomicU8 = AtomicU8::new(1);

/// Whether stderr is read by something that takes our words for others'.
static SILENT: AtomicBool = AtomicBool::new(false);

/// Sets how much is said, from the flags and `SSH_EIC_LOG`.
pub fn set_level(quiet: bool, verbose: u8, variable: Option<&str>) {
    let from_variable = match variable {
        Some("quiet" | "error") => 0,
        Some("info" | "1") => 2,
        Some("debug" | "trace" | "2") => 3,
        _ => 1,
    };
    let _ = BEGAN.set(Instant::now());
    // Flags win over the variable.
    let level = match (quiet, verbose) {
        (true, _) => 0,
        (false, 0) => from_variable,
        (false, flags) => 1 + flags.min(2),
    };
    LEVEL.store(level, Ordering::Relaxed);
}

/// From here on nothing is said, not even an error.
pub fn silence() {
    SILENT.store(true, Ordering::Relaxed);
}

/// Whether nothing is printed, not even an error.
#[must_use]
pub fn is_silent() -> bool {
    SILENT.load(Ordering::Relaxed)
}

/// Whether only errors are said.
#[must_use]
pub fn is_quiet() -> bool {
    LEVEL.load(Ordering::Relaxed) == 0
}

/// When the program began, as far as `-vv` is concerned.
static BEGAN: OnceLock<Instant> = OnceLock::new();

/// A line under `-vv`, with the time since the start.
pub fn trace(message: impl FnOnce() -> String) {
    if LEVEL.load(Ordering::Relaxed) >= 3 {
        let passed = BEGAN.get_or_init(Instant::now).elapsed();
        say(&format!("ssh-eic: trace: {:.3} s {}", passed.as_secs_f64(), harmless(&message())));
    }
}

/// Words that may come from AWS, a tag or a file: no control character reaches the terminal, no newline makes a second
/// message of ours, and nothing is shown in another order than it stands.
#[must_use]
pub fn harmless(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    text.chars().map(|c| if c.is_control() || turns(c) { ' ' } else { c }).collect()
}

fn say(line: &str) {
    if SILENT.load(Ordering::Relaxed) {
        return;
    }
    // A closed stderr is no reason to fail: under ControlPersist there is none.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// `ssh-eic: error: …` and its hints.
pub fn error(error: &Error) {
    say(&format!("{} {}", painted("ssh-eic: error:", "31"), harmless(&error.message)));
    for hint in &error.hints {
        say(&format!("{} {}", painted("ssh-eic: hint:", "36"), harmless(hint)));
    }
    if let Some(source) = &error.source
        && LEVEL.load(Ordering::Relaxed) >= 2
    {
        say(&format!("ssh-eic: debug: {}", harmless(source)));
    }
}

/// `ssh-eic: warning: …`, unless `-q`.
pub fn warning(message: &str) {
    if LEVEL.load(Ordering::Relaxed) >= 1 {
        say(&format!("{} {}", painted("ssh-eic: warning:", "33"), harmless(message)));
    }
}

/// `ssh-eic: hint: …`, unless `-q`.
pub fn hint(message: &str) {
    if LEVEL.load(Ordering::Relaxed) >= 1 {
        say(&format!("{} {}", painted("ssh-eic: hint:", "36"), harmless(message)));
    }
}

/// A line about what was done, unless `-q`.
pub fn note(message: &str) {
    if LEVEL.load(Ordering::Relaxed) >= 1 {
        say(&format!("ssh-eic: {}", harmless(message)));
    }
}

/// A line under `-v`.
pub fn verbose(message: impl FnOnce() -> String) {
    if LEVEL.load(Ordering::Relaxed) >= 2 {
        say(&format!("ssh-eic: debug: {}", harmless(&message())));
    }
}

fn painted(text: &str, colour: &str) -> String {
    coloured(&io::stderr(), text, &format!("1;{colour}"))
}

/// The text in a colour (an SGR parameter of ECMA-48), if `stream` is a terminal and nobody minds.
#[must_use]
pub fn coloured(stream: &impl IsTerminal, text: &str, colour: &str) -> String {
    if stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// The columns of the terminal that `stream` is; none where it is none.
#[must_use]
pub fn width_of(stream: &(impl IsTerminal + std::os::fd::AsFd)) -> Option<usize> {
    if !stream.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(stream).ok().map(|size| usize::from(size.ws_col)).filter(|&columns| columns > 0)
}

/// How far the questions to AWS have come: on a terminal's stderr; silent elsewhere and under `-q`.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: ProgressBar,
    instances: Arc<AtomicUsize>,
}

impl Progress {
    /// Begins. The bar is gone as soon as the last copy is.
    #[must_use]
    pub fn start() -> Self {
        let instances = Arc::new(AtomicUsize::new(0));
        if LEVEL.load(Ordering::Relaxed) == 0 || !io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden(), instances };
        }
        let style = ProgressStyle::with_template("{spinner} asking AWS: {pos} of {len} regions, {msg} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar =
            ProgressBar::new(0).with_style(style).with_message("0 instances").with_finish(ProgressFinish::AndClear);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, instances }
    }

    /// So many regions more will be asked.
    pub fn more(&self, regions: usize) {
        self.bar.inc_length(regions as u64);
    }

    /// So many have answered.
    pub fn done(&self, regions: usize) {
        self.bar.inc(regions as u64);
    }

    /// So many instances more are known.
    pub fn found(&self, instances: usize) {
        let all = self.instances.fetch_add(instances, Ordering::Relaxed) + instances;
        self.bar.set_message(format!("{all} instances"));
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// What is being done just now: on a terminal's stderr; silent elsewhere and under `-q`.
#[derive(Debug)]
pub struct Activity(ProgressBar);

impl Activity {
    /// Begins. It is gone with the value.
    #[must_use]
    pub fn start() -> Self {
        if LEVEL.load(Ordering::Relaxed) == 0 || !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::new_spinner().with_style(style).with_finish(ProgressFinish::AndClear);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// Says what.
    pub fn about(&self, what: &str) {
        self.0.set_message(what.to_owned());
        self.0.reset_elapsed();
    }

    /// Makes room while something else is written to the same terminal.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.0.suspend(write)
    }
}
