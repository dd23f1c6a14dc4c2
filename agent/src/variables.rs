//! Environment variables to settings: what is wrong with them is collected, so that all of it is refused at once,
//! before anything starts. An empty value is none, times are in milliseconds, and upper case is as good as lower case
//! where words are fixed, as the specification of OpenTelemetry has it (specification/configuration/common.md).

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use thiserror::Error;

/// A day is longer than anyone means, and what is added to a clock must not overflow it.
pub const LONGEST: Duration = Duration::from_hours(24);

/// All settings that are refused.
#[derive(Debug, Error)]
pub struct SettingsError(pub Vec<Refused>);

/// A setting that is refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// The variable, or the flag.
    pub setting: &'static str,
    /// The place in a file that said it instead.
    pub place: Option<String>,
    /// What is wrong with it, and what is allowed. Never a value that may be a secret.
    pub reason: String,
}

/// What a file says in place of a variable.
#[derive(Clone, Debug)]
pub struct FromFile {
    /// As the variable would have it.
    pub text: String,
    /// Where it stands, for people.
    pub place: String,
}

type Variable<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// Reads variables, and collects what is wrong with them.
pub struct Variables<'a> {
    variable: Box<Variable<'a>>,
    of_file: HashMap<String, FromFile>,
    refused: Vec<Refused>,
}

impl Refused {
    /// What to correct.
    pub fn name(&self) -> &str {
        self.place.as_deref().unwrap_or(self.setting)
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "settings that cannot be followed:")?;
        self.0.iter().try_for_each(|refused| write!(f, "\n  {}: {}", refused.name(), refused.reason))
    }
}

impl<'a> Variables<'a> {
    /// Variables as `variable` has them, which is as `std::env::var_os`.
    pub fn new(variable: impl Fn(&str) -> Option<OsString> + 'a) -> Self {
        Self { variable: Box::new(variable), of_file: HashMap::new(), refused: Vec::new() }
    }

    /// What a file says, by the names of variables, holds where none of those that mean the same says anything.
    #[must_use]
    pub fn with_file(mut self, of_file: HashMap<String, FromFile>) -> Self {
        self.of_file = of_file;
        self
    }

    /// As a variable, or the file in its place, has it.
    pub fn value(&self, name: &str) -> Option<OsString> {
        let of_file = || self.of_file.get(name).map(|said| OsString::from(&said.text));
        (self.variable)(name).filter(|value| !value.is_empty()).or_else(of_file)
    }

    /// Refuses a setting.
    pub fn refuse(&mut self, setting: &'static str, reason: impl Into<String>) {
        let is_set = (self.variable)(setting).is_some_and(|value| !value.to_string_lossy().trim().is_empty());
        let place = self.of_file.get(setting).filter(|_| !is_set).map(|said| said.place.clone());
        let refused = Refused { setting, place, reason: reason.into() };
        // Some are read for spans and for metrics.
        if !self.refused.contains(&refused) {
            self.refused.push(refused);
        }
    }

    /// The settings that were read, unless something was refused on the way.
    pub fn finish<T>(self, settings: T) -> Result<T, SettingsError> {
        if self.refused.is_empty() { Ok(settings) } else { Err(SettingsError(self.refused)) }
    }

    /// The first of the variables that says something, with its name.
    pub fn first(&mut self, names: &[&'static str]) -> Option<(&'static str, String)> {
        for name in names {
            let Some(value) = (self.variable)(name) else { continue };
            match value.into_string() {
                Ok(value) if value.trim().is_empty() => {}
                Ok(value) => return Some((name, value.trim().to_owned())),
                Err(_) => self.refuse(name, "is no valid UTF-8"),
            }
        }
        let mut of_file = names.iter().filter_map(|name| Some((*name, self.of_file.get(*name)?)));
        of_file.next().map(|(name, said)| (name, said.text.clone()))
    }

    /// As [`Variables::first`], of variables whose words are fixed: in lower case.
    pub fn word(&mut self, names: &[&'static str]) -> Option<(&'static str, String)> {
        self.first(names).map(|(name, value)| (name, value.to_ascii_lowercase()))
    }

    /// A whole number in `range`.
    pub fn number(&mut self, names: &[&'static str], range: RangeInclusive<usize>) -> Option<usize> {
        let (name, value) = self.first(names)?;
        match value.parse() {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let (least, most) = range.into_inner();
                let reason = match most {
                    usize::MAX => format!("{value:?} is no whole number from {least} on"),
                    _ => format!("{value:?} is no whole number from {least} to {most}"),
                };
                self.refuse(name, reason);
                None
            }
        }
    }

    /// A time in milliseconds, more than none and at most [`LONGEST`].
    pub fn milliseconds(&mut self, names: &[&'static str]) -> Option<Duration> {
        self.time(names, Duration::from_millis(1))
    }

    /// A time in milliseconds, at most [`LONGEST`]; 0 is none, which callers take for no limit.
    pub fn timeout(&mut self, names: &[&'static str]) -> Option<Duration> {
        self.time(names, Duration::ZERO)
    }

    fn time(&mut self, names: &[&'static str], least: Duration) -> Option<Duration> {
        let (name, value) = self.first(names)?;
        match value.parse().map(Duration::from_millis) {
            Ok(time) if (least..=LONGEST).contains(&time) => Some(time),
            _ => {
                let (least, most) = (least.as_millis(), LONGEST.as_millis());
                let reason = format!("{value:?} is no number of milliseconds from {least} to {most}");
                self.refuse(name, reason);
                None
            }
        }
    }

    /// `true` or `false`; `false` if it says nothing.
    pub fn boolean(&mut self, names: &[&'static str]) -> bool {
        let Some((name, value)) = self.word(names) else { return false };
        if !matches!(value.as_str(), "true" | "false") {
            self.refuse(name, format!("{value:?} is neither true nor false"));
        }
        value == "true"
    }
}
