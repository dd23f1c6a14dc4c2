//! The sites that a way of the catalogue has in one program.

use lightfoot_symbolizer::Architecture;
use lightfoot_symbolizer::go_abi::{self, GoType, Signature};
use lightfoot_symbolizer::site::{self, IndirectCall, Reason, Site};

use super::PlannedSite;
use crate::catalog::{Place, Way};
use crate::inspect::Program;

/// The sites of a way, or why it cannot be taken.
pub(super) fn plan(program: &Program, way: &Way) -> Result<Vec<PlannedSite>, String> {
    let function = program.functions.get(way.function).map_err(|why| why.to_string())?;
    if let Place::Nowhere { unless } = way.place {
        let other = unless.filter(|(other, _)| program.functions.get(other).is_ok());
        return other.map_or(Ok(Vec::new()), |(_, why)| Err(why.to_owned()));
    }
    let code = program.code.get(&function.entry).ok_or("its code is not in the file")?;
    let view = site::Code { architecture: program.architecture, entry: function.entry, bytes: &code.bytes };
    let mut kept = Vec::new();
    let sites = match way.place.itself() {
        Place::Entry { signature, needs, called_from } => {
            if let Some(caller) = called_from {
                prove_called(program, way.function, caller)?;
            }
            let places = places_of(signature, needs, program.architecture)?;
            vec![site::entry(view, &places).map_err(|why| why.to_string())?]
        }
        Place::CallOf(callee) => vec![the_call(program, way, view, callee)?],
        Place::CallsOf(callee) => calls_of(program, way, view, callee)?,
        Place::CallBehind { first, callee } => {
            let first = the_call(program, way, view, first)?;
            let calls = calls_of(program, way, view, callee)?;
            let behind = calls.into_iter().filter(|call| call.address > first.address);
            let next = behind.min_by_key(|call| call.address);
            vec![next.ok_or_else(|| format!("{callee} is not called behind {}", first.address))?]
        }
        Place::CallWith { callee, parameters, argument } => {
            kept = places_of(&Signature { parameters, results: &[] }, &[*argument], program.architecture)?;
            vec![the_call(program, way, view, callee)?]
        }
        Place::CallOnStack { callee, parameters, argument } => {
            let signature = Signature { parameters, results: &[] };
            let places = places_of(&signature, &[*argument], program.architecture)?;
            if !places.iter().all(|place| matches!(place, go_abi::Place::Stack(_))) {
                return Err(format!("{callee} takes its headers in registers, where nothing can be written"));
            }
            vec![the_call(program, way, view, callee)?]
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
        Place::AfterInterfaceCalls { itab_offset, parameters, results } => {
            kept = all_results(results, program.architecture)?;
            let arguments = argument_registers(parameters, program.architecture)?;
            let calls = site::indirect_calls(view).map_err(|why| why.to_string())?;
            let is_of_method = |call: &IndirectCall| {
                call.itab_offset == Some(*itab_offset) && call.arguments & arguments == arguments
            };
            let sites: Vec<_> = calls
                .into_iter()
                .filter(is_of_method)
                .filter_map(|call| site::after_call(view, call.address, &kept).ok())
                .collect();
            if sites.is_empty() {
                return Err(format!("no call in {} leaves its results readable", way.function));
            }
            sites
        }
        Place::WithReceiver(_) | Place::WithArgument { .. } => {
            return Err("a place is nested too deeply".to_owned());
        }
        Place::Nowhere { .. } => Vec::new(),
        Place::Returns | Place::EmulatedReturns => {
            let returns = site::returns(view).map_err(|why| why.to_string())?;
            if returns.is_empty() {
                return Err(format!("{} never returns", way.function));
            }
            returns
        }
    };
    let is_kept = |site: &Site| site::keeps_receiver(view, site.address);
    if matches!(way.place, Place::WithReceiver(_) | Place::WithArgument { .. }) && !sites.iter().all(is_kept)
    {
        return Err(format!("{} does not keep its receiver on the stack", way.function));
    }
    // What is counted there must be counted once.
    let twice = sites.iter().find(|site| site.may_run_twice);
    if let (Some(site), Place::WithReceiver(_)) = (twice, &way.place) {
        return Err(format!("{} may run twice", site.address));
    }
    if let Place::WithArgument { register, home, .. } = way.place {
        let register = go_abi::Place::IntegerRegister(register);
        let is_kept = |site: &Site| site::keeps_argument(view, site.address, register, home);
        if !sites.iter().all(is_kept) {
            return Err(format!("{} does not keep its argument on the stack", way.function));
        }
    }
    let planned = |site| PlannedSite::of(site, function.entry, code.offset, kept.clone());
    sites.into_iter().map(planned).collect()
}

/// The direct calls of a function, of which there must be one.
fn calls_of(program: &Program, way: &Way, view: site::Code<'_>, callee: &str) -> Result<Vec<Site>, String> {
    let callee = program.functions.get(callee).map_err(|why| why.to_string())?;
    let calls = site::calls_to(view, callee.entry).map_err(|why| why.to_string())?;
    if calls.is_empty() {
        return Err(format!("{} does not call {} directly", way.function, callee.name));
    }
    Ok(calls)
}

/// The one direct call of a function.
fn the_call(program: &Program, way: &Way, view: site::Code<'_>, callee: &str) -> Result<Site, String> {
    let callee = program.functions.get(callee).map_err(|why| why.to_string())?;
    let calls = site::calls_to(view, callee.entry).map_err(|why| why.to_string())?;
    let count = calls.len();
    match <[Site; 1]>::try_from(calls) {
        Ok([call]) => Ok(call),
        Err(_) => Err(format!("{} calls {} {count} times, not once", way.function, callee.name)),
    }
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

/// The words of all results.
pub(super) fn all_results(
    results: &[GoType<'_>],
    architecture: Architecture,
) -> Result<Vec<go_abi::Place>, String> {
    let all: Vec<_> = (0..results.len()).collect();
    result_places(results, &all, architecture)
}

/// The integer registers of the parameters, by index from the lowest bit.
fn argument_registers(parameters: &[GoType<'_>], architecture: Architecture) -> Result<u16, String> {
    let assignment = Signature { parameters, results: &[] }.assign(architecture);
    let parameters = assignment.map_err(|why| why.to_string())?.parameters;
    let places = parameters.iter().flat_map(|value| &value.words).map(|word| word.place);
    Ok(places.fold(0, |all, place| match place {
        go_abi::Place::IntegerRegister(index) => all | 1_u16.checked_shl(index.into()).unwrap_or(0),
        _ => all,
    }))
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
