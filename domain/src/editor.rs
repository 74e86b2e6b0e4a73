//! The ssh config file that VS Code Remote-SSH and its derivatives use.

use serde_json::Value;

/// The value of `remote.SSH.configFile` in a settings file (JSON with comments and trailing commas).
#[must_use]
pub fn config_file(settings: &str) -> Option<String> {
    let settings: Value = serde_json::from_str(&strict_json(settings)).ok()?;
    settings.get("remote.SSH.configFile")?.as_str().filter(|path| !path.is_empty()).map(str::to_owned)
}

/// Removes comments and trailing commas.
fn strict_json(text: &str) -> String {
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
                let trimmed = out.trim_end();
                out.truncate(trimmed.strip_suffix(',').unwrap_or(trimmed).len());
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
    fn comments_and_trailing_commas_are_ignored() {
        let settings = "{\n  // \"remote.SSH.configFile\": \"/no\",\n  \"a\": [1, 2,], /* x */\n  \"url\": \"http://x\",\n  \"remote.SSH.configFile\": \"C:\\\\s\\\"sh\",\n}\n";
        assert_eq!(config_file(settings).as_deref(), Some("C:\\s\"sh"));
        for none in ["{}", "", "{\"remote.SSH.configFile\": \"\"}", "{\"remote.SSH.configFile\": 1}", "nonsense"] {
            assert_eq!(config_file(none), None, "{none}");
        }
    }
}
