//! Probes come with the first process that is watched of a file, and go with the last.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use lightfoot_probes_abi::Counters;

use super::analysis::Probes;
use super::callers::Callers;
use super::{Event, LoadedError, WatchError, Watcher, boot_time, loaded};
use crate::attach::Group;
use crate::discover::{FileIdentity, ProcessKey, Treatment};
use crate::type_names::TypeNames;

impl Watcher {
    /// Watches a process whose file has been analysed.
    pub(super) fn start(
        &mut self,
        key: ProcessKey,
        executable: &Path,
        file: &File,
        running: &HashSet<ProcessKey>,
        treatment: Treatment,
    ) -> Result<(), WatchError> {
        let Some(binary) = self.binaries.get(&key.file) else { return Ok(()) };
        let analysis = binary.analysis.as_ref().map_err(Clone::clone)?;
        if !self.kernel.knows_numbers_of(&self.proc.folder(key.pid)) {
            return Err(WatchError::PidNamespace);
        }
        self.kernel.check_room(analysis.site_count()).map_err(Arc::new)?;
        let build_info = Arc::clone(&analysis.build_info);
        let loaded = loaded::verify(&self.proc, key.pid, &analysis.probes).map_err(Arc::new)?;
        let twin = if loaded.has_all_breakpoints { self.attached_twin(key.file) } else { None };
        if twin.is_none() {
            self.attach(key.file, executable, file, running)?;
        }
        let owner = twin.unwrap_or(key.file);
        let since = boot_time();
        self.watched.insert(key, owner);
        let Some(binary) = self.binaries.get_mut(&owner) else { return Ok(()) };
        binary.processes.insert(key);
        let type_names = binary.type_names.clone();
        let (executable, treatment) = (executable.into(), Arc::new(treatment));
        self.tell(Event::Started { key, executable, build_info, type_names, since, treatment });
        let Some(binary) = self.binaries.get(&owner) else { return Ok(()) };
        let (Some(attachment), Ok(analysis)) = (&binary.attachment, &binary.analysis) else { return Ok(()) };
        let recording = self.settings.recording(analysis, Some(loaded.bias));
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
        running: &HashSet<ProcessKey>,
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
        let Some(binary) = self.binaries.get(&identity) else { return Ok(()) };
        let analysis = binary.analysis.as_ref().map_err(Clone::clone)?;
        self.agree(identity, &analysis.probes, running)?;
        for probes in groups.iter().filter_map(|group| binary.probes(*group)) {
            self.agree(identity, probes, running)?;
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
        let contexts = attachment.holders_left_out.saturating_add(analysis.holders_left_out);
        let has_clients = analysis.clients.is_some();
        if has_clients {
            self.callers_due = Some(Instant::now());
        }
        if let Some(binary) = self.binaries.get_mut(&identity) {
            binary.attachment = Some(attachment);
            binary.type_names = has_clients.then(|| Arc::new(TypeNames::new(Arc::clone(&open))));
            binary.open = Some(open);
        }
        if contexts != 0 {
            self.tell(Event::ContextsLeftOut { executable: executable.into(), count: contexts });
        }
        Ok(())
    }

    /// Probes act on every process that runs the file, selected or not: all must have loaded what the file says.
    pub(super) fn agree(
        &self,
        identity: FileIdentity,
        probes: &Probes,
        running: &HashSet<ProcessKey>,
    ) -> Result<(), WatchError> {
        for other in running.iter().filter(|other| other.file.is_alike(&identity)) {
            match loaded::verify(&self.proc, other.pid, probes) {
                Err(error @ LoadedError::Changed { .. }) if self.proc.process(other.pid) == Some(*other) => {
                    return Err(Arc::new(error).into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Stops watching a process; its binary is detached with its last one.
    pub(super) fn leave(&mut self, key: ProcessKey) {
        let Some(owner) = self.watched.remove(&key) else { return };
        self.has_room_again = true;
        let counts = self.kernel.leave(key.pid).ok().flatten();
        let (counters, open) = counts.unwrap_or((Counters([0; Counters::CAPACITY]), 0));
        if let Some(binary) = self.binaries.get_mut(&owner) {
            binary.processes.remove(&key);
            binary.route.gone.add(&counters);
        }
        self.detach_unused(owner);
        self.tell(Event::Ended { key, counters: Box::new(counters), open });
    }

    pub(super) fn detach_unused(&mut self, file: FileIdentity) {
        let is_expected = self.expected.as_ref().is_some_and(|expected| expected.file == file);
        if let Some(binary) = self.binaries.get_mut(&file)
            && binary.processes.is_empty()
            && !is_expected
        {
            self.kernel.detach(binary.attachment.take().into_iter().collect());
            (binary.open, binary.type_names) = (None, None);
        }
    }
}
