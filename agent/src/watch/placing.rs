//! Probes come with the first process that is watched of a file, and go some time after the last.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightfoot_probes_abi::Counters;

use super::analysis::Probes;
use super::callers::Callers;
use super::{Binary, Event, LoadedError, WatchError, Watcher, boot_time, loaded};
use crate::attach::Group;
use crate::discover::{FileIdentity, Listening, ProcessKey, Treatment};
use crate::type_names::TypeNames;

/// So long the probes of a binary stay without a watched process: one that is started again is watched at once.
pub const LINGER: Duration = Duration::from_secs(10);

impl Watcher {
    /// Watches a process whose file has been analysed, unless another agent does.
    pub(super) fn start(
        &mut self,
        key: ProcessKey,
        executable: &Path,
        file: &File,
        treatment: Treatment,
    ) -> Result<(), WatchError> {
        if let Some(Binary { analysis: Err(reason), .. }) = self.binaries.get(&key.file) {
            return Err(reason.clone());
        }
        if self.is_suspended(key.file) {
            return Err(WatchError::Suspended);
        }
        self.claims.take(key.pid)?;
        let started = self.record(key, executable, file, treatment);
        if !self.watched.contains_key(&key) {
            self.claims.give_back(key.pid);
        }
        started
    }

    fn record(
        &mut self,
        key: ProcessKey,
        executable: &Path,
        file: &File,
        treatment: Treatment,
    ) -> Result<(), WatchError> {
        let Some(binary) = self.binaries.get(&key.file) else { return Ok(()) };
        let analysis = binary.analysis.as_ref().map_err(Clone::clone)?;
        if !self.kernel.knows_numbers_of(&self.proc.folder(key.pid)) {
            return Err(WatchError::PidNamespace);
        }
        let sites = analysis.site_count();
        if self.kernel.check_room(sites).is_err() {
            self.detach_unused(None);
        }
        self.kernel.check_room(sites).map_err(Arc::new)?;
        let Some(Ok(analysis)) = self.binaries.get(&key.file).map(|binary| &binary.analysis) else {
            return Ok(());
        };
        let build_info = Arc::clone(&analysis.build_info);
        let loaded = loaded::verify(&self.proc, key.pid, &analysis.probes).map_err(Arc::new)?;
        let twin = if loaded.has_all_breakpoints { self.attached_twin(key.file) } else { None };
        if twin.is_none() {
            let attached = self.attach(key.file, executable, file);
            let is_full = matches!(&attached, Err(WatchError::Attach(error)) if error.is_for_lack_of_room());
            if is_full && self.detach_unused(None) {
                self.attach(key.file, executable, file)?;
            } else {
                attached?;
            }
        }
        let owner = twin.unwrap_or(key.file);
        self.set_propagating(owner, key, executable, self.settings.propagates_for(&treatment));
        let since = boot_time();
        self.watched.insert(key, owner);
        self.try_with_probes(key, owner);
        let Some(binary) = self.binaries.get_mut(&owner) else { return Ok(()) };
        binary.processes.insert(key);
        binary.unused_since = None;
        self.young.push((key, Instant::now()));
        let type_names = binary.type_names.clone();
        let (executable, facts, treatment) =
            (executable.into(), self.proc.facts(key.pid), Arc::new(treatment));
        let told = Arc::clone(&treatment);
        self.tell(Event::Started { key, executable, build_info, facts, type_names, since, treatment: told });
        let Some(binary) = self.binaries.get(&owner) else { return Ok(()) };
        let (Some(attachment), Ok(analysis)) = (&binary.attachment, &binary.analysis) else { return Ok(()) };
        let recording = self.settings.recording(analysis, Some(loaded.bias), &treatment);
        let selected = self.kernel.watch(key.pid, attachment, recording).map_err(Arc::new);
        let located =
            selected.map_err(WatchError::from).and_then(|()| self.locate(key.pid, owner, &loaded.addresses));
        located.inspect_err(|_| self.leave(key))
    }

    /// Says where the sites of a binary are in a process.
    pub(super) fn locate(
        &mut self,
        pid: u32,
        owner: FileIdentity,
        addresses: &[u64],
    ) -> Result<(), WatchError> {
        let Some(binary) = self.binaries.get(&owner) else { return Ok(()) };
        let Some(attachment) = &binary.attachment else { return Ok(()) };
        for group in attachment.groups() {
            let Some(probes) = binary.probes(group) else { continue };
            let verified;
            let addresses = if group == Group::Base {
                addresses
            } else {
                verified = loaded::verify(&self.proc, pid, probes).map_err(Arc::new)?;
                &verified.addresses
            };
            self.kernel.locate(pid, attachment, &probes.places, addresses).map_err(Arc::new)?;
        }
        Ok(())
    }

    /// The same file as another mount shows it, if probes are placed through that one already: overlay mounts show
    /// devices of their own, and the kernel, which places probes in the file below, would place them twice.
    ///
    /// Equal inode, size and time alone prove nothing (think of snapshots). That breakpoints stand at all of our sites
    /// in a process that runs this one does.
    fn attached_twin(&self, file: FileIdentity) -> Option<FileIdentity> {
        let is_attached = |identity: &FileIdentity| {
            self.binaries.get(identity).is_some_and(|binary| binary.attachment.is_some())
        };
        if is_attached(&file) {
            return None;
        }
        self.binaries.keys().find(|other| other.is_alike(&file) && is_attached(other)).copied()
    }

    /// Places the probes of a binary unless they are.
    pub(super) fn attach(
        &mut self,
        identity: FileIdentity,
        executable: &Path,
        file: &File,
    ) -> Result<(), WatchError> {
        let Some(binary) = self.binaries.get_mut(&identity) else { return Ok(()) };
        let analysis = binary.analysis.as_ref().map_err(Clone::clone)?;
        if binary.attachment.is_some() {
            return Ok(());
        }
        // What was learned holds for the calls of processes that are gone.
        binary.callers = Callers::new(self.settings.callers_settle);
        let mut groups = binary.wanted_call_ends(Instant::now());
        if self.settings.router_routes && !analysis.routers.places.is_empty() {
            groups.insert(Group::Routers);
        }
        if self.settings.messages && !analysis.messages.places.is_empty() {
            groups.insert(Group::Messages);
        }
        if self.settings.join && !analysis.join.places.is_empty() {
            groups.insert(Group::Join);
        }
        let Some(binary) = self.binaries.get(&identity) else { return Ok(()) };
        let analysis = binary.analysis.as_ref().map_err(Clone::clone)?;
        let others = self.running(&identity)?;
        self.agree(&others, &analysis.probes)?;
        for probes in groups.iter().filter_map(|group| binary.probes(*group)) {
            self.agree(&others, probes)?;
        }
        let open = Arc::new(file.try_clone().map_err(|error| WatchError::Open(Arc::new(error)))?);
        let (layout, holders) = (&analysis.layout, analysis.holders.as_slice());
        let mut attachment =
            self.kernel.attach(file, layout, holders, &analysis.probes.places).map_err(Arc::new)?;
        for group in groups {
            let Some(probes) = binary.probes(group) else { continue };
            if let Err(error) = self.kernel.add(file, &mut attachment, group, &probes.places) {
                self.kernel.detach(vec![attachment]);
                return Err(Arc::new(error).into());
            }
        }
        let covered = analysis.covered.join(", ");
        let is_client = self.settings.join && analysis.clients.is_some();
        let not_joined = if is_client { analysis.not_joined.join("; ") } else { String::new() };
        let contexts = attachment.holders_left_out.saturating_add(analysis.holders_left_out);
        let has_clients = analysis.clients.is_some();
        if has_clients {
            self.callers_due = Some(Instant::now());
        }
        if let Some(binary) = self.binaries.get_mut(&identity) {
            binary.attachment = Some(attachment);
            binary.placed = Some(Instant::now());
            executable.clone_into(&mut binary.path);
            binary.type_names = has_clients.then(|| Arc::new(TypeNames::new(Arc::clone(&open))));
            binary.open = Some(open);
        }
        if !covered.is_empty() {
            self.tell(Event::LeftToItself { executable: executable.into(), covered });
        }
        if !not_joined.is_empty() {
            let reason = WatchError::Unproven(not_joined);
            self.tell(Event::NotJoined { executable: executable.into(), reason });
        }
        if contexts != 0 {
            self.tell(Event::ContextsLeftOut { executable: executable.into(), count: contexts });
        }
        Ok(())
    }

    /// Whoever runs the file now.
    pub(super) fn running(&self, file: &FileIdentity) -> Result<Vec<ProcessKey>, WatchError> {
        self.proc.running(file).map_err(|error| WatchError::Processes(Arc::new(error)))
    }

    /// Probes act on every process that runs their file, selected or not: all of these must have loaded what the file says.
    pub(super) fn agree(&self, others: &[ProcessKey], probes: &Probes) -> Result<(), WatchError> {
        for other in others {
            match loaded::verify(&self.proc, other.pid, probes) {
                Err(error @ LoadedError::Changed { .. }) if self.proc.process(other.pid) == Some(*other) => {
                    return Err(Arc::new(error).into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Stops watching a process. The probes of its binary stay for a while after the last one, for it may be started again.
    pub(super) fn leave(&mut self, key: ProcessKey) {
        let Some(owner) = self.watched.remove(&key) else { return };
        self.chosen_by.remove(&key);
        self.has_room_again = true;
        let counts = self.kernel.leave(key.pid).ok().flatten();
        self.claims.give_back(key.pid);
        let (counters, open) = counts.unwrap_or((Counters([0; Counters::CAPACITY]), 0));
        if let Some(binary) = self.binaries.get_mut(&owner) {
            binary.processes.remove(&key);
            binary.route.gone.add(&counters);
            binary.unused_since = binary.processes.is_empty().then(Instant::now);
        }
        self.stop_propagating(owner, key);
        self.tell(Event::Ended { key, counters: Box::new(counters), open });
        if let Some(death) = self.suspicious_death(key) {
            self.suspend(owner, key, death);
        }
    }

    /// Stops watching a process that goes on, and pays for probes, because of the ports that it listens on now.
    pub(super) fn leave_alone(&mut self, key: ProcessKey, listening: &Listening) {
        let owner = self.watched.get(&key).copied();
        self.leave(key);
        self.consider(key, listening);
        if let Some(owner) = owner {
            self.detach_if_unused(owner);
        }
    }

    /// Detaches from all binaries that no watched process has run for [`LINGER`] until `now`, or no matter for how long. True if there
    /// were any.
    pub(super) fn detach_unused(&mut self, now: Option<Instant>) -> bool {
        let is_over = |since: Instant| now.is_none_or(|now| now.saturating_duration_since(since) >= LINGER);
        let unused = self.binaries.iter().filter(|(_, binary)| binary.unused_since.is_some_and(is_over));
        let unused: Vec<_> = unused.map(|(file, _)| *file).collect();
        for file in &unused {
            self.detach_if_unused(*file);
        }
        !unused.is_empty()
    }

    pub(super) fn detach_if_unused(&mut self, file: FileIdentity) {
        let is_expected = self.expected.as_ref().is_some_and(|expected| expected.file == file);
        if let Some(binary) = self.binaries.get_mut(&file)
            && binary.processes.is_empty()
            && !is_expected
        {
            self.kernel.detach(binary.attachment.take().into_iter().collect());
            (binary.open, binary.type_names, binary.unused_since) = (None, None, None);
            binary.placed = None;
            (binary.propagation_is_tried, binary.propagation_failed) = (false, None);
        }
    }
}
