//! Where routers keep the patterns that they have matched.

use lightfoot_probes_abi::layout::Router;
use lightfoot_symbolizer::types::Kind;

use super::Struct;
use crate::catalog::routers;
use crate::inspect::Program;

/// All routers of the catalogue, in its order.
pub(super) fn routers(program: &Program) -> [Router; routers::ROUTERS.len()] {
    routers::ROUTERS.map(|router| known(program, &router).unwrap_or(Router::UNKNOWN))
}

/// The way to a router's pattern; `None` if a field of it is not there or is not what it must be.
fn known(program: &Program, router: &routers::Router) -> Option<Router> {
    let (last, outer) = router.fields.split_last()?;
    let mut at = 0_u64;
    for (structure, field) in outer {
        at = at.checked_add(offset(program, structure, field, Kind::Struct)?)?;
    }
    let last_kind = if router.behind.is_some() { Kind::Pointer } else { router.kind };
    at = at.checked_add(offset(program, last.0, last.1, last_kind)?)?;
    let behind = match router.behind {
        Some((structure, field)) => Some(offset(program, structure, field, router.kind)?),
        None => None,
    };
    let in_pieces = u64::from(router.kind == Kind::Slice);
    Some(Router { at, behind: behind.unwrap_or(Router::UNKNOWN.behind), in_pieces })
}

fn offset(program: &Program, structure: &str, field: &str, kind: Kind) -> Option<u64> {
    let found = Struct::of(program, structure).field(field)?;
    (found.kind == kind).then_some(found.offset)
}
