//! Probes come with the first process that is watched of a file, and go with the last.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use lightfoot_probes_abi::Counters;

use super::analysis::Probes;
use super::{Event, LoadedError, WatchError, Watcher, boot_time, loaded};
use crate::discover::{FileIdentity, ProcessKey};

impl Watcher {
    /// Watches a process whose file has been analysed.
    pub(super) fn start(
        &mut self,
        key: ProcessKey,
        executable: &Path,
        file: &File,
        running: &HashSet<ProcessKey>,
    ) -> Result<(), WatchError> {
        let Some(binary) = self.binaries.get(&key.file) else { return Ok(()) };
        let analysis = binary.analysis.as_ref().map_err(Clone::clone)?;
        if !self.kernel.knows_numbers_of(&self.proc.folder(key.pid)) {
            return Err(WatchError::PidNamespace);
        }
        let sites = analysis.probes.places.len().saturating_add(analysis.route.places.len());
        self.kernel.check_room(sites).map_err(Arc::new)?;
        let build_info = Arc::clone(&analysis.build_info);
        let loaded = loaded::verify(&self.proc, key.pid, &analysis.probes).map_err(Arc::new)?;
        let twin = if loaded.has_all_breakpoints { self.attached_twin(key.file) } else { None };
        if twin.is_none() {
            self.attach(key.file, file, running)?;
        }
        let owner = twin.unwrap_or(key.file);
        let since = boot_time();
        self.watched.insert(key, owner);
        self.tell(Event::Started { key, executable: executable.into(), build_info, since });
        let Some(binary) = self.binaries.get_mut(&owner) else { return Ok(()) };
        binary.processes.insert(key);
        let Some(attachment) = &binary.attachment else { return Ok(()) };
        let selected = self.kernel.watch(key.pid, attachment, self.settings.sampler).map_err(Arc::new);
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
        let (Some(attachment), Ok(analysis)) = (&binary.attachment, &binary.analysis) else { return Ok(()) };
        self.kernel.locate(pid, attachment, &analysis.probes.places, addresses).map_err(Arc::new)?;
        if attachment.has_optional() {
            let loaded = loaded::verify(&self.proc, pid, &analysis.route).map_err(Arc::new)?;
            let places = &analysis.route.places;
            self.kernel.locate(pid, attachment, places, &loaded.addresses).map_err(Arc::new)?;
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
        file: &File,
        running: &HashSet<ProcessKey>,
    ) -> Result<(), WatchError> {
        let Some(binary) = self.binaries.get(&identity) else { return Ok(()) };
        let analysis = binary.analysis.as_ref().map_err(Clone::clone)?;
        if binary.attachment.is_some() {
            return Ok(());
        }
        self.agree(identity, &analysis.probes, running)?;
        let attached =
            self.kernel.attach(file, &analysis.layout, &analysis.probes.places).map_err(Arc::new)?;
        if let Some(binary) = self.binaries.get_mut(&identity) {
            binary.attachment = Some(attached);
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
        }
    }
}
