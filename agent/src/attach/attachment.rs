//! The probes of a binary, in groups that are placed and taken away by themselves.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd as _;

use aya::programs::ProgramError;
use aya::programs::uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeScope};
use lightfoot_probes_abi::{Holder, HolderKey, Layout, SiteKind};

use super::links::{self, Link};
use super::{AttachError, Family, Kernel, Probe, files, load_program, map_error};

/// Probes that are placed together: one link for each program where the kernel has uprobe_multi.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Those that stand as long as the binary is watched.
    Base,
    /// Those that find the routes of copied requests.
    Routes,
    /// Those that find what routers have matched.
    Routers,
    /// Those that count the messages of streams.
    Messages,
    /// Those at which something is written.
    Propagation,
    /// The returns of client functions whose calls end at sites of this kind, where those end whose caller is not known.
    Returns(SiteKind),
    /// A place behind a call of a client function, by its offset in the file.
    CallSite(u64),
}

/// A binary with its probes in place; dropping it takes them away.
#[derive(Debug)]
pub struct Attachment {
    /// The number by which cookies and processes name it.
    pub binary: u32,
    /// The types of contexts for which there was no room.
    pub holders_left_out: usize,
    pub(super) layout: u32,
    holders: Vec<HolderKey>,
    links: BTreeMap<Group, Vec<Link>>,
}

impl Attachment {
    /// Whether a group is in place.
    pub fn has(&self, group: Group) -> bool {
        self.links.contains_key(&group)
    }

    /// The groups in place.
    pub fn groups(&self) -> impl Iterator<Item = Group> {
        self.links.keys().copied()
    }
}

impl Kernel {
    /// Places a binary's [`Group::Base`]; nothing is recorded until a process is selected. `holders` are the types that
    /// hold contexts, by the virtual addresses of their descriptors.
    pub fn attach(
        &mut self,
        file: &File,
        layout: &Layout,
        holders: &[(u64, Holder)],
        probes: &[Probe],
    ) -> Result<Attachment, AttachError> {
        let slot = self.layout_slots.take().ok_or(AttachError::TooManyBinaries)?;
        let binary = self.next_binary;
        self.next_binary = self.next_binary.wrapping_add(1).max(1);
        let described = self.layouts.set(slot, layout, 0).map_err(map_error("LAYOUTS"));
        match described.and_then(|()| self.place(file, binary, probes)) {
            Ok(placed) => {
                let kept = self.describe_holders(binary, holders);
                Ok(Attachment {
                    binary,
                    holders_left_out: holders.len().saturating_sub(kept.len()),
                    layout: slot,
                    holders: kept,
                    links: BTreeMap::from([(Group::Base, placed)]),
                })
            }
            Err(error) => {
                self.layout_slots.give_back(slot);
                Err(error)
            }
        }
    }

    /// Places a further group of a binary's probes, unless it is in place.
    pub fn add(
        &mut self,
        file: &File,
        attachment: &mut Attachment,
        group: Group,
        probes: &[Probe],
    ) -> Result<(), AttachError> {
        if !attachment.has(group) {
            let placed = self.place(file, attachment.binary, probes)?;
            attachment.links.insert(group, placed);
        }
        Ok(())
    }

    /// Takes groups of probes away. Waits until no processor can be within a program that they started.
    pub fn remove(attachment: &mut Attachment, groups: &[Group]) {
        links::close(groups.iter().filter_map(|group| attachment.links.remove(group)).flatten().collect());
    }

    /// Takes the probes of binaries away. Their processes must have been left before.
    pub fn detach(&mut self, attachments: Vec<Attachment>) {
        let mut all = Vec::new();
        for attachment in attachments {
            self.layout_slots.give_back(attachment.layout);
            self.forget_holders(&attachment.holders);
            all.extend(attachment.links.into_values().flatten());
        }
        links::close(all);
    }

    pub(super) fn place(
        &mut self,
        file: &File,
        binary: u32,
        probes: &[Probe],
    ) -> Result<Vec<Link>, AttachError> {
        // Perf events take one each.
        files::check(probes.len())?;
        let mut placed = Vec::new();
        for family in Family::ALL {
            let own = || probes.iter().filter(|probe| Family::of(probe.cookie) == family);
            if own().next().is_none() {
                continue;
            }
            match self.place_for(family, file, binary, own()) {
                Ok(links) => placed.extend(links),
                Err(error) => {
                    links::close(placed);
                    return Err(error);
                }
            }
        }
        Ok(placed)
    }

    fn place_for<'a>(
        &mut self,
        family: Family,
        file: &File,
        binary: u32,
        probes: impl Iterator<Item = &'a Probe>,
    ) -> Result<Vec<Link>, AttachError> {
        let program = load_program(&mut self.object, self.method, family)?;
        let has_cookies = self.addresses.is_none();
        // By its descriptor: a path could lead to another file by now, where these offsets would do harm.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        if let Some(tracefs) = &mut self.tracefs {
            let program = program.fd().map_err(|source| AttachError::Place(Box::new(source)))?;
            let sites =
                probes.map(|probe| (probe.offset, has_cookies.then_some(probe.cookie.of_binary(binary).0)));
            let is_for_all = matches!(self.scope, UProbeScope::AllProcesses);
            let placed = tracefs.place(program, path.as_ref(), sites, is_for_all);
            let placed =
                placed.map_err(|error| AttachError::of_open_files(&error).unwrap_or(error.into()))?;
            return Ok(placed.into_iter().map(Link::Traced).collect());
        }
        let points = probes.map(|probe| UProbeAttachPoint {
            location: UProbeAttachLocation::AbsoluteOffset(probe.offset),
            cookie: has_cookies.then_some(probe.cookie.of_binary(binary).0),
        });
        let placed = |source: ProgramError| {
            AttachError::of_open_files(&source).unwrap_or_else(|| AttachError::Place(Box::new(source)))
        };
        let id = program.attach(points, path, self.scope).map_err(placed)?;
        Ok(vec![Link::Uprobes(program.take_link(id).map_err(placed)?)])
    }
}
