//! The table of contrib/bench/README.md, written between two marker comments; the rest of the file stays byte for byte.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::report::{Line, Report, Verdict};

const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";

const HEAD: [&str; 6] = ["budget", "what", "limit", "measured", "floor", "verdict"];

/// The report as a table of GitHub's markdown, under a line that names the machine.
pub(crate) fn table(report: &Report) -> String {
    let machine = report.machine.in_words().join("; ");
    let short = if report.short { " Few runs of small fleets: only to see that it works." } else { "" };
    let row = |cells: [String; 6]| format!("| {} |\n", cells.join(" | "));
    let rows: String = report.lines.iter().map(|line| row(cells(line))).collect();
    let head = row(HEAD.map(String::from));
    format!("Measured on {}.{short}\n\n{head}| --- | --- | ---: | ---: | ---: | --- |\n{rows}", escape(&machine))
}

fn cells(line: &Line) -> [String; 6] {
    let [row, what, limit, floor, measured, ..] = line.cells();
    let verdict = match (line.verdict, line.measured) {
        (Verdict::Ok, _) => "within its limit".into(),
        (Verdict::Over, _) => "**over its limit**".into(),
        (Verdict::Floor, _) => "over its limit, and so is the floor".into(),
        (Verdict::None, Some(_)) => "no limit".into(),
        (Verdict::None, None) => format!("not measured: {}", line.detail),
    };
    [row, escape(&what), limit, measured, floor, if line.measured.is_none() { escape(&verdict) } else { verdict }]
}

/// Text that comes out as it is, in a cell.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '|' | '*' | '<' | '`' | '[') {
            escaped.push('\\');
        }
        escaped.push(if c.is_control() { ' ' } else { c });
    }
    escaped
}

/// Fails where [`put`] would.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    written(path, "")?;
    successor(path).map(drop)
}

/// Writes the table between the markers of a file, or a file of the two with the table between them.
///
/// # Errors
/// If the file has something in it and not each marker once, in their order; it is as it was then.
pub(crate) fn put(path: &Path, table: &str) -> io::Result<()> {
    let bytes = written(path, table)?;
    let (mut file, path) = successor(path)?;
    file.write_all(&bytes)?;
    file.persist(path)?;
    Ok(())
}

/// A file to take the place of one, and that one with its links resolved. A full disk must not cost the text around the
/// table.
fn successor(path: &Path) -> io::Result<(NamedTempFile, PathBuf)> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = fs::metadata(&path).map_or_else(|_| Permissions::from_mode(0o644), |metadata| metadata.permissions());
    let file = tempfile::Builder::new().permissions(mode).tempfile_in(folder);
    Ok((file.map_err(|error| about(&path, &error.to_string()))?, path))
}

fn written(path: &Path, table: &str) -> io::Result<Vec<u8>> {
    let old = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read.map_err(|error| about(path, &error.to_string()))?,
    };
    if old.is_empty() {
        return Ok(format!("{BEGIN}\n{table}{END}\n").into_bytes());
    }
    splice(&old, table).map_err(|why| about(path, &why))
}

fn about(path: &Path, why: &str) -> io::Error {
    io::Error::other(format!("{}: {why}", path.display()))
}

fn splice(old: &[u8], table: &str) -> Result<Vec<u8>, String> {
    let (begin, end) = (only(old, BEGIN)? + BEGIN.len(), only(old, END)?);
    if begin > end {
        return Err(format!("`{END}` stands before `{BEGIN}`"));
    }
    Ok([&old[..begin], b"\n", table.as_bytes(), &old[end..]].concat())
}

/// Where a marker is, if it is there once.
fn only(text: &[u8], marker: &str) -> Result<usize, String> {
    let windows = text.windows(marker.len()).enumerate();
    let mut found = windows.filter(|(_, window)| *window == marker.as_bytes()).map(|(at, _)| at);
    match (found.next(), found.next()) {
        (Some(at), None) => Ok(at),
        (None, _) => Err(format!("there is no `{marker}` in it")),
        (Some(_), Some(_)) => Err(format!("`{marker}` is there more than once")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{BEGIN, END, check, put, splice, table};
    use crate::report::sample;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let (before, after) = (b"# R\xe9sum\xe9\r\n\r\n\t".as_slice(), b"\r\nno newline at the end".as_slice());
        let old = [before, BEGIN.as_bytes(), b"| old |", END.as_bytes(), after].concat();
        let new = splice(&old, "| new |\n").unwrap();
        assert_eq!(new, [before, BEGIN.as_bytes(), b"\n| new |\n", END.as_bytes(), after].concat());
        assert_eq!(splice(&new, "| new |\n").unwrap(), new);
    }

    #[test]
    fn without_both_markers_nothing_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("README.md");
        for (text, why) in [
            ("# words\n".into(), "there is no `<!-- bench: begin -->` in it"),
            (format!("{BEGIN}\n"), "there is no `<!-- bench: end -->` in it"),
            (format!("{END}\n{BEGIN}\n"), "stands before"),
            (format!("{BEGIN}{END}{BEGIN}"), "more than once"),
        ] {
            fs::write(&path, &text).unwrap();
            for error in [check(&path).unwrap_err(), put(&path, "| new |\n").unwrap_err()] {
                let error = error.to_string();
                assert!(error.contains(why) && error.contains("README.md: "), "{error}");
            }
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a file was left behind");
    }

    #[test]
    fn a_new_file_is_the_table_and_can_be_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.md");
        put(&path, "| one |\n").unwrap();
        put(&path, "| two |\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{BEGIN}\n| two |\n{END}\n"));
        let error = check(&folder.path().join("no/such/folder")).unwrap_err().to_string();
        assert!(error.contains("no/such/folder"), "{error}");
    }

    #[test]
    fn verdicts_are_words_and_cells_stay_cells() {
        let text = table(&sample());
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with("Measured on A \\<fast> CPU, 2 cores, Linux 6.1; OpenSSH_9.2p1, ssh-eic 0.1.0."),
            "{text}"
        );
        assert!(!text.contains("/secret/place"), "{text}");
        assert_eq!(lines[2], "| budget | what | limit | measured | floor | verdict |");
        let row = |n: usize| lines[4 + n];
        assert_eq!(row(0), "| P5 | first sync \\| a \\<b> & \"c\" | <= 0.200x | 0.100x | - | within its limit |");
        assert_eq!(row(1), "| P5 | memory | <= 48.0 MiB | 96.0 MiB | 12.0 MiB | **over its limit** |");
        assert_eq!(row(2), "| P6 | ssh -G | <= 1.80x | 2.00x | 1.90x | over its limit, and so is the floor |");
        assert_eq!(row(3), "| P7 | 1 GiB | >= 0.970x | - | - | not measured: no \\`cat\\` |");
        assert_eq!(row(4), "| P8 | pushes | = 100 | 100 | - | within its limit |");
        assert_eq!(row(5), "| PEERS | mssh, first connection | - | 812.0 ms | - | no limit |");
    }
}
