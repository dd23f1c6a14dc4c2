//! What is said, and counted, of the processes that are watched.

use std::fmt;
use std::path::Path;

use tracing::{debug, error, info, warn};

use super::counts::Counts;
use crate::counters::SessionCounter;
use crate::resource::ProcessIdentity;
use crate::watch::{Event, SUSPENSION, WatchError};

/// What [`notice`] calls changes that most need not know of.
pub(super) const CALLS: &str = "calls";

/// Says what happened.
pub(super) fn say(event: &Event) {
    match event {
        Event::Started { .. } | Event::Treated { .. } | Event::Settled { .. } | Event::Unwatched { .. } => {}
        Event::Ended { key, .. } => debug!(pid = key.pid, "no longer watching"),
        Event::CallEnd { executable, change } => {
            debug!(path = %executable.display(), %change, "ends of calls");
        }
        Event::ContextsLeftOut { executable, count } => {
            warn!(path = %executable.display(), types = count, "contexts of some types are not followed");
        }
        Event::LeftToItself { executable, covered } => {
            info!(path = %executable.display(), covered, "left to the program's own instrumentation");
        }
        Event::CopiedRoutes { executable, result } => {
            let path = executable.display();
            match result {
                Ok(()) => info!(%path, price = COPIED_ROUTES, "watching routes of copied requests"),
                Err(reason) => warn!(%path, reason = chain(reason), "not watching routes of copied requests"),
            }
        }
        Event::NotPropagated { executable, is_partial: true, reason } => {
            info!(path = %executable.display(), reason = chain(reason), "passing trace contexts on with a part of what is sent");
        }
        Event::NotPropagated { executable, reason, .. } => {
            warn!(path = %executable.display(), reason = chain(reason), "not passing trace contexts on");
        }
        Event::NotJoined { executable, reason } => {
            warn!(path = %executable.display(), reason = chain(reason), "not joining calls with what they call");
        }
        Event::Suspended { key, executable, death } => {
            let (path, minutes) = (executable.display(), SUSPENSION.as_secs() / 60);
            error!(%path, pid = key.pid, %death, minutes, "died soon after probes were placed: its program is left alone for a while");
        }
        Event::Refused { key, executable, reason, is_repeated: true } => {
            debug!(path = %executable.display(), pid = key.pid, reason = chain(reason), "not watching this one either");
        }
        Event::Refused { key, executable, reason, .. } => {
            warn!(path = %executable.display(), pid = key.pid, reason = chain(reason), "not watching");
        }
    }
}

/// The same for people who look at a recording later: what it is about, and the rest.
pub(super) fn notice(event: &Event) -> Option<(&'static str, String)> {
    Some(match event {
        Event::Started { .. }
        | Event::Treated { .. }
        | Event::Settled { .. }
        | Event::Ended { .. }
        | Event::Unwatched { .. } => return None,
        Event::CallEnd { executable, change } => (CALLS, format!("{}: {change}", executable.display())),
        Event::ContextsLeftOut { executable, count } => {
            ("warning", format!("{}: contexts of {count} types are not followed", executable.display()))
        }
        Event::LeftToItself { executable, covered } => {
            ("watching", format!("{}: left to its own instrumentation: {covered}", executable.display()))
        }
        Event::CopiedRoutes { executable, result } => {
            let path = executable.display();
            match result {
                Ok(()) => ("watching", format!("routes of copied requests in {path}: {COPIED_ROUTES}")),
                Err(reason) => {
                    ("not watching", format!("routes of copied requests in {path}: {}", chain(reason)))
                }
            }
        }
        Event::NotPropagated { executable, is_partial, reason } => {
            let what = if *is_partial { "not all trace contexts are" } else { "trace contexts are not" };
            ("warning", format!("{}: {what} passed on: {}", executable.display(), chain(reason)))
        }
        Event::NotJoined { executable, reason } => {
            ("warning", format!("{}: calls are not joined: {}", executable.display(), chain(reason)))
        }
        Event::Suspended { key, executable, death } => (
            "warning",
            format!(
                "{}: process {} died soon after probes were placed: {death}",
                executable.display(),
                key.pid
            ),
        ),
        Event::Refused { key, executable, reason, .. } => {
            ("not watching", format!("{} (process {}): {}", executable.display(), key.pid, chain(reason)))
        }
    })
}

/// Says that a process is watched, and what of its environment was not understood.
pub(super) fn say_watching(identity: &ProcessIdentity, executable: &Path) {
    let ProcessIdentity { service_name, pid, .. } = identity;
    info!(service = service_name, pid, path = %executable.display(), "watching");
    for problem in &identity.problems {
        warn!(service = service_name, pid, %problem, "the environment of a process is not followed in full");
    }
}

/// Says, and counts, that a process ended before it was known.
pub(super) fn unidentified(pid: u32, error: &impl fmt::Display, counts: &Counts) {
    debug!(pid, %error, "a process ended before it was known");
    counts.add(SessionCounter::Unidentified, 1);
}

const COPIED_ROUTES: &str = "one trap more for each ServeMux passed";

/// With all that is behind it.
pub(super) fn chain(reason: &WatchError) -> String {
    format!("{:#}", anyhow::Error::from(reason.clone()))
}

/// Counts what an event brings.
pub(super) fn count(event: &Event, counts: &Counts) {
    match event {
        Event::Ended { counters, open, .. } => {
            counts.add_kernel(counters);
            counts.add(SessionCounter::OpenAtEnd, *open);
        }
        Event::Unwatched { counters } => counts.add_kernel(counters),
        Event::Suspended { .. } => counts.add(SessionCounter::Suspensions, 1),
        Event::ContextsLeftOut { count, .. } => {
            counts.add(SessionCounter::ContextTypesLeftOut, u64::try_from(*count).unwrap_or(u64::MAX));
        }
        _ => {}
    }
}
