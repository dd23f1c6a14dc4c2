//! Operations whose start the compiler inlined somewhere: caught one function further in.

use lightfoot_symbolizer::Architecture;

use super::{PointPlan, plan_point};
use crate::catalog::{Inner, Operation, Role};
use crate::inspect::Program;

/// Adds what catches the operations that do not pass the function which marks their start, if the program has such.
///
/// Where the kernel emulates returns, the inner function catches all of them, in two traps each. Elsewhere its entry is
/// a second start, and its returns are one more end that stands in until the callers are known.
pub(super) fn add(program: &Program, operation: &Operation, points: &mut Vec<PointPlan>) {
    let Some(inner) = operation.inner.filter(|inner| is_needed(program, inner)) else { return };
    if program.architecture == Architecture::Aarch64 {
        let start = plan_point(program, Role::Start, inner.starts);
        let end = plan_point(program, Role::End, inner.ends);
        if start.chosen.is_some() && end.chosen.is_some() {
            points.retain(|point| !matches!(point.role, Role::Start | Role::End | Role::StandIn));
            points.splice(0..0, [start, end]);
        }
    } else {
        points.push(plan_point(program, Role::StartInner, inner.starts));
        points.push(plan_point(program, Role::StandIn, inner.ends));
    }
}

fn is_needed(program: &Program, inner: &Inner) -> bool {
    let matters = |host: &str| !inner.within.contains(&host) && !inner.except.contains(&host);
    let mut hosts = inner.within.iter().flat_map(|name| program.functions.inlined_into(name));
    hosts.any(|host| matters(&host.name))
}
