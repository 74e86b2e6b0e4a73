//! Typed access to the tables of a TOML file. Every error names the file, the line and what to write instead.
//!
//! The words of the TOML parser never reach a user: a value of the wrong type is reported with the form that its key takes.
//! Not here: which keys there are (`raw`), and whether values make sense (`check`).

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::de::value::{Error as ValueError, StrDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::raw::{self, Form, Key};
use crate::domain::ssh_config::options;
use crate::error::{Error, Kind};

type Result<T> = std::result::Result<T, Error>;

/// A line of a config file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    path: Arc<Path>,
    line: usize,
}

impl Place {
    /// An error at this line.
    pub(super) fn error(&self, message: impl AsRef<str>) -> Error {
        Error::new(Kind::Config, format!("{}:{}: {}", self.path.display(), self.line, message.as_ref()))
    }
}

/// A value and the line that sets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// Tag keys and their values.
pub(super) type Tags = BTreeMap<String, Vec<String>>;
/// Keywords of `ssh_config` and their values.
pub(super) type Options = BTreeMap<String, Located<String>>;

/// A config file that is being read.
pub(super) struct File<'t> {
    path: Arc<Path>,
    text: &'t str,
}

impl<'t> File<'t> {
    pub(super) fn new(path: &Path, text: &'t str) -> Self {
        Self { path: Arc::from(path), text }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let line = self.text[..span.start.min(self.text.len())].matches('\n').count() + 1;
        Place { path: Arc::clone(&self.path), line }
    }

    /// Parses the text.
    ///
    /// # Errors
    ///
    /// A line that is not TOML, with the likely correction.
    pub(super) fn document(&self) -> Result<Spanned<DeTable<'t>>> {
        DeTable::parse(self.text).map_err(|error| {
            let place = self.place(&error.span().unwrap_or_default());
            let line = self.text.lines().nth(place.line - 1).unwrap_or_default().trim();
            if error.message().contains("duplicate key") {
                let key = line.split(['=', ' ']).next().unwrap_or(line);
                return place.error(format!("{key} is set twice")).because(error.message());
            }
            let correction = correction(line).unwrap_or_else(|| "see man ssh-eic-config for the form".to_owned());
            place.error("this line is not TOML").hint(correction).because(error.message())
        })
    }

    /// The top level, as a table.
    pub(super) fn top<'d>(&'d self, document: &'d Spanned<DeTable<'t>>) -> Table<'d, 't> {
        Table { file: self, name: "", values: document.get_ref(), span: document.span() }
    }
}

/// What was probably meant by a line that is not TOML.
fn correction(line: &str) -> Option<String> {
    if let Some(name) = line.strip_prefix('[') {
        let name = name.trim_matches(['[', ']', ' ']);
        return raw::header(name).map(|header| format!("write {header}"));
    }
    let (key, value) =
        line.split_once('=').or_else(|| line.split_once(':')).or_else(|| line.split_once(' ')).unwrap_or((line, ""));
    let (key, value) = (key.trim(), value.trim().trim_matches(['"', '\'', ',']));
    let plain =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.*:/@".contains(c));
    let known = raw::TABLES.iter().flat_map(|(_, keys)| keys.iter()).find(|known| known.name == key)?;
    Some(match known.form {
        Form::Text | Form::Word(_) | Form::Time | Form::TextOrList if plain(value) => {
            format!("write {key} = \"{value}\"")
        }
        Form::List if plain(value) => format!("write {key} = [\"{value}\"]"),
        _ => format!("write {}", known.example),
    })
}

/// A table of the file.
#[derive(Clone)]
pub(super) struct Table<'d, 't> {
    file: &'d File<'t>,
    /// `source` for `[[source]]`; empty for the top level.
    name: &'static str,
    values: &'d DeTable<'t>,
    span: Range<usize>,
}

impl<'d, 't> Table<'d, 't> {
    /// Rejects keys that the table does not have.
    ///
    /// # Errors
    ///
    /// With the nearest key, or the table where the key belongs.
    pub(super) fn check_keys(&self) -> Result<()> {
        let known = raw::keys(self.name);
        for key in self.values.keys() {
            let written = key.get_ref().as_ref();
            if known.iter().any(|key| key.name == written) {
                continue;
            }
            let place = self.file.place(&key.span());
            let home = raw::TABLES.iter().find(|(_, keys)| keys.iter().any(|key| key.name == written));
            if let Some((table, _)) = home {
                let header = raw::header(table).unwrap_or_default();
                return Err(place.error(format!("{written} belongs under {header}")));
            }
            if known.iter().any(|key| key.name == "options")
                && let Some(keyword) = options::keyword(written)
            {
                return Err(place
                    .error(format!("{keyword} belongs in options"))
                    .hint(format!("options = {{ {keyword} = \"…\" }}")));
            }
            let distance = |key: &&Key| strsim::damerau_levenshtein(key.name, written);
            let error = place.error(format!("unknown key {written:?}"));
            return Err(match known.iter().filter(|key| distance(key) <= 3).min_by_key(distance) {
                Some(near) => error.hint(format!("did you mean {:?}?", near.name)),
                None if self.name.is_empty() => {
                    error.hint("tables are [defaults], [[source]], [[host]], [ssh], [sync], [limits]")
                }
                None => error.hint("man ssh-eic-config lists all keys"),
            });
        }
        Ok(())
    }

    /// The line of the table's header.
    pub(super) fn place(&self) -> Place {
        self.file.place(&self.span)
    }

    /// A table such as `[ssh]`.
    pub(super) fn table(&self, name: &'static str) -> Result<Option<Table<'d, 't>>> {
        let Some(value) = self.values.get(name) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Table(values) => Ok(Some(Table { file: self.file, name, values, span: value.span() })),
            _ => Err(self.file.place(&value.span()).error(format!("write [{name}], with one bracket on each side"))),
        }
    }

    /// All tables such as `[[source]]`.
    pub(super) fn tables(&self, name: &'static str) -> Result<Vec<Table<'d, 't>>> {
        let Some(value) = self.values.get(name) else { return Ok(Vec::new()) };
        let wrong =
            || self.file.place(&value.span()).error(format!("write [[{name}]], with two brackets on each side"));
        let DeValue::Array(array) = value.get_ref() else { return Err(wrong()) };
        array
            .iter()
            .map(|one| match one.get_ref() {
                DeValue::Table(values) => Ok(Table { file: self.file, name, values, span: one.span() }),
                _ => Err(wrong()),
            })
            .collect()
    }

    fn read<T>(&self, key: &str, read: impl FnOnce(&DeValue<'t>) -> Option<T>) -> Result<Option<Located<T>>> {
        let Some((name, value)) = self.values.get_key_value(key) else { return Ok(None) };
        let place = self.file.place(&name.span());
        match read(value.get_ref()) {
            Some(value) => Ok(Some(Located { value, place })),
            None => Err(place.error(self.must_be(key))),
        }
    }

    /// What the key takes, with an example.
    fn must_be(&self, key: &str) -> String {
        let Some(known) = raw::keys(self.name).iter().find(|known| known.name == key) else { return key.to_owned() };
        let example = known.example;
        match known.form {
            Form::Text | Form::Time => format!("{key} must be text in quotes: {example}"),
            Form::TextOrList => format!("{key} must be text or a list of texts: {example}"),
            Form::List => format!("{key} must be a list: {example}"),
            Form::Port => format!("{key} is a number from 1 to 65535, without quotes: {example}"),
            Form::Rate => format!("{key} is a number from 0.1 to 1000, without quotes: {example}"),
            Form::Flag => format!("{key} is true or false, without quotes"),
            Form::Tags | Form::Options => format!("{key} must be a table: {example}"),
            Form::Word(words) => format!("{key} must be one of {}, in quotes", quoted(words)),
            Form::Table => key.to_owned(),
        }
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<Located<String>>> {
        self.read(key, |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn list(&self, key: &str) -> Result<Option<Located<Vec<String>>>> {
        self.read(key, texts)
    }

    pub(super) fn text_or_list(&self, key: &str) -> Result<Option<Located<Vec<String>>>> {
        self.read(key, text_or_texts)
    }

    pub(super) fn port(&self, key: &str) -> Result<Option<Located<u16>>> {
        self.read(key, |value| {
            let integer = value.as_integer()?;
            u16::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|port| *port != 0)
        })
    }

    pub(super) fn rate(&self, key: &str) -> Result<Option<Located<f64>>> {
        self.read(key, |value| {
            let text = value.as_float().map(toml::de::DeFloat::as_str);
            let text = text.or_else(|| value.as_integer().map(toml::de::DeInteger::as_str))?;
            text.parse::<f64>().ok().filter(|rate| (0.1..=1000.0).contains(rate))
        })
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<Located<bool>>> {
        self.read(key, DeValue::as_bool)
    }

    /// One of the words of the key's [`Form::Word`].
    pub(super) fn word<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Located<T>>> {
        let Some(Located { value, place }) = self.text(key)? else { return Ok(None) };
        if let Ok(value) = T::deserialize(StrDeserializer::<ValueError>::new(&value)) {
            return Ok(Some(Located { value, place }));
        }
        let known = raw::keys(self.name).iter().find(|known| known.name == key);
        let words = known.map_or(&[][..], |known| if let Form::Word(words) = known.form { words } else { &[] });
        Err(place.error(format!("{key} cannot be {value:?}: one of {}", words.join(", "))))
    }

    /// A table of texts or lists of texts, such as `tags`.
    pub(super) fn tags(&self, key: &str) -> Result<Option<Located<Tags>>> {
        self.entries(key, "must be text or a list of texts", |value, _| text_or_texts(value))
    }

    /// A table of texts, such as `options`.
    pub(super) fn options(&self, key: &str) -> Result<Option<Located<Options>>> {
        self.entries(key, "must be text in quotes", |value, place| {
            Some(Located { value: value.as_str()?.to_owned(), place: place.clone() })
        })
    }

    fn entries<T>(
        &self,
        key: &str,
        must_be: &str,
        read: impl Fn(&DeValue<'t>, &Place) -> Option<T>,
    ) -> Result<Option<Located<BTreeMap<String, T>>>> {
        let Some(entries) = self.values.get(key) else { return Ok(None) };
        let place = self.file.place(&entries.span());
        let Some(table) = entries.get_ref().as_table() else { return Err(place.error(self.must_be(key))) };
        let mut value = BTreeMap::new();
        for (name, entry) in table {
            let (name, place) = (name.get_ref().to_string(), self.file.place(&name.span()));
            let read = read(entry.get_ref(), &place).ok_or_else(|| place.error(format!("{key}.{name} {must_be}")))?;
            value.insert(name, read);
        }
        Ok(Some(Located { value, place }))
    }
}

fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|one| one.get_ref().as_str().map(str::to_owned)).collect()
}

fn text_or_texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    value.as_str().map(|text| vec![text.to_owned()]).or_else(|| texts(value))
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}
