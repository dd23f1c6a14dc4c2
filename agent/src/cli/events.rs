//! What is said, and counted, of the processes that are watched.

use std::path::Path;

use super::counts::Counts;
use super::report::say;
use crate::counters::SessionCounter;
use crate::resource::ProcessIdentity;
use crate::watch::Event;

/// What [`told`] calls changes that most need not know of.
pub(super) const CALLS: &str = "calls";

/// What an event tells people: what it is about, and the rest.
pub(super) fn told(event: &Event) -> Option<(&'static str, String)> {
    Some(match event {
        Event::Started { .. } | Event::Ended { .. } | Event::Unwatched { .. } => return None,
        Event::CallEnd { executable, change } => (CALLS, format!("{}: {change}", executable.display())),
        Event::ContextsLeftOut { executable, count } => {
            ("warning", format!("{}: contexts of {count} types are not followed", executable.display()))
        }
        Event::CopiedRoutes { executable, result } => {
            let path = executable.display();
            match result.clone().map_err(anyhow::Error::from) {
                Ok(()) => {
                    let price = "one trap more for each ServeMux passed";
                    ("watching", format!("routes of copied requests in {path}: {price}"))
                }
                Err(reason) => ("not watching", format!("routes of copied requests in {path}: {reason:#}")),
            }
        }
        Event::Refused { key, executable, reason } => {
            let (path, reason) = (executable.display(), anyhow::Error::from(reason.clone()));
            ("not watching", format!("{path} (process {}): {reason:#}", key.pid))
        }
    })
}

/// Says that a process is watched.
pub(super) fn say_watching(identity: &ProcessIdentity, executable: &Path) {
    let (name, path) = (&identity.service_name, executable.display());
    say("watching", &format!("{name} (process {}, {path})", identity.pid));
}

/// Counts what an event brings.
pub(super) fn count(event: &Event, counts: &Counts) {
    match event {
        Event::Ended { counters, open, .. } => {
            counts.add_kernel(counters);
            counts.add(SessionCounter::OpenAtEnd, *open);
        }
        Event::Unwatched { counters } => counts.add_kernel(counters),
        Event::ContextsLeftOut { count, .. } => {
            counts.add(SessionCounter::ContextTypesLeftOut, u64::try_from(*count).unwrap_or(u64::MAX));
        }
        _ => {}
    }
}
