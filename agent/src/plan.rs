//! From facts about a program to where probes go: a pure function.
//!
//! Every site is proven by decoding the function that it lies in. What cannot be proven is refused with a reason,
//! and a point that is required and has no site refuses its operation: nothing is guessed.

use lightfoot_symbolizer::go_abi;
use lightfoot_symbolizer::site::Site;
use lightfoot_symbolizer::types::LayoutSource;
use lightfoot_symbolizer::{Architecture, FileOffset, VirtualAddress};

use crate::catalog::{LIBRARIES, Layout, Library, Operation, Place, Point, Role, Way};
use crate::inspect::Program;

pub mod caller;
mod coverage;
pub mod holders;
mod inlined;
pub mod layouts;
mod ways;

/// What can be watched in one program, and how.
#[derive(Debug)]
pub struct Plan {
    /// In the order of the catalogue.
    pub libraries: Vec<LibraryPlan>,
}

/// What can be watched of one library.
#[derive(Debug)]
pub struct LibraryPlan {
    /// The library.
    pub library: &'static Library,
    /// Its version, for libraries outside the standard one.
    pub version: Option<String>,
    /// Its operations, or why there are none to watch.
    pub operations: Result<Vec<OperationPlan>, String>,
}

/// How one operation is watched.
#[derive(Debug)]
pub struct OperationPlan {
    /// The operation.
    pub operation: &'static Operation,
    /// Its points, in the order of the catalogue.
    pub points: Vec<PointPlan>,
    /// The structs read.
    pub layouts: Vec<LayoutPlan>,
    /// Why it cannot be watched; empty if it can.
    pub refusals: Vec<String>,
    /// The program's own instrumentation that makes spans of it.
    pub covered_by: Option<String>,
}

/// Where one moment of an operation is caught.
#[derive(Debug)]
pub struct PointPlan {
    /// Which moment.
    pub role: Role,
    /// The function whose code is probed, and the sites there; `None` if no way could be proven.
    pub chosen: Option<(&'static str, Vec<PlannedSite>)>,
    /// The ways that come before the chosen one, and why each was not taken.
    pub refused: Vec<(&'static str, String)>,
    /// Whether the program has none of the functions that it could be caught in.
    pub absent: bool,
}

/// A site with its place in the file.
#[derive(Debug)]
pub struct PlannedSite {
    /// What the kernel is told.
    pub offset: FileOffset,
    /// How far it lies behind the function's entry, in bytes.
    pub from_entry: u64,
    /// The proven site.
    pub site: Site,
    /// Behind a call: where the words of the results are that the catalogue asks for. At a call: those of the argument.
    pub kept: Vec<go_abi::Place>,
    /// The function that it lies in, if that is none that the catalogue names.
    pub host: Option<String>,
}

/// A struct and the fields of it that probes read.
#[derive(Debug)]
pub struct LayoutPlan {
    /// The struct.
    pub layout: &'static Layout,
    /// Where its offsets come from; `None` if it was not found.
    pub source: Option<LayoutSource>,
    /// Names and offsets in bytes of the fields found.
    pub fields: Vec<(&'static str, u64)>,
    /// The fields not found.
    pub missing: Vec<&'static str>,
}

impl Plan {
    /// Plans all libraries of the catalogue.
    pub fn new(program: &Program) -> Self {
        Self { libraries: LIBRARIES.iter().map(|library| plan_library(program, library)).collect() }
    }
}

impl OperationPlan {
    /// Whether spans of this operation can be had.
    pub fn can_be_watched(&self) -> bool {
        self.refusals.is_empty()
    }

    /// The traps that one ordinary span costs, once what stands in is gone.
    pub fn traps_per_span(&self) -> usize {
        let is_hit = |point: &&PointPlan| point.addresses().next().is_some();
        self.points.iter().filter(|point| point.role.is_required()).filter(is_hit).count()
    }
}

impl PlannedSite {
    /// A site in the function at `entry`, whose code lies at `code` in the file.
    fn of(
        site: Site,
        entry: VirtualAddress,
        code: FileOffset,
        kept: Vec<go_abi::Place>,
    ) -> Result<Self, String> {
        let from_entry = site.address.checked_offset_from(entry).ok_or("a site lies before its function")?;
        let offset = code.0.checked_add(from_entry).ok_or("a site lies outside the file")?;
        Ok(Self { offset: FileOffset(offset), from_entry, site, kept, host: None })
    }
}

impl PointPlan {
    fn addresses(&self) -> impl Iterator<Item = VirtualAddress> {
        self.chosen.iter().flat_map(|(_, sites)| sites).map(|planned| planned.site.address)
    }
}

fn plan_library(program: &Program, library: &'static Library) -> LibraryPlan {
    let module = library.module.and_then(|path| program.build_info.module(path));
    let version = module.map(|module| module.compiled().version.clone());
    let has = |function| program.functions.get(function).is_ok();
    let is_there = library
        .operations
        .iter()
        .filter(|operation| operation.only_with.is_none_or(|(function, _)| has(function)))
        .flat_map(Operation::starts)
        .any(|way| has(way.function));
    let operations = if is_there {
        Ok(library.operations.iter().map(|operation| plan_operation(program, operation)).collect())
    } else {
        Err("not linked into this program".to_owned())
    };
    LibraryPlan { library, version, operations }
}

fn plan_operation(program: &Program, operation: &'static Operation) -> OperationPlan {
    let point = |point: &Point| plan_point(program, point.role, point.ways);
    let mut points: Vec<_> = operation.points.iter().map(point).collect();
    points.extend(operation.inlined.into_iter().flat_map(|inlined| inlined::plan(program, inlined)));
    // What is caught where it ends anyway needs nothing that stands in until then.
    let is_end = |point: &&PointPlan| point.role == Role::End;
    let ends: Vec<_> = points.iter().filter(is_end).flat_map(PointPlan::addresses).collect();
    points.retain(|point| point.role != Role::StandIn || point.addresses().any(|site| !ends.contains(&site)));
    let layouts: Vec<_> = operation.layouts.iter().map(|layout| plan_layout(program, layout)).collect();
    let mut refusals = Vec::new();
    let start = points.iter().find(|point| point.role.is_start());
    let other = operation.only_with.filter(|(function, _)| program.functions.get(function).is_err());
    let elsewhere = if start.is_some_and(|start| start.chosen.is_none() && start.absent) {
        Some("not linked into this program")
    } else {
        other.map(|(_, what_it_does)| what_it_does)
    };
    if let Some(refusal) = elsewhere {
        let refusals = vec![refusal.to_owned()];
        return OperationPlan { operation, points, layouts, refusals, covered_by: None };
    }
    for point in points.iter().filter(|point| point.role.is_required() && point.chosen.is_none()) {
        // The first way is the usual one; the others stand in for it, and their absence says less.
        let is_there = |(function, _): &&(&str, String)| program.functions.get(function).is_ok();
        let refused = point.refused.iter().find(is_there).or(point.refused.first());
        refusals.extend(refused.map(|(_, why)| why.clone()));
    }
    for layout in &layouts {
        let required = |field: &&&str| layout.layout.required.contains(*field);
        let missing: Vec<_> = layout.missing.iter().filter(required).copied().collect();
        if layout.source.is_none() {
            if layout.layout.is_optional {
                continue;
            }
            refusals.push(format!("the layout of {} is not known", layout.layout.name));
        } else if !missing.is_empty() {
            refusals.push(format!("{} has no field {}", layout.layout.name, missing.join(", ")));
        }
    }
    let has = |function: &str| program.functions.get(function).is_ok();
    let covered_by = coverage::covered_by(&program.build_info, has, operation);
    OperationPlan { operation, points, layouts, refusals, covered_by }
}

fn plan_point(program: &Program, role: Role, ways: &'static [Way]) -> PointPlan {
    let absent = ways.iter().all(|way| program.functions.get(way.function).is_err());
    let mut refused = Vec::new();
    let mut chosen = None;
    let returns_are_emulated = program.architecture == Architecture::Aarch64;
    let is_a_place = |way: &&Way| !matches!(way.place, Place::EmulatedReturns) || returns_are_emulated;
    for way in ways.iter().filter(is_a_place) {
        match ways::plan(program, way) {
            Ok(sites) => {
                chosen = Some((way.function, sites));
                break;
            }
            Err(why) => refused.push((way.function, why)),
        }
    }
    PointPlan { role, chosen, refused, absent }
}

fn plan_layout(program: &Program, layout: &'static Layout) -> LayoutPlan {
    let found = program.types.layout(layout.name);
    let mut plan = LayoutPlan {
        layout,
        source: found.map(|found| found.source),
        fields: Vec::new(),
        missing: Vec::new(),
    };
    for name in layout.required.iter().chain(layout.optional) {
        match found.and_then(|found| found.field(name)) {
            Some(field) => plan.fields.push((name, field.offset)),
            None => plan.missing.push(name),
        }
    }
    plan
}
