//! From facts about a program to where probes go: a pure function.
//!
//! Every site is proven by decoding the function that it lies in. What cannot be proven is refused with a reason,
//! and a point that is required and has no site refuses its operation: nothing is guessed.

use lightfoot_symbolizer::go_abi::{self, Signature};
use lightfoot_symbolizer::site::{self, IndirectCall, Site};
use lightfoot_symbolizer::types::LayoutSource;
use lightfoot_symbolizer::{Architecture, FileOffset, VirtualAddress};

use crate::catalog::{LIBRARIES, Layout, Library, Operation, Place, Point, Role, Way};
use crate::inspect::Program;

pub mod caller;
pub mod holders;
pub mod layouts;

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

    /// The traps that one ordinary span costs.
    pub fn traps_per_span(&self) -> usize {
        self.points.iter().filter(|point| point.role.is_required() && point.chosen.is_some()).count()
    }
}

impl PlannedSite {
    /// A site in the function at `entry`, whose code lies at `code` in the file.
    fn of(site: Site, entry: VirtualAddress, code: FileOffset) -> Result<Self, String> {
        let from_entry = site.address.checked_offset_from(entry).ok_or("a site lies before its function")?;
        let offset = code.0.checked_add(from_entry).ok_or("a site lies outside the file")?;
        Ok(Self { offset: FileOffset(offset), from_entry, site })
    }
}

fn plan_library(program: &Program, library: &'static Library) -> LibraryPlan {
    let module = library.module.and_then(|path| program.build_info.module(path));
    let version = module.map(|module| module.compiled().version.clone());
    let is_there = library
        .operations
        .iter()
        .flat_map(|operation| operation.starts())
        .any(|way| program.functions.get(way.function).is_ok());
    let operations = if is_there {
        Ok(library.operations.iter().map(|operation| plan_operation(program, operation)).collect())
    } else {
        Err("not linked into this program".to_owned())
    };
    LibraryPlan { library, version, operations }
}

fn plan_operation(program: &Program, operation: &'static Operation) -> OperationPlan {
    let points: Vec<_> = operation.points.iter().map(|point| plan_point(program, point)).collect();
    let layouts: Vec<_> = operation.layouts.iter().map(|layout| plan_layout(program, layout)).collect();
    let mut refusals = Vec::new();
    let start = points.iter().find(|point| point.role == Role::Start);
    let other = operation.only_with.filter(|(function, _)| program.functions.get(function).is_err());
    let elsewhere = if start.is_some_and(|start| start.chosen.is_none() && start.absent) {
        Some("not linked into this program")
    } else {
        other.map(|(_, what_it_does)| what_it_does)
    };
    if let Some(refusal) = elsewhere {
        return OperationPlan { operation, points, layouts, refusals: vec![refusal.to_owned()] };
    }
    for point in points.iter().filter(|point| point.role.is_required() && point.chosen.is_none()) {
        // The first way is the usual one; the others stand in for it, and their absence says less.
        refusals.extend(point.refused.iter().take(1).map(|(_, why)| why.clone()));
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
    OperationPlan { operation, points, layouts, refusals }
}

fn plan_point(program: &Program, point: &'static Point) -> PointPlan {
    let absent = point.ways.iter().all(|way| program.functions.get(way.function).is_err());
    let mut refused = Vec::new();
    let mut chosen = None;
    let returns_are_emulated = program.architecture == Architecture::Aarch64;
    let is_a_place = |way: &&Way| !matches!(way.place, Place::EmulatedReturns) || returns_are_emulated;
    for way in point.ways.iter().filter(is_a_place) {
        match plan_way(program, way) {
            Ok(sites) => {
                chosen = Some((way.function, sites));
                break;
            }
            Err(why) => refused.push((way.function, why)),
        }
    }
    PointPlan { role: point.role, chosen, refused, absent }
}

fn plan_way(program: &Program, way: &Way) -> Result<Vec<PlannedSite>, String> {
    let function = program.functions.get(way.function).map_err(|why| why.to_string())?;
    let code = program.code.get(&function.entry).ok_or("its code is not in the file")?;
    let view = site::Code { architecture: program.architecture, entry: function.entry, bytes: &code.bytes };
    let sites = match &way.place {
        Place::Entry { signature, needs, called_from } => {
            if let Some(caller) = called_from {
                prove_called(program, way.function, caller)?;
            }
            let places = places_of(signature, needs, program.architecture)?;
            vec![site::entry(view, &places).map_err(|why| why.to_string())?]
        }
        Place::CallOf(callee) => {
            let callee = program.functions.get(callee).map_err(|why| why.to_string())?;
            let calls = site::calls_to(view, callee.entry).map_err(|why| why.to_string())?;
            match calls.len() {
                1 => calls,
                count => {
                    return Err(format!("{} calls {} {count} times, not once", way.function, callee.name));
                }
            }
        }
        Place::AfterInterfaceCalls { itab_offset, parameters, results } => {
            let signature = Signature { parameters, results };
            let keep = result_places(&signature, program.architecture)?;
            let arguments = argument_registers(&signature, program.architecture)?;
            let calls = site::indirect_calls(view).map_err(|why| why.to_string())?;
            let is_of_method = |call: &IndirectCall| {
                call.itab_offset == Some(*itab_offset) && call.arguments & arguments == arguments
            };
            let sites: Vec<_> = calls
                .into_iter()
                .filter(is_of_method)
                .filter_map(|call| site::after_call(view, call.address, &keep).ok())
                .collect();
            if sites.is_empty() {
                return Err(format!("no call in {} leaves its results readable", way.function));
            }
            sites
        }
        Place::Returns | Place::EmulatedReturns => {
            let returns = site::returns(view).map_err(|why| why.to_string())?;
            if returns.is_empty() {
                return Err(format!("{} never returns", way.function));
            }
            returns
        }
    };
    sites.into_iter().map(|site| PlannedSite::of(site, function.entry, code.offset)).collect()
}

/// Proves that `caller` really calls `name`: a symbol alone does not, the calls that matter may be inlined.
fn prove_called(program: &Program, name: &str, caller: &str) -> Result<(), String> {
    let function = program.functions.get(name).map_err(|why| why.to_string())?;
    let from = program.functions.get(caller).map_err(|why| why.to_string())?;
    let code = program.code.get(&from.entry).ok_or("its caller's code is not in the file")?;
    let view = site::Code { architecture: program.architecture, entry: from.entry, bytes: &code.bytes };
    let calls = site::calls_to(view, function.entry).map_err(|why| why.to_string())?;
    let is_inlined = program.functions.inlined_into(name).any(|host| host.entry == from.entry);
    match (calls.is_empty(), is_inlined) {
        (false, false) => Ok(()),
        (_, true) => Err(format!("{name} is inlined into {caller}")),
        (true, false) => Err(format!("{caller} does not call {name} directly")),
    }
}

fn places_of(
    signature: &Signature<'_>,
    needs: &[usize],
    architecture: Architecture,
) -> Result<Vec<go_abi::Place>, String> {
    let assignment = signature.assign(architecture).map_err(|why| why.to_string())?;
    let needed = needs.iter().filter_map(|index| assignment.parameters.get(*index));
    Ok(needed.flat_map(|value| &value.words).map(|word| word.place).collect())
}

/// The integer registers of the parameters, by index from the lowest bit.
fn argument_registers(signature: &Signature<'_>, architecture: Architecture) -> Result<u16, String> {
    let assignment = signature.assign(architecture).map_err(|why| why.to_string())?;
    let words = assignment.parameters.iter().flat_map(|value| &value.words);
    Ok(words.fold(0, |all, word| match word.place {
        go_abi::Place::IntegerRegister(index) => all | 1_u16.checked_shl(index.into()).unwrap_or(0),
        _ => all,
    }))
}

fn result_places(
    signature: &Signature<'_>,
    architecture: Architecture,
) -> Result<Vec<go_abi::Place>, String> {
    let assignment = signature.assign(architecture).map_err(|why| why.to_string())?;
    Ok(assignment.results.iter().flat_map(|value| &value.words).map(|word| word.place).collect())
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
