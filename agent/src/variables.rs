//! Environment variables to settings: what is wrong with them is collected, so that all of it is refused at once,
//! before anything starts. An empty value is none, times are in milliseconds, and upper case is as good as lower case
//! where words are fixed, as the specification of OpenTelemetry has it (specification/configuration/common.md).

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
    /// What is wrong with it, and what is allowed. Never a value that may be a secret.
    pub reason: String,
}

type Variable<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// Reads variables, and collects what is wrong with them.
pub struct Variables<'a> {
    variable: Box<Variable<'a>>,
    refused: Vec<Refused>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "settings that cannot be followed:")?;
        self.0.iter().try_for_each(|refused| write!(f, "\n  {}: {}", refused.setting, refused.reason))
    }
}

impl<'a> Variables<'a> {
    /// Variables as `variable` has them, which is as `std::env::var_os`.
    pub fn new(variable: impl Fn(&str) -> Option<OsString> + 'a) -> Self {
        Self { variable: Box::new(variable), refused: Vec::new() }
    }

    /// Refuses a setting.
    pub fn refuse(&mut self, setting: &'static str, reason: impl Into<String>) {
        self.refused.push(Refused { setting, reason: reason.into() });
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
        None
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
