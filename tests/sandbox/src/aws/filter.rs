//! EC2's filters and numbered lists.

use super::Params;
use super::dialect::Fault;

const MAX_VALUES: usize = 200;

/// One `Filter.N`: any of its values will do.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) name: String,
    patterns: Vec<String>,
}

impl Filter {
    /// All filters of a request; the numbers need not be dense.
    pub(super) fn all(params: &Params, known: impl Fn(&str) -> bool) -> Result<Vec<Self>, Fault> {
        let mut filters = Vec::new();
        for (key, name) in params {
            let Some(number) = key.strip_prefix("Filter.").and_then(|rest| rest.strip_suffix(".Name")) else {
                continue;
            };
            if !known(name) {
                return Err(Fault::new(400, "InvalidParameterValue", format!("The filter '{name}' is invalid")));
            }
            let patterns = numbered(params, &format!("Filter.{number}.Value"));
            if patterns.len() > MAX_VALUES {
                let message = format!("The maximum number of filter values specified on a single call is {MAX_VALUES}");
                return Err(Fault::new(400, "FilterLimitExceeded", message));
            }
            filters.push(Self { name: name.clone(), patterns });
        }
        Ok(filters)
    }

    /// Whether one of a thing's values matches.
    pub(super) fn accepts(&self, values: &[String]) -> bool {
        values.iter().any(|value| self.patterns.iter().any(|pattern| glob(pattern, value)))
    }
}

/// The values of `name.1`, `name.2`, … in order.
pub(super) fn numbered(params: &Params, name: &str) -> Vec<String> {
    (1..).map_while(|n| params.get(&format!("{name}.{n}")).cloned()).collect()
}

/// `*`, `?` and `\` as in EC2's filters, case-sensitive.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        let escaped = pattern.get(p) == Some(&'\\') && p + 1 < pattern.len();
        let literal = if escaped { pattern.get(p + 1) } else { pattern.get(p) };
        if !escaped && literal == Some(&'*') {
            retry = Some((p, t));
            p += 1;
        } else if literal == Some(&text[t]) || (!escaped && literal == Some(&'?')) {
            p += 1 + usize::from(escaped);
            t += 1;
        } else if let Some((star, from)) = retry {
            retry = Some((star, from + 1));
            p = star + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn wildcards() {
        for (pattern, text) in [("*", ""), ("prod-*", "prod-web"), ("p?od", "prod"), ("*b*b", "abab"), ("a\\*", "a*")] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("Prod", "prod"), ("p?d", "prod"), ("a\\*", "ab"), ("*b", "ba")] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }
}
