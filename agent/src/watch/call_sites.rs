//! The ends of client calls: callers are learned while the program runs, and get a probe behind their call.
//!
//! What is decided is in [`super::callers`]; here it is done.

use std::collections::BTreeSet;
use std::fmt;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use lightfoot_probes_abi::{Counter, SiteKind};
use lightfoot_symbolizer::VirtualAddress;
use lightfoot_symbolizer::go_abi::GoType;

use super::analysis::{self, Clients, Probes};
use super::{Binary, Event, WatchError, Watcher, loaded};
use crate::attach::{Group, count};
use crate::catalog::grpc::{INVOKE_RESULTS, NEW_STREAM_RESULTS};
use crate::catalog::net_http::ROUND_TRIP_RESULTS;
use crate::discover::FileIdentity;
use crate::inspect;
use crate::plan::caller;
use crate::sys;

/// How often is looked for new callers, if there are none yet: where nobody tells of them, and at most so often where somebody does …
const TICK: Duration = Duration::from_millis(20);
/// … how much more seldom for each that there is …
const TICK_FOR_EACH: Duration = Duration::from_micros(250);
/// … and at least so often.
const SLOWEST_TICK: Duration = Duration::from_secs(1);

/// What became known of the ends of a binary's client calls.
#[derive(Debug)]
pub enum CallEnd {
    /// Calls that this function makes end behind the call.
    Learned {
        /// The function.
        function: String,
        /// Where in the file the probe's place is, in bytes.
        offset: u64,
    },
    /// Calls that return here can be ended at the callee's own returns only, which costs more.
    NotLearned {
        /// Where they return to.
        return_address: VirtualAddress,
        /// Why.
        reason: String,
    },
    /// Probes were placed, or cannot be.
    Placed {
        /// Which.
        group: Group,
        /// Why not.
        result: Result<(), WatchError>,
    },
    /// Probes were taken away.
    TakenAway {
        /// Which.
        group: Group,
    },
}

impl fmt::Display for CallEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Learned { function, offset } => {
                write!(f, "calls made by {function} end behind the call, at file offset {offset:#x}")
            }
            Self::NotLearned { return_address, reason } => {
                write!(
                    f,
                    "calls that return to {return_address} end at a return that is single-stepped: {reason}"
                )
            }
            Self::Placed { group, result: Ok(()) } => write!(f, "probed: {}", name(*group)),
            Self::Placed { group, result: Err(reason) } => {
                write!(f, "not probed: {}: {:#}", name(*group), anyhow!(reason.clone()))
            }
            Self::TakenAway { group } => write!(f, "probed no more: {}", name(*group)),
        }
    }
}

fn name(group: Group) -> String {
    match group {
        Group::Base => "what is always probed".to_owned(),
        Group::Routes => "routes of copied requests".to_owned(),
        Group::Routers => "routes of routers".to_owned(),
        Group::Messages => "messages of streams".to_owned(),
        Group::Join => "connections of clients".to_owned(),
        Group::Propagation => "what clients send".to_owned(),
        Group::Returns(SiteKind::GrpcClientEnd) => "the returns of gRPC's unary calls".to_owned(),
        Group::Returns(SiteKind::GrpcStreamOpened) => "the returns of gRPC's streams".to_owned(),
        Group::Returns(_) => "the returns of HTTP clients".to_owned(),
        Group::CallSite(offset) => format!("behind the call at file offset {offset:#x}"),
    }
}

impl Binary {
    /// The probes of a group.
    pub(super) fn probes(&self, group: Group) -> Option<&Probes> {
        let analysis = self.analysis.as_ref().ok()?;
        match group {
            Group::Base => Some(&analysis.probes),
            Group::Routes => Some(&analysis.route),
            Group::Routers => Some(&analysis.routers),
            Group::Messages => Some(&analysis.messages),
            Group::Join => Some(&analysis.join),
            Group::Propagation => Some(&analysis.propagation),
            Group::Returns(end) => analysis.clients.as_ref().and_then(|clients| clients.returns.get(&end)),
            Group::CallSite(offset) => {
                let trusted = analysis.clients.as_ref().and_then(|clients| clients.call_sites.get(&offset));
                trusted.map(|(_, probes)| probes).or_else(|| self.callers.sites.get(&offset))
            }
        }
    }

    /// The groups that catch the ends of client calls, as they should be now.
    pub(super) fn wanted_call_ends(&self, now: Instant) -> BTreeSet<Group> {
        let clients = self.analysis.as_ref().ok().and_then(|analysis| analysis.clients.as_ref());
        let has_any = |clients: &&Clients| !(clients.returns.is_empty() && clients.call_sites.is_empty());
        let Some(clients) = clients.filter(has_any) else { return BTreeSet::new() };
        self.callers.wanted(clients.returns.keys().copied(), clients.call_sites.keys().copied(), now)
    }
}

/// The results of the calls that end at a site of this kind.
fn results(end: SiteKind) -> &'static [GoType<'static>] {
    match end {
        SiteKind::GrpcClientEnd => INVOKE_RESULTS,
        SiteKind::GrpcStreamOpened => NEW_STREAM_RESULTS,
        _ => ROUND_TRIP_RESULTS,
    }
}

impl Watcher {
    /// Looks for callers that are new, and places what they need. Returns when to do so again, though nobody tells of one, if ever.
    pub(super) fn learn_callers(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let watched =
            |binary: &Binary| binary.attachment.is_some() && !binary.wanted_call_ends(now).is_empty();
        let files: Vec<_> =
            self.binaries.iter().filter(|(_, binary)| watched(binary)).map(|(file, _)| *file).collect();
        if files.is_empty() {
            return None;
        }
        let (callers, read) = self.kernel.callers();
        let mut next = None;
        for file in files {
            let Some(binary) = self.binaries.get_mut(&file) else { continue };
            let Some(attachment) = &binary.attachment else { continue };
            let own = callers.iter().filter(|((number, _), _)| *number == attachment.binary);
            let own = own.map(|((_, address), end)| (*address, *end));
            let new: Vec<_> = own.filter(|(address, _)| binary.callers.is_new(*address)).collect();
            if !new.is_empty() {
                for change in binary.learn(&new, now) {
                    self.tell_call_end(file, change);
                }
                sys::give_back_memory();
            }
            let has_changed = self.adjust_call_ends(file, now);
            let callers = self.binaries.get(&file).map(|binary| &binary.callers);
            let change = callers.and_then(|callers| callers.next_change(now));
            next = next.into_iter().chain(change).chain(has_changed.then_some(now)).min();
        }
        let each = u32::try_from(read).unwrap_or(u32::MAX);
        self.callers_not_before = now + (TICK + TICK_FOR_EACH.saturating_mul(each)).min(SLOWEST_TICK);
        let next = if self.is_told { next } else { Some(now) };
        next.map(|time| time.max(self.callers_not_before))
    }

    /// New callers are looked for, soon.
    pub(super) fn has_new_callers(&mut self) {
        let soon = self.callers_not_before;
        self.callers_due = Some(self.callers_due.map_or(soon, |due| due.min(soon)));
    }

    /// Notes where callers could not be told to us.
    pub(super) fn weigh_callers(&mut self) {
        let has_clients = |binary: &&mut Binary| {
            binary.attachment.is_some()
                && binary.analysis.as_ref().is_ok_and(|analysis| analysis.clients.is_some())
        };
        let mut is_news = false;
        for binary in self.binaries.values_mut().filter(has_clients) {
            let counts = binary.processes.iter().filter_map(|key| self.kernel.counts(Some(key.pid)).ok());
            if counts.into_iter().any(|counts| count(&counts, Counter::CallersFull) != 0) {
                is_news |= binary.callers.overlook();
            }
        }
        if is_news {
            self.has_new_callers();
        }
    }

    /// Places and takes away what is to be. Returns whether something could not be placed, so that something else may be wanted.
    fn adjust_call_ends(&mut self, file: FileIdentity, now: Instant) -> bool {
        let Some(binary) = self.binaries.get(&file) else { return false };
        let Some(attachment) = &binary.attachment else { return false };
        let wanted = binary.wanted_call_ends(now);
        let is_of_clients = |group: &Group| matches!(group, Group::Returns(_) | Group::CallSite(_));
        let present: BTreeSet<_> = attachment.groups().filter(is_of_clients).collect();
        let missing: Vec<_> = wanted.difference(&present).copied().collect();
        let surplus: Vec<_> = present.difference(&wanted).copied().collect();
        let mut has_failed = false;
        for group in missing {
            let result = self.add(file, group);
            has_failed |= result.is_err();
            if result.is_err()
                && let Some(binary) = self.binaries.get_mut(&file)
            {
                binary.callers.give_up(group);
            }
            self.tell_call_end(file, CallEnd::Placed { group, result });
        }
        // Whatever could not be placed may change what is wanted: then this has time until the next look.
        let is_wanted = |group: &Group| {
            self.binaries.get(&file).is_some_and(|binary| binary.wanted_call_ends(now).contains(group))
        };
        let surplus: Vec<_> = surplus.into_iter().filter(|group| !is_wanted(group)).collect();
        self.take_away(file, &surplus);
        for group in surplus {
            self.tell_call_end(file, CallEnd::TakenAway { group });
        }
        has_failed
    }

    /// Places a further group of a watched binary's probes, with which it is on trial anew.
    pub(super) fn add(&mut self, file: FileIdentity, group: Group) -> Result<(), WatchError> {
        let Some(binary) = self.binaries.get(&file) else { return Ok(()) };
        let Some(probes) = binary.probes(group).cloned() else { return Ok(()) };
        let running = self.running(&file)?;
        self.agree(&running, &probes)?;
        let Some(binary) = self.binaries.get_mut(&file) else { return Ok(()) };
        let (Some(attachment), Some(open)) = (&mut binary.attachment, &binary.open) else { return Ok(()) };
        self.kernel.add(open, attachment, group, &probes.places).map_err(Arc::new)?;
        let located = binary.processes.iter().try_for_each(|key| {
            // A process that cannot be looked at any more is about to be left.
            let Ok(loaded) = loaded::verify(&self.proc, key.pid, &probes) else { return Ok(()) };
            self.kernel.locate(key.pid, attachment, &probes.places, &loaded.addresses)
        });
        // They stand, also where it could not be said where they are in each process.
        self.try_further_probes(file, &running);
        located.map_err(Arc::new)?;
        Ok(())
    }

    /// Takes groups of a binary's probes away.
    pub(super) fn take_away(&mut self, file: FileIdentity, groups: &[Group]) {
        if let Some(attachment) = self.binaries.get_mut(&file).and_then(|binary| binary.attachment.as_mut()) {
            self.kernel.remove(attachment, groups);
        }
    }

    fn tell_call_end(&self, file: FileIdentity, change: CallEnd) {
        let process = self.binaries.get(&file).and_then(|binary| binary.processes.iter().next());
        let executable = process.and_then(|key| self.proc.executable_path(key.pid)).unwrap_or_default();
        self.tell(Event::CallEnd { executable, change });
    }
}

impl Binary {
    /// Finds the places behind calls that return to these addresses.
    fn learn(&mut self, new: &[(VirtualAddress, SiteKind)], now: Instant) -> Vec<CallEnd> {
        let Some(open) = &self.open else { return Vec::new() };
        let path = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
        let opened = inspect::open(&path);
        let mut changes = Vec::new();
        for &(return_address, end) in new {
            let found = match &opened {
                Ok(binary) => caller::caller(binary, return_address, results(end))
                    .map_err(|error| format!("{:#}", anyhow::Error::from(error))),
                Err(error) => Err(error.to_string()),
            };
            let found = found.and_then(|caller| {
                let offset = caller.site.offset.0;
                let is_taken = |probes: Option<&Probes>| {
                    probes.is_some_and(|probes| probes.places.iter().any(|place| place.offset == offset))
                };
                if [
                    Group::Base,
                    Group::Routes,
                    Group::Routers,
                    Group::Messages,
                    Group::Join,
                    Group::Propagation,
                ]
                .iter()
                .any(|group| is_taken(self.probes(*group)))
                {
                    return Err(format!("another probe stands behind the call in {}", caller.function));
                }
                let mut probes = Probes::default();
                probes.add(&caller.site, analysis::after_call(end, &caller.site));
                Ok((caller.function, offset, probes))
            });
            let site = match found {
                Ok((function, offset, probes)) => {
                    changes.push(CallEnd::Learned { function, offset });
                    Ok((offset, probes))
                }
                Err(reason) => {
                    changes.push(CallEnd::NotLearned { return_address, reason: reason.clone() });
                    Err(reason)
                }
            };
            self.callers.learn(return_address, end, site, now);
        }
        changes
    }
}
