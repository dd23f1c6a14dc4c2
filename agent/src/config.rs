//! The configuration file: YAML, below the environment, which is below the flags.
//!
//! [`File`] is what it may say, and its JSON schema is the only table of that: the check, the example, `config show` and
//! the published schema are all made of it. What has a variable of OpenTelemetry is read as if the variable were set
//! ([`Variables::with_file`](crate::variables::Variables::with_file)), so that it is understood and refused in one place.
//!
//! The file is as untrusted as anything: its size, depth and number of nodes are bounded, and it has no aliases.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_json::Value;
use thiserror::Error;

use crate::discover::{FileIdentity, Rules};
use crate::variables::FromFile;

mod check;
mod document;
pub mod file;
mod formats;
pub mod import;
pub mod peers;
pub mod schema;

pub use check::Mistake;
pub use file::File;
pub use formats::Time;

use document::Node;
use peers::Peers;
use schema::Setting;

/// At most so many bytes of a file are read; a larger one is refused.
pub const MAX_FILE: u64 = 1 << 20;
/// Where it is looked for if nothing says otherwise; there need not be one.
pub const USUAL_PLACE: &str = "/etc/lightfoot/config.yaml";
/// The variable that names another place.
pub const VARIABLE: &str = "LIGHTFOOT_CONFIG";

/// A file that was read and understood, or none.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where it is; `None` if there is no file.
    pub path: Option<PathBuf>,
    /// Which file was there just before it was read: another one has come since, if it is not that any more.
    pub identity: Option<FileIdentity>,
    /// What it says.
    pub file: File,
    /// Each setting that it has, by its key, as `export.endpoint`.
    pub said: HashMap<String, Said>,
    /// Where each rule stands, from 1.
    pub rule_lines: Vec<u64>,
}

/// A setting of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Where, from 1.
    pub line: u64,
    /// As a variable would have it.
    pub text: String,
    /// As it stands there.
    pub shown: String,
}

/// Why a file is not followed.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is larger than [`MAX_FILE`].
    #[error("{path} is larger than {MAX_FILE} bytes")]
    TooLarge {
        /// Which one.
        path: PathBuf,
    },
    /// It says what cannot be followed, all of it.
    #[error("{path} cannot be followed:{}", listed(path, mistakes))]
    Mistakes {
        /// Which one.
        path: PathBuf,
        /// By line.
        mistakes: Vec<Mistake>,
    },
}

fn listed(path: &Path, mistakes: &[Mistake]) -> String {
    use fmt::Write as _;
    let mut text = String::new();
    for mistake in mistakes {
        // Writing to a string does not fail.
        let _ = write!(text, "\n  {}:{}: {}", path.display(), mistake.line, mistake.reason);
    }
    text
}

/// The bytes of a file, of [`MAX_FILE`] at most.
pub fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(failed)?.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

impl Config {
    /// Where the file is: at `asked`, else where [`VARIABLE`] says, else at [`USUAL_PLACE`] if there is one.
    pub fn place(asked: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
        let of_variable = || variable(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let usual = || Some(PathBuf::from(USUAL_PLACE)).filter(|path| path.exists());
        asked.map(Path::to_owned).or_else(of_variable).or_else(usual)
    }

    /// Reads the file at `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let identity = FileIdentity::of(path).ok();
        let config = Self::parse(&read(path)?)
            .map_err(|mistakes| ConfigError::Mistakes { path: path.to_owned(), mistakes })?;
        Ok(Self { path: Some(path.to_owned()), identity, ..config })
    }

    /// What a file that has mistakes still says of where agents are found, its state_dir and status_socket, if that can be read.
    pub fn places_alone(path: &Path) -> File {
        let text = read(path).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let document = text.and_then(|text| Node::parse(&text).ok());
        let said = |name: &str| {
            let entry = document.as_ref()?.entries().iter().find(|entry| entry.key == name)?;
            let document::Value::Text(path) = &entry.value.value else { return None };
            Some(PathBuf::from(path))
        };
        File { state_dir: said("state_dir"), status_socket: said("status_socket"), ..File::default() }
    }

    /// Reads what a file holds.
    ///
    /// # Errors
    /// All that is wrong with it, by line.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<Mistake>> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.split(|byte| *byte == b'\n').count() as u64;
            vec![Mistake { line, reason: "is no valid UTF-8".to_owned() }]
        })?;
        let document = Node::parse(text).map_err(|mistake| vec![mistake])?;
        let schema = schema::schema();
        let value = check::check(&document, &schema)?;
        let file = File::deserialize(value).map_err(|error| {
            // The schema says less than the type: that is a mistake of ours, and no reason to fail without a word.
            vec![Mistake { line: document.line, reason: error.to_string() }]
        })?;
        let mut said = HashMap::new();
        gather(&document, document.line, &schema, "", &mut said);
        let rules = document.entries().iter().find(|entry| entry.key == "rules");
        let rule_lines =
            rules.into_iter().flat_map(|rules| rules.value.items()).map(|rule| rule.line).collect();
        Ok(Self { path: None, identity: None, file, said, rule_lines })
    }

    /// What it says in place of variables, by the name of the weaker one: what is said for all signals.
    pub fn in_place_of_variables(&self) -> HashMap<String, FromFile> {
        let settings = Setting::all().into_iter();
        let said = settings.filter_map(|setting| {
            let said = self.said.get(&setting.key)?;
            let place = format!("{}: {}", self.place_of(said.line), setting.key);
            Some((setting.variables().last()?.to_owned(), FromFile { text: said.text.clone(), place }))
        });
        said.collect()
    }

    /// The rules, ready to be applied, with that of other agents' variables before them.
    pub fn rules_after(&self, peers: &Peers) -> Rules {
        let rules = Rules::new(&self.file.rules, self.file.others);
        let rules = match &peers.rule {
            Some((label, rule)) => rules.and_then(|rules| rules.after(label, rule)),
            None => rules,
        };
        // Each pattern was checked when it was read.
        rules.unwrap_or_default()
    }

    /// A line of it, for people.
    pub fn place_of(&self, line: u64) -> String {
        let path = self.path.as_deref().unwrap_or(Path::new("the configuration"));
        format!("{}:{line}", path.display())
    }
}

/// Everything that a document says of settings that are in the schema.
fn gather(node: &Node, line: u64, schema: &Value, key: &str, said: &mut HashMap<String, Said>) {
    let Some(properties) = schema::properties(schema) else {
        let text = |schema| formats::as_variable(node, schema);
        if let (Some(text), Some(shown)) = (text(schema), text(&Value::Null)) {
            said.insert(key.to_owned(), Said { line, text, shown });
        }
        return;
    };
    for entry in node.entries() {
        if let Some(schema) = properties.get(&entry.key) {
            let key = if key.is_empty() { entry.key.clone() } else { format!("{key}.{}", entry.key) };
            gather(&entry.value, entry.line, schema, &key, said);
        }
    }
}

#[cfg(test)]
mod tests;
