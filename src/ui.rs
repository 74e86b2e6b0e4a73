//! Messages on stderr, and progress if stderr is a terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use crate::error::{Error, Kind, Result, reason};

/// 0: errors only (`-q`); 1: also what was done; 2: `-v`; 3: `-vv`.
static LEVEL: AtomicU8 = AtomicU8::new(1);

/// Whether nothing is printed, because the reader of stderr would not expect this program's messages.
static SILENT: AtomicBool = AtomicBool::new(false);

/// Sets the level of messages from the flags and `SSH_EIC_LOG`.
pub fn set_level(quiet: bool, verbose: u8, variable: Option<&str>) {
    let from_variable = match variable {
        Some("quiet" | "error") => 0,
        Some("info" | "1") => 2,
        Some("debug" | "trace" | "2") => 3,
        _ => 1,
    };
    let _ = START.set(Instant::now());
    // Flags win over the variable.
    let level = match (quiet, verbose) {
        (true, _) => 0,
        (false, 0) => from_variable,
        (false, flags) => 1 + flags.min(2),
    };
    LEVEL.store(level, Ordering::Relaxed);
}

/// Prints nothing from now on, not even an error.
pub fn silence() {
    SILENT.store(true, Ordering::Relaxed);
}

/// Whether nothing is printed, not even an error.
#[must_use]
pub fn is_silent() -> bool {
    SILENT.load(Ordering::Relaxed)
}

/// Whether messages are printed on a terminal.
#[must_use]
pub fn is_on_terminal() -> bool {
    !is_silent() && io::stderr().is_terminal()
}

/// Whether only errors are printed.
#[must_use]
pub fn is_quiet() -> bool {
    LEVEL.load(Ordering::Relaxed) == 0
}

/// The start of the program, for the times under `-vv`.
static START: OnceLock<Instant> = OnceLock::new();

/// A line under `-vv`, with the time since the start.
pub fn trace(message: impl FnOnce() -> String) {
    if LEVEL.load(Ordering::Relaxed) >= 3 {
        let passed = START.get_or_init(Instant::now).elapsed();
        print_line(&format!("ssh-eic: trace: {:.3} s {}", passed.as_secs_f64(), shown(&message())));
    }
}

/// The text as it is shown: on one line, without control characters and without characters that change the direction of
/// text (parts of it may come from AWS, a tag or a file), and with `~` for the user's home.
#[must_use]
pub fn shown(text: &str) -> String {
    let changes_direction =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    let text = text.chars().map(|c| if c.is_control() || changes_direction(c) { ' ' } else { c }).collect();
    with_home_shortened(text)
}

/// `~/.ssh/config` for `/home/jo/.ssh/config`, wherever the text has a path below the user's home.
#[must_use]
pub fn with_home_shortened(text: String) -> String {
    static HOME: OnceLock<Option<String>> = OnceLock::new();
    let home = HOME.get_or_init(|| dirs::home_dir()?.into_os_string().into_string().ok());
    match home {
        Some(home) => shortened(text, home),
        None => text,
    }
}

fn shortened(text: String, home: &str) -> String {
    if home.len() < 2 || !home.starts_with('/') || !text.contains(home) {
        return text;
    }
    let mut result = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(home) {
        let (before, behind) = (&rest[..at], &rest[at + home.len()..]);
        result += before;
        // Not in the middle of another path, and not /home/jo in /home/john.
        let begins = !result.ends_with(|c: char| c.is_alphanumeric() || "/._-~=".contains(c));
        let ends = behind.starts_with('/');
        result += if begins && ends { "~" } else { home };
        rest = behind;
    }
    result + rest
}

fn print_line(line: &str) {
    if SILENT.load(Ordering::Relaxed) {
        return;
    }
    // A closed stderr is no error: under ControlPersist there is none.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// `ssh-eic: error: …` and its hints.
pub fn error(error: &Error) {
    print_line(&format!("{} {}", painted("ssh-eic: error:", "31"), shown(&error.message)));
    for hint in &error.hints {
        print_line(&format!("{} {}", painted("ssh-eic: hint:", "36"), shown(hint)));
    }
    if let Some(source) = &error.source
        && LEVEL.load(Ordering::Relaxed) >= 2
    {
        print_line(&format!("ssh-eic: debug: {}", shown(source)));
    }
}

/// `ssh-eic: warning: …`, unless `-q`.
pub fn warning(message: &str) {
    if LEVEL.load(Ordering::Relaxed) >= 1 {
        print_line(&format!("{} {}", painted("ssh-eic: warning:", "33"), shown(message)));
    }
}

/// `ssh-eic: hint: …`, unless `-q`.
pub fn hint(message: &str) {
    if LEVEL.load(Ordering::Relaxed) >= 1 {
        print_line(&format!("{} {}", painted("ssh-eic: hint:", "36"), shown(message)));
    }
}

/// A line about what was done, unless `-q`.
pub fn note(message: &str) {
    if LEVEL.load(Ordering::Relaxed) >= 1 {
        print_line(&format!("ssh-eic: {}", shown(message)));
    }
}

/// A line under `-v`.
pub fn verbose(message: impl FnOnce() -> String) {
    if LEVEL.load(Ordering::Relaxed) >= 2 {
        print_line(&format!("ssh-eic: debug: {}", shown(&message())));
    }
}

/// Whether a user can be asked: stdin and stderr are terminals, and it is not `-q`.
#[must_use]
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal() && !is_quiet()
}

/// A plain line on stderr, for lists to choose from.
pub fn print_on_terminal(line: &str) {
    print_line(&shown(line));
}

/// Asks a question on stderr and reads a line from stdin; `None` at its end.
///
/// # Errors
///
/// [`Kind::File`] if stdin cannot be read.
pub fn ask(question: &str) -> Result<Option<String>> {
    let _ = write!(io::stderr().lock(), "{} ", painted(&format!("{}:", shown(question)), "36"));
    let mut line = String::new();
    let length = io::stdin()
        .read_line(&mut line)
        .map_err(|error| Error::new(Kind::File, format!("cannot read from the terminal: {}", reason(&error))))?;
    Ok((length > 0).then_some(line))
}

fn painted(text: &str, colour: &str) -> String {
    coloured(&io::stderr(), text, &format!("1;{colour}"))
}

/// The text in a colour (an SGR parameter of ECMA-48), if `stream` is a terminal and `NO_COLOR` is not set.
#[must_use]
pub fn coloured(stream: &impl IsTerminal, text: &str, colour: &str) -> String {
    if stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// The columns of a terminal; none if `stream` is not one.
#[must_use]
pub fn width_of(stream: &(impl IsTerminal + std::os::fd::AsFd)) -> Option<usize> {
    if !stream.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(stream).ok().map(|size| usize::from(size.ws_col)).filter(|&columns| columns > 0)
}

/// Progress of discovery. Shown only if stderr is a terminal, and not under `-q`.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: ProgressBar,
    instances: Arc<AtomicUsize>,
}

impl Progress {
    /// Shows the bar until the last copy is dropped.
    #[must_use]
    pub fn start() -> Self {
        let instances = Arc::new(AtomicUsize::new(0));
        if LEVEL.load(Ordering::Relaxed) == 0 || !io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden(), instances };
        }
        let style = ProgressStyle::with_template("{spinner} querying AWS: {pos} of {len} regions, {msg} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar =
            ProgressBar::new(0).with_style(style).with_message("0 instances").with_finish(ProgressFinish::AndClear);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, instances }
    }

    /// Adds to the number of regions.
    pub fn more(&self, regions: usize) {
        self.bar.inc_length(regions as u64);
    }

    /// Adds to the number of regions that are done.
    pub fn done(&self, regions: usize) {
        self.bar.inc(regions as u64);
    }

    /// Adds to the number of instances.
    pub fn found(&self, instances: usize) {
        let all = self.instances.fetch_add(instances, Ordering::Relaxed) + instances;
        self.bar.set_message(format!("{all} instances"));
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// The current activity. Shown only if stderr is a terminal, and not under `-q`.
#[derive(Debug)]
pub struct Activity(ProgressBar);

impl Activity {
    /// Shows it until the value is dropped.
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

    /// Sets the text.
    pub fn about(&self, what: &str) {
        self.0.set_message(what.to_owned());
        self.0.reset_elapsed();
    }

    /// Hides it while `write` writes to the same terminal.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.0.suspend(write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_the_home_are_shown_with_a_tilde() {
        for (text, expected) in [
            ("cannot read /home/jo/.ssh/config: x", "cannot read ~/.ssh/config: x"),
            ("\"/home/jo/a\" and /home/jo/b", "\"~/a\" and ~/b"),
            ("/home/john/a", "/home/john/a"),
            ("/mnt/home/jo/a", "/mnt/home/jo/a"),
            ("HOME is /home/jo", "HOME is /home/jo"),
        ] {
            assert_eq!(shortened(text.to_owned(), "/home/jo"), expected);
        }
        assert_eq!(shortened("/a".to_owned(), "/"), "/a");
    }
}
