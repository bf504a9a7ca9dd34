//! The configuration as it holds: every key's value, and who said it.

use core::fmt;
use std::path::Path;

use toml::{Table, Value};

use super::{ConfigError, KEYS, Overrides, ServerConfig, read_file};

/// What the path of a key ends with before its name that stands in sections of any name.
const NAMED: &str = ".NAME";

/// Who said a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody.
    Default,
    /// The file.
    File,
    /// A flag.
    CommandLine,
}

impl Source {
    /// The words in reports.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::CommandLine => "command line",
        }
    }
}

/// A key's value, and who said it.
#[derive(Clone, Debug, PartialEq)]
pub struct EffectiveKey {
    /// Section and name.
    pub path: &'static str,
    /// None when nobody gives it one.
    pub value: Option<Value>,
    /// Who.
    pub source: Source,
}

/// A valid configuration, key by key. Shows itself as a configuration file.
#[derive(Clone, Debug, PartialEq)]
pub struct EffectiveConfig {
    /// In the order of `KEYS`.
    pub keys: Vec<EffectiveKey>,
}

impl EffectiveConfig {
    /// Loads and checks the configuration as a server does, and tells it key by key too.
    ///
    /// # Errors
    /// As [`ServerConfig::load`].
    pub fn load(
        file: Option<&Path>,
        overrides: &Overrides,
        cores: usize,
    ) -> Result<(ServerConfig, Self), ConfigError> {
        let text = read_file(file)?;
        let config = ServerConfig::from_text(&text, overrides, cores)
            .map_err(|fault| fault.into_error(file, &text))?;
        let table: Table = text.parse().expect("the text has been read as a configuration");
        let keys = KEYS.iter().map(|key| {
            let (value, source) = match flag_value(key.path, overrides) {
                Some(value) => (Some(value), Source::CommandLine),
                None => match value_at(&table, key.path) {
                    Some(value) => (Some(value), Source::File),
                    None => (default_value(key.path, key.default, cores), Source::Default),
                },
            };
            EffectiveKey { path: key.path, value, source }
        });
        let effective = Self { keys: keys.collect() };
        Ok((config, effective))
    }

    /// The keys whose values differ, by their paths.
    #[must_use]
    pub fn changes(&self, other: &Self) -> Vec<&'static str> {
        let pairs = self.keys.iter().zip(&other.keys);
        pairs.filter(|(one, other)| one.value != other.value).map(|(one, _)| one.path).collect()
    }

    /// Takes one key's value and source from the other.
    pub(crate) fn take_over(&mut self, path: &str, other: &Self) {
        for (own, others) in self.keys.iter_mut().zip(&other.keys) {
            if own.path == path {
                own.clone_from(others);
            }
        }
    }

    /// For programs: an object for each key.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let keys = self.keys.iter().map(|key| {
            serde_json::json!({
                "key": key.path,
                "value": key.value,
                "source": key.source.words(),
            })
        });
        keys.collect()
    }
}

/// What the command line says about a key.
fn flag_value(path: &str, overrides: &Overrides) -> Option<Value> {
    // Named one by one, so that a new flag is not forgotten here.
    let Overrides { listen, admin_listen, data, shards, insecure_open } = overrides;
    match path {
        "server.listen" => listen.map(|address| Value::String(address.to_string())),
        "server.shards" => shards.map(count_value),
        "server.data" => data.as_ref().map(|path| Value::String(path.display().to_string())),
        "auth.insecure_open" => insecure_open.then_some(Value::Boolean(true)),
        "admin.listen" => admin_listen.as_ref().map(|address| Value::String(address.to_string())),
        _ => None,
    }
}

fn default_value(path: &str, default: &str, cores: usize) -> Option<Value> {
    if path == "server.shards" {
        return Some(count_value(cores));
    }
    // What a section of any name has by default nobody says as long as there is none.
    let is_named = path.rsplit_once('.').is_some_and(|(section, _)| section.ends_with(NAMED));
    if default.is_empty() || is_named {
        return None;
    }
    let mut table: Table = format!("value = {default}").parse().expect("defaults are values");
    table.remove("value")
}

fn count_value(count: usize) -> Value {
    Value::Integer(i64::try_from(count).expect("a number of cores"))
}

fn value_at(table: &Table, path: &str) -> Option<Value> {
    let (section, name) = path.rsplit_once('.').expect("a key is in a section");
    if let Some(kind) = section.strip_suffix(NAMED) {
        // What the sections of all names say is told as one value.
        return of_names(table.get(kind)?.as_table()?, name);
    }
    let mut found = table;
    for part in section.split('.') {
        found = found.get(part)?.as_table()?;
    }
    found.get(name).cloned()
}

/// The sections that have this key, with it alone.
fn of_names(sections: &Table, name: &str) -> Option<Value> {
    let said = sections.iter().filter_map(|(section, keys)| {
        let value = keys.get(name)?.clone();
        let keys = Table::from_iter([(name.to_owned(), value)]);
        Some((section.clone(), Value::Table(keys)))
    });
    let said: Table = said.collect();
    (!said.is_empty()).then_some(Value::Table(said))
}

impl fmt::Display for EffectiveConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut current = "";
        let mut named: Vec<NamedSections> = Vec::new();
        for EffectiveKey { path, value, source } in &self.keys {
            let (section, name) = path.rsplit_once('.').expect("a key is in a section");
            if let Some(kind) = section.strip_suffix(NAMED) {
                if named.last().is_none_or(|last| last.kind != kind) {
                    named.push(NamedSections { kind, keys: Vec::new(), sections: Table::new() });
                }
                let last = named.last_mut().expect("it was added");
                last.keys.push(name);
                merge(&mut last.sections, value.as_ref());
                continue;
            }
            if section != current {
                let space = if current.is_empty() { "" } else { "\n" };
                writeln!(f, "{space}[{section}]")?;
                current = section;
            }
            match value {
                Some(value) => {
                    let line = format!("{name} = {value}");
                    writeln!(f, "{line:<40} # {}", source.words())?;
                }
                None => writeln!(f, "{:<40} # not set", format!("# {name}"))?,
            }
        }
        named.iter().try_for_each(|sections| sections.write(f))
    }
}

/// Puts what one key says of names into their sections.
fn merge(sections: &mut Table, said: Option<&Value>) {
    for (name, keys) in said.and_then(Value::as_table).into_iter().flatten() {
        let section = sections.entry(name).or_insert_with(|| Value::Table(Table::new()));
        let section = section.as_table_mut().expect("a section is a table");
        section.extend(keys.as_table().cloned().into_iter().flatten());
    }
}

/// Sections whose names are the operator's to choose.
struct NamedSections {
    kind: &'static str,
    keys: Vec<&'static str>,
    sections: Table,
}

impl NamedSections {
    /// As they stand in a file.
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, keys, sections } = self;
        if sections.is_empty() {
            writeln!(f, "\n# [{kind}.NAME]")?;
            for name in keys {
                writeln!(f, "{:<40} # not set", format!("# {name}"))?;
            }
        }
        for (section, keys) in sections {
            // A dot would begin a section within it.
            let quote = if section.contains('.') { "\"" } else { "" };
            writeln!(f, "\n[{kind}.{quote}{section}{quote}]")?;
            for (name, value) in keys.as_table().into_iter().flatten() {
                let line = format!("{name} = {value}");
                writeln!(f, "{line:<40} # {}", Source::File.words())?;
            }
        }
        Ok(())
    }
}
