//! The sites that a way of the catalogue has in one program.

use lightfoot_symbolizer::go_abi::{self, GoType, Signature};
use lightfoot_symbolizer::site::{self, Reason};
use lightfoot_symbolizer::{Architecture, FileOffset};

use super::PlannedSite;
use crate::catalog::{Place, Way};
use crate::inspect::Program;

/// The sites of a way, or why it cannot be taken.
pub(super) fn plan(program: &Program, way: &Way) -> Result<Vec<PlannedSite>, String> {
    let function = program.functions.get(way.function).map_err(|why| why.to_string())?;
    let code = program.code.get(&function.entry).ok_or("its code is not in the file")?;
    let view = site::Code { architecture: program.architecture, entry: function.entry, bytes: &code.bytes };
    let mut kept = Vec::new();
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
        Place::AfterCallOf { callee, results, kept: wanted } => {
            let callee = program.functions.get(callee).map_err(|why| why.to_string())?;
            kept = result_places(results, wanted, program.architecture)?;
            let calls = site::calls_to(view, callee.entry).map_err(|why| why.to_string())?;
            if calls.is_empty() {
                return Err(format!("{} does not call {} directly", way.function, callee.name));
            }
            let sites = calls.iter().map(|call| site::after_call(view, call.address, &kept));
            let sites = sites.collect::<Result<Vec<_>, _>>().map_err(|why| why.to_string())?;
            if let Some(site) = sites.iter().find(|site| site.reason != Reason::AfterCall { shared: false }) {
                // Whoever else comes by has something else in these registers.
                return Err(format!("{} is also reached without the call of {}", site.address, callee.name));
            }
            sites
        }
        Place::AfterInterfaceCalls { results } => {
            let all: Vec<_> = (0..results.len()).collect();
            kept = result_places(results, &all, program.architecture)?;
            let calls = site::indirect_calls(view).map_err(|why| why.to_string())?;
            let sites: Vec<_> = calls
                .into_iter()
                .filter_map(|call| site::after_call(view, call.address, &kept).ok())
                .collect();
            if sites.is_empty() {
                return Err(format!("no call in {} leaves its results readable", way.function));
            }
            sites
        }
        Place::Returns => {
            let returns = site::returns(view).map_err(|why| why.to_string())?;
            if returns.is_empty() {
                return Err(format!("{} never returns", way.function));
            }
            returns
        }
    };
    sites
        .into_iter()
        .map(|site| {
            let from_entry = site.address.checked_offset_from(function.entry);
            let from_entry = from_entry.ok_or("a site lies before its function")?;
            let offset = code.offset.0.checked_add(from_entry).ok_or("a site lies outside the file")?;
            Ok(PlannedSite { offset: FileOffset(offset), from_entry, site, kept: kept.clone() })
        })
        .collect()
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

/// The words of the wanted results, by index.
fn result_places(
    results: &[GoType<'_>],
    wanted: &[usize],
    architecture: Architecture,
) -> Result<Vec<go_abi::Place>, String> {
    let assignment =
        Signature { parameters: &[], results }.assign(architecture).map_err(|why| why.to_string())?;
    let wanted = wanted.iter().filter_map(|index| assignment.results.get(*index));
    Ok(wanted.flat_map(|value| &value.words).map(|word| word.place).collect())
}
