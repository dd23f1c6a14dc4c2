//! What the thread that watches says of itself when it is asked.

use std::sync::Arc;
use std::time::Instant;

use anyhow::anyhow;
use lightfoot_probes_abi::Counters;
use lightfoot_symbolizer::build_info::BuildInfo;
use tokio::sync::oneshot;

use super::analysis::{Analysis, Probes};
use super::{Coexistence, Watcher};
use crate::attach::{Attachment, Group, MapFill};
use crate::catalog::{Role, grpc, net_http};
use crate::discover::selection::Rule;
use crate::discover::{FileIdentity, Paused, ProcessKey};
use crate::plan::{LibraryPlan, OperationPlan, Plan};

/// Somebody asks how it goes.
#[derive(Debug)]
pub struct Question {
    /// Where the answer goes.
    pub answer: oneshot::Sender<Report>,
    /// Whether maps are walked for it, which takes longer.
    pub with_maps: bool,
}

/// How it goes now.
#[derive(Debug, Default)]
pub struct Report {
    /// When that was.
    pub when: Option<Instant>,
    /// Whether all processes that were there at the start have been decided about.
    pub has_looked: bool,
    /// What is left alone for now.
    pub paused: Paused,
    /// Each process that is watched.
    pub processes: Vec<Watched>,
    /// The counts of the hits that belong to none.
    pub unwatched: Option<Counters>,
    /// How full the kernel's maps are, if that was asked for.
    pub maps: Vec<MapFill>,
    /// The bytes that all of the kernel's maps take.
    pub map_bytes: u64,
}

/// Modules of which the catalogue has a library that is linked into a program, with the versions that were compiled.
pub type Modules = Arc<[(&'static str, String)]>;

/// A process that is watched.
#[derive(Debug)]
pub struct Watched {
    /// The process.
    pub key: ProcessKey,
    /// Why it is watched.
    pub rule: Option<Rule>,
    /// What the programs have counted since it is watched.
    pub counters: Counters,
    /// What its program was built from; nothing if it has just been left.
    pub build_info: Option<Arc<BuildInfo>>,
    /// What can be watched in its program.
    pub outlooks: Arc<[Outlook]>,
    /// The modules that its libraries are of, with their versions.
    pub modules: Modules,
    /// The groups of probes that stand in its file.
    pub groups: Vec<Group>,
    /// How many sites these are.
    pub sites: usize,
    /// Why the probes that add trace contexts could not be placed, if this one was to have them.
    pub not_propagated: Option<String>,
}

/// What becomes of an operation in a program.
#[derive(Debug)]
pub struct Outlook {
    /// The library that it is one of.
    pub library: &'static str,
    /// What a person calls it.
    pub title: &'static str,
    /// Else it adds to the spans of others.
    pub is_span: bool,
    /// The traps that one span takes, or that it adds to one.
    pub traps: usize,
    /// Whether spans of it can be had.
    pub verdict: Verdict,
    /// Where its probes are, if they don't stand as long as the program is watched.
    pub group: Option<Group>,
}

/// Whether spans of an operation can be had.
#[derive(Debug)]
pub enum Verdict {
    /// They can.
    Watched,
    /// They are left to the program's own instrumentation, which this names.
    Left(String),
    /// They cannot, for these reasons.
    Cannot(Vec<String>),
}

impl Report {
    /// All that the programs have counted: of each process that is watched, and of none.
    pub fn counters(&self) -> impl Iterator<Item = &Counters> {
        self.processes.iter().map(|process| &process.counters).chain(&self.unwatched)
    }
}

impl Watcher {
    pub(super) fn report(&self, with_maps: bool) -> Report {
        Report {
            when: Some(Instant::now()),
            has_looked: !self.is_new,
            paused: self.selection.paused.clone(),
            processes: self.watched.iter().filter_map(|(key, owner)| self.watched_now(*key, owner)).collect(),
            unwatched: self.kernel.counts(None).ok(),
            maps: if with_maps { self.kernel.fills() } else { Vec::new() },
            map_bytes: self.kernel.map_bytes(),
        }
    }

    fn watched_now(&self, key: ProcessKey, owner: &FileIdentity) -> Option<Watched> {
        let counters = self.kernel.counts(Some(key.pid)).ok()?;
        let binary = self.binaries.get(owner);
        let analysis = binary.and_then(|binary| binary.analysis.as_ref().ok());
        let groups: Vec<_> = binary
            .and_then(|binary| binary.attachment.as_ref())
            .into_iter()
            .flat_map(Attachment::groups)
            .collect();
        let sites_of = |group: &Group| Some(binary?.probes(*group)?.places.len());
        let sites = groups.iter().filter_map(sites_of).sum();
        let rule = self.chosen_by.get(&key).cloned();
        Some(Watched {
            key,
            rule,
            counters,
            build_info: analysis.map(|analysis| Arc::clone(&analysis.build_info)),
            outlooks: analysis.map(|analysis| Arc::clone(&analysis.outlooks)).unwrap_or_default(),
            modules: analysis.map(|analysis| Arc::clone(&analysis.modules)).unwrap_or_default(),
            groups,
            sites,
            not_propagated: binary
                .filter(|binary| binary.propagating.contains(&key))
                .and_then(|binary| binary.propagation_failed.clone())
                .map(|error| format!("{:#}", anyhow!(error))),
        })
    }
}

/// What becomes of each operation in a program that has been analysed.
pub(super) fn outlooks(plan: &Plan, coexistence: Coexistence, analysis: &Analysis) -> Vec<Outlook> {
    let of_library = |library: &LibraryPlan| -> Vec<_> {
        let plans = library.operations.iter().flatten().filter(|plan| is_told(plan));
        plans.map(|plan| Outlook::new(library.library.name, plan, coexistence, analysis)).collect()
    };
    plan.libraries.iter().flat_map(of_library).collect()
}

/// The modules of the libraries that were found in a program.
pub(super) fn modules(plan: &Plan) -> Modules {
    let linked = plan.libraries.iter().filter(|library| library.operations.is_ok());
    linked.filter_map(|library| Some((library.library.module?, library.version.clone()?))).collect()
}

fn is_told(plan: &OperationPlan) -> bool {
    let asked_for = [net_http::PROPAGATION_1.title, grpc::PROPAGATION.title];
    Analysis::adder(plan).is_some()
        || plan.points.iter().any(|point| point.role == Role::Connected)
        || asked_for.contains(&plan.operation.title)
}

impl Outlook {
    fn new(
        library: &'static str,
        plan: &OperationPlan,
        coexistence: Coexistence,
        analysis: &Analysis,
    ) -> Self {
        let placed = plan.points.iter().find_map(|point| {
            let (_, sites) = point.chosen.as_ref()?;
            sites.iter().find_map(|planned| analysis.group_of(planned.offset.0))
        });
        let by = plan.covered_by.as_ref().filter(|_| coexistence != Coexistence::Both);
        let verdict = match (by, placed) {
            _ if !plan.can_be_watched() => Verdict::Cannot(plan.refusals.clone()),
            (Some(by), _) => Verdict::Left(by.clone()),
            (None, Some(_)) => Verdict::Watched,
            (None, None) => Verdict::Cannot(vec!["what it builds on cannot be watched".to_owned()]),
        };
        Self {
            library,
            title: plan.operation.title,
            is_span: plan.points.iter().any(|point| point.role == Role::Start),
            traps: plan.traps_per_span(),
            verdict,
            group: placed.filter(|group| *group != Group::Base),
        }
    }
}

impl Analysis {
    /// The group that a site is in, if it is placed at all.
    fn group_of(&self, offset: u64) -> Option<Group> {
        let groups = [
            (Group::Base, &self.probes),
            (Group::Routers, &self.routers),
            (Group::Messages, &self.messages),
            (Group::Join, &self.join),
            (Group::Propagation, &self.propagation),
        ];
        let has = |probes: &Probes| probes.places.iter().any(|place| place.offset == offset);
        groups.into_iter().find(|(_, probes)| has(probes)).map(|(group, _)| group)
    }
}
