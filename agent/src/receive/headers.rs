//! The values of the headers that rules ask for.

use bumpalo::Bump;
use bumpalo::collections::Vec as ArenaVec;
use lightfoot_probes_abi::user::Texts;

use super::text;
use crate::record::RequestHeader;

/// By name: the program's map has no order.
pub(super) fn headers<'a>(texts: &Texts<'a>, arena: &'a Bump) -> &'a [RequestHeader<'a>] {
    let mut headers = ArenaVec::new_in(arena);
    let mut values = texts.headers().peekable();
    while let Some(first) = values.next() {
        let mut of_one = ArenaVec::from_iter_in([text(first.value, arena)], arena);
        let mut is_cut = first.is_cut;
        while let Some(further) = values.next_if(|further| further.name.is_empty()) {
            of_one.push(text(further.value, arena));
            is_cut = further.is_cut;
        }
        let name = arena.alloc_str(text(first.name, arena));
        name.make_ascii_lowercase();
        headers.push(RequestHeader {
            name,
            values: of_one.into_bump_slice(),
            is_shown: first.is_shown,
            is_cut,
        });
    }
    headers.sort_unstable_by_key(|header: &RequestHeader<'_>| header.name);
    // Go's map has each once; whatever else a recording says, no key is there twice.
    headers.dedup_by_key(|header| header.name);
    headers.into_bump_slice()
}
