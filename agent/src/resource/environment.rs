//! What a process says of itself in its environment: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`.
//!
//! `/proc/PID/environ` is the environment that the process was started with; what it sets later is not seen. It is the
//! target's memory, so it may hold anything: nothing is assumed of it, and bytes that are no UTF-8 become U+FFFD.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use thiserror::Error;

pub use crate::discover::facts::MAX_ENVIRONMENT;

/// Longer values are refused, for they are sent with every batch of spans.
pub const MAX_VALUE: usize = 16 << 10;

/// What a process says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `OTEL_SERVICE_NAME`, unless it is empty.
    pub service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES`, decoded, in its order.
    pub attributes: Vec<(String, String)>,
    /// What was not understood.
    pub problems: Vec<Problem>,
}

/// Something in a target's environment that was left out, and why.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Problem {
    /// The environment cannot be read.
    #[error("the environment cannot be read: {0}")]
    Unreadable(io::ErrorKind),
    /// A value is longer than [`MAX_VALUE`].
    #[error("{0} is longer than {MAX_VALUE} bytes and was ignored")]
    TooLong(&'static str),
    /// As the specification has it, the whole variable is discarded.
    #[error("OTEL_RESOURCE_ATTRIBUTES was ignored: {0}")]
    Attributes(#[from] AttributesError),
}

/// What is wrong with a value of `OTEL_RESOURCE_ATTRIBUTES`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AttributesError {
    /// A member without `=`.
    #[error("{0:?} has no '='")]
    NoValue(String),
    /// A member without a name.
    #[error("{0:?} has no name")]
    NoName(String),
    /// A `%` without two hexadecimal digits.
    #[error("{0:?} has a '%' without two hexadecimal digits")]
    BadEscape(String),
}

impl Environment {
    /// Reads `/proc/PID/environ`.
    pub fn read(path: &Path) -> Self {
        match File::open(path).and_then(|file| Self::parse(BufReader::new(file))) {
            Ok(environment) => environment,
            Err(error) => Self { problems: vec![Problem::Unreadable(error.kind())], ..Self::default() },
        }
    }

    /// Reads variables that end in NUL. The first of several with one name holds, as in Go (syscall.copyenv).
    pub fn parse(source: impl BufRead) -> io::Result<Self> {
        let mut source = source.take(MAX_ENVIRONMENT);
        let (mut service_name, mut attributes) = (None, None);
        let mut entry = Vec::new();
        while source.read_until(0, &mut entry)? > 0 {
            let text = entry.strip_suffix(&[0]).unwrap_or(&entry);
            if let Some(value) = text.strip_prefix(b"OTEL_SERVICE_NAME=") {
                service_name.get_or_insert_with(|| value.to_vec());
            } else if let Some(value) = text.strip_prefix(b"OTEL_RESOURCE_ATTRIBUTES=") {
                attributes.get_or_insert_with(|| value.to_vec());
            }
            entry.clear();
        }

        let mut environment = Self::default();
        if let Some(name) = environment.bounded("OTEL_SERVICE_NAME", service_name) {
            environment.service_name = Some(name.trim().to_owned()).filter(|name| !name.is_empty());
        }
        if let Some(list) = environment.bounded("OTEL_RESOURCE_ATTRIBUTES", attributes) {
            match parse_attributes(&list) {
                Ok(attributes) => environment.attributes = attributes,
                Err(error) => environment.problems.push(error.into()),
            }
        }
        Ok(environment)
    }

    fn bounded(&mut self, name: &'static str, value: Option<Vec<u8>>) -> Option<String> {
        let value = value?;
        if value.len() > MAX_VALUE {
            self.problems.push(Problem::TooLong(name));
            return None;
        }
        Some(String::from_utf8_lossy(&value).into_owned())
    }
}

/// `key1=value1,key2=value2` with percent-encoding, as the specification of the resource SDK has it. Any error voids
/// the whole. Blank members are none: a comma at the end is common and harmless.
pub fn parse_attributes(list: &str) -> Result<Vec<(String, String)>, AttributesError> {
    let members = list.split(',').map(str::trim).filter(|member| !member.is_empty());
    members
        .map(|member| {
            let (key, value) =
                member.split_once('=').ok_or_else(|| AttributesError::NoValue(member.to_owned()))?;
            let decode = |text: &str| {
                percent_decoded(text.trim()).ok_or_else(|| AttributesError::BadEscape(member.to_owned()))
            };
            let key = decode(key)?;
            if key.is_empty() {
                return Err(AttributesError::NoName(member.to_owned()));
            }
            Ok((key, decode(value)?))
        })
        .collect()
}

/// `None` if a `%` is not followed by two hexadecimal digits: the library that decodes leaves those as they are.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let escapes_are_whole = text.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().first_chunk::<2>();
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    escapes_are_whole.then(|| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned())
}
