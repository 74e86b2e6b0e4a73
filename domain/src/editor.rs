//! Which ssh config an editor reads: the setting of VS Code's Remote-SSH and its relatives.

use serde_json::Value;

/// The value of `remote.SSH.configFile` in a settings file (JSON with comments and commas too many).
#[must_use]
pub fn config_file(settings: &str) -> Option<String> {
    let settings: Value = serde_json::from_str(&plain_json(settings)).ok()?;
    settings.get("remote.SSH.configFile")?.as_str().filter(|path| !path.is_empty()).map(str::to_owned)
}

/// Takes comments out, and commas before a closing bracket.
fn plain_json(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars().peekable();
    let mut in_string = false;
    while let Some(c) = letters.next() {
        match (c, in_string) {
            ('\\', true) => {
                out.push(c);
                out.extend(letters.next());
            }
            ('"', _) => {
                in_string = !in_string;
                out.push(c);
            }
            ('/', false) if letters.peek() == Some(&'/') => while letters.next_if(|&c| c != '\n').is_some() {},
            ('/', false) if letters.peek() == Some(&'*') => {
                letters.next();
                let mut last = ' ';
                for c in letters.by_ref() {
                    if last == '*' && c == '/' {
                        break;
                    }
                    last = c;
                }
            }
            ('}' | ']', false) => {
                let kept = out.trim_end();
                out.truncate(kept.strip_suffix(',').unwrap_or(kept).len());
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::config_file;

    #[test]
    fn settings_are_read_as_the_editor_reads_them() {
        let settings = "{\n  // \"remote.SSH.configFile\": \"/no\",\n  \"a\": [1, 2,], /* x */\n  \"url\": \"http://x\",\n  \"remote.SSH.configFile\": \"C:\\\\s\\\"sh\",\n}\n";
        assert_eq!(config_file(settings).as_deref(), Some("C:\\s\"sh"));
        for none in ["{}", "", "{\"remote.SSH.configFile\": \"\"}", "{\"remote.SSH.configFile\": 1}", "nonsense"] {
            assert_eq!(config_file(none), None, "{none}");
        }
    }
}
