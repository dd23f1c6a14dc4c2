//! Operations whose starting function the compiler inlined into its callers: caught at the call that is left of it.

use lightfoot_symbolizer::functions::Function;
use lightfoot_symbolizer::site::{self, Site};

use super::{PlannedSite, PointPlan, ways};
use crate::catalog::{Inlined, Role};
use crate::inspect::Program;

/// Start and end of these calls; nothing if the program has none. A call whose end cannot be caught has no start either.
pub(super) fn plan(program: &Program, inlined: &'static Inlined) -> Vec<PointPlan> {
    let function = inlined.functions.first().copied().unwrap_or_default();
    let (mut starts, mut ends, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for host in hosts(program, inlined) {
        match in_host(program, inlined, host) {
            Ok(calls) => {
                for (start, end) in calls {
                    starts.push(start);
                    ends.push(end);
                }
            }
            Err(why) => refused.push((function, format!("in {}: {why}", host.name))),
        }
    }
    if starts.is_empty() && refused.is_empty() {
        return Vec::new();
    }
    let point = |role, sites: Vec<_>, refused| PointPlan {
        role,
        chosen: (!sites.is_empty()).then_some((function, sites)),
        refused,
        absent: false,
    };
    vec![point(Role::InlinedStart, starts, refused), point(Role::InlinedEnd, ends, Vec::new())]
}

/// The functions that have one of them inlined, each once.
fn hosts<'a>(program: &'a Program, inlined: &'a Inlined) -> Vec<&'a Function> {
    let matters =
        |host: &&Function| ![inlined.functions, inlined.except].concat().contains(&host.name.as_str());
    let all = inlined.functions.iter().flat_map(|name| program.functions.inlined_into(name));
    let mut hosts: Vec<_> = all.filter(matters).collect();
    hosts.sort_by_key(|host| host.entry);
    hosts.dedup_by_key(|host| host.entry);
    hosts
}

fn in_host(
    program: &Program,
    inlined: &Inlined,
    host: &Function,
) -> Result<Vec<(PlannedSite, PlannedSite)>, String> {
    let code = program.code.get(&host.entry).ok_or("its code was not kept")?;
    let view = site::Code { architecture: program.architecture, entry: host.entry, bytes: &code.bytes };
    let kept = ways::all_results(inlined.results, program.architecture)?;
    let ranges: Vec<_> = host
        .inlined
        .iter()
        .filter(|call| inlined.functions.contains(&call.name.as_str()))
        .flat_map(|call| &call.ranges)
        .collect();
    let is_inlined = |call: &Site| ranges.iter().any(|(start, end)| (*start..*end).contains(&call.address));
    let planned = |site: Site| {
        let mut planned = PlannedSite::of(site, host.entry, code.offset, kept.clone())?;
        planned.host = Some(host.name.clone());
        Ok::<_, String>(planned)
    };
    let mut found = Vec::new();
    for callee in inlined.callees.iter().filter_map(|callee| program.functions.get(callee).ok()) {
        let calls = site::calls_to(view, callee.entry).map_err(|why| why.to_string())?;
        for call in calls.into_iter().filter(is_inlined) {
            // Emulated, or where the host returns what it got from the call.
            let end =
                site::after_call_or_at_return(view, call.address, &kept).map_err(|why| why.to_string())?;
            found.push((planned(call)?, planned(end)?));
        }
    }
    if found.is_empty() { Err("nothing is left of the call".to_owned()) } else { Ok(found) }
}
