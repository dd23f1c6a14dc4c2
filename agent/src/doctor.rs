//! What this host, its kernel and our rights allow: each found by trying what `run` does.
//!
//! A check never fails as a whole: what cannot be found out is said as a [`Status::Note`]. Modules in reading order.

use serde::Serialize;

use crate::config::{Config, ConfigError};
use crate::deliver::Flags;

mod rights;

mod host;

mod events;
mod methods;
mod price;

mod delivery;

#[cfg(test)]
pub(crate) use methods::SIZES;
pub use price::Price;

/// What a check has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is as it should be.
    Good,
    /// Something is lost.
    Lost,
    /// Nothing can be watched like that, or `run` refuses to start.
    Missing,
    /// Nothing depends on it here, or it could not be found out.
    Note,
}

/// One thing that was looked at. Its texts are for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name, which stays the same.
    pub id: &'static str,
    /// How it is.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What is lost, where the status is [`Status::Lost`] or [`Status::Missing`].
    pub lost: Option<String>,
    /// What to do about it.
    pub advice: Option<String>,
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// In the order in which they are shown.
    pub checks: Vec<Check>,
    /// What traps cost here, if that could be measured.
    pub price: Option<Price>,
}

impl Check {
    fn good(id: &'static str, found: impl Into<String>) -> Self {
        Self { id, status: Status::Good, found: found.into(), lost: None, advice: None }
    }

    fn note(id: &'static str, found: impl Into<String>) -> Self {
        Self { status: Status::Note, ..Self::good(id, found) }
    }

    fn lost(
        id: &'static str,
        found: impl Into<String>,
        lost: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            status: Status::Lost,
            lost: Some(lost.into()),
            advice: Some(advice.into()),
            ..Self::good(id, found)
        }
    }

    /// The same, but nothing can be watched.
    fn fatal(self) -> Self {
        Self { status: Status::Missing, ..self }
    }
}

impl Findings {
    /// Looks at everything. Takes some seconds, and up to three more for an endpoint.
    pub fn gather(flags: &Flags, config: Result<Config, ConfigError>) -> Self {
        let mut checks = host::checks();
        checks.extend(rights::checks());
        let (methods, price) = methods::checks();
        checks.extend(methods);
        checks.extend(host::services());
        checks.extend(delivery::checks(flags, config));
        checks.extend(host::quirks());
        Self { checks, price }
    }

    /// The worst that was found; [`Status::Good`] if all is well.
    pub fn worst(&self) -> Status {
        let has = |status| self.checks.iter().any(|check| check.status == status);
        [Status::Missing, Status::Lost].into_iter().find(|status| has(*status)).unwrap_or(Status::Good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_check_decides_and_notes_decide_nothing() {
        let of = |checks| Findings { checks, price: None }.worst();
        let (note, lost) = (Check::note("a", ""), Check::lost("b", "", "", ""));
        assert_eq!(of(vec![]), Status::Good);
        assert_eq!(of(vec![note.clone()]), Status::Good);
        assert_eq!(of(vec![note.clone(), lost.clone()]), Status::Lost);
        assert_eq!(of(vec![lost.clone().fatal(), lost, note]), Status::Missing);
    }
}
