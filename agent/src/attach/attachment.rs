//! The probes of a binary, in groups that are placed and taken away by themselves.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;

use aya::programs::ProgramError;
use aya::programs::uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeScope};
use lightfoot_probes_abi::{Holder, HolderKey, Layout, SiteKind};

use super::closer::{Closing, Placed};
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
    /// Those that tell by which connections calls go.
    Join,
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
    links: BTreeMap<Group, Placed<Link>>,
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
        // Programs would run twice at each site that both have.
        let inode = inode(file);
        self.settle_while(|closing| closing.is_of(inode));
        if self.layout_slots.is_empty() {
            self.settle_while(|_| true);
        }
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
            let (inode, offsets) = (inode(file), offsets(probes));
            self.settle_while(|closing| closing.has_any(inode, &offsets));
            let placed = self.place(file, attachment.binary, probes)?;
            attachment.links.insert(group, placed);
        }
        Ok(())
    }

    /// Takes groups of probes away. They may be hit for a moment after that, where the kernel takes long to close them.
    pub fn remove(&mut self, attachment: &mut Attachment, groups: &[Group]) {
        let placed = groups.iter().filter_map(|group| attachment.links.remove(group)).collect();
        self.close(placed, Vec::new());
    }

    /// Takes the probes of binaries away, in the same way. Their processes must have been left before.
    pub fn detach(&mut self, attachments: Vec<Attachment>) {
        let (mut placed, mut layouts) = (Vec::new(), Vec::new());
        for attachment in attachments {
            self.forget_holders(&attachment.holders);
            layouts.push(attachment.layout);
            placed.extend(attachment.links.into_values());
        }
        self.close(placed, layouts);
    }

    /// Waits until all that was taken away is gone, and no processor can be within a program that it started.
    pub fn settle(&mut self) {
        self.settle_while(|_| true);
    }

    fn close(&mut self, placed: Vec<Placed<Link>>, layouts: Vec<u32>) {
        if placed.is_empty() && layouts.is_empty() {
            return;
        }
        if let Some(closer) = &self.closer {
            return closer.close(placed, layouts);
        }
        links::close(placed.into_iter().flat_map(|placed| placed.links).collect());
        for layout in layouts {
            self.layout_slots.give_back(layout);
        }
    }

    /// Waits until nothing is being closed that is like that.
    fn settle_while(&mut self, is_awaited: impl Fn(&Closing) -> bool) {
        let free = self.closer.iter().flat_map(|closer| closer.wait_while(&is_awaited));
        for layout in free {
            self.layout_slots.give_back(layout);
        }
    }

    pub(super) fn place(
        &mut self,
        file: &File,
        binary: u32,
        probes: &[Probe],
    ) -> Result<Placed<Link>, AttachError> {
        // Perf events take one each, until they are closed.
        if files::check(probes.len()).is_err() {
            self.settle();
        }
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
        Ok(Placed { inode: inode(file), offsets: offsets(probes), links: placed })
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
            let placed = placed.map_err(|error| AttachError::of_refusal(&error).unwrap_or(error.into()))?;
            return Ok(placed.into_iter().map(Link::Traced).collect());
        }
        let points = probes.map(|probe| UProbeAttachPoint {
            location: UProbeAttachLocation::AbsoluteOffset(probe.offset),
            cookie: has_cookies.then_some(probe.cookie.of_binary(binary).0),
        });
        let placed = |source: ProgramError| {
            AttachError::of_refusal(&source).unwrap_or_else(|| AttachError::Place(Box::new(source)))
        };
        let id = program.attach(points, path, self.scope).map_err(placed)?;
        Ok(vec![Link::Uprobes(program.take_link(id).map_err(placed)?)])
    }
}

/// 0 where it cannot be told: all such files are taken for one.
fn inode(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.ino())
}

fn offsets(probes: &[Probe]) -> Vec<u64> {
    probes.iter().map(|probe| probe.offset).collect()
}
