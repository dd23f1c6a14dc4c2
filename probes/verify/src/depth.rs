//! How deep calls nest.

use std::collections::BTreeMap;

use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind, SymbolKind};

use crate::instruction::{Instruction, SLOT};

/// So many functions may call each other, the program among them: `MAX_CALL_FRAMES` (`include/linux/bpf_verifier.h`).
pub const MAX_FRAMES: usize = 8;

/// The section of a function, and where in it the function begins.
type Place = (usize, u64);

/// The functions of an object, and what each calls.
#[derive(Debug)]
pub struct Calls(BTreeMap<Place, (String, Vec<Place>)>);

impl Calls {
    /// Of each function, whatever calls it.
    pub fn of(object: &object::File<'_>) -> Result<Self, object::Error> {
        let mut calls = BTreeMap::new();
        for section in object.sections().filter(|section| section.kind() == SectionKind::Text) {
            let targets = targets(object, &section)?;
            let of_section = |symbol: &object::Symbol<'_, '_>| {
                symbol.kind() == SymbolKind::Text && symbol.section_index() == Some(section.index())
            };
            for symbol in object.symbols().filter(of_section) {
                let code = symbol.address()..symbol.address().saturating_add(symbol.size());
                let called = targets.range(code).map(|(_, target)| *target).collect();
                calls.insert((section.index().0, symbol.address()), (symbol.name()?.to_owned(), called));
            }
        }
        Ok(Self(calls))
    }

    /// The names on a longest chain of calls that begins with the function of this name; it has one more than [`MAX_FRAMES`] at most, so that
    /// functions that call themselves have an end, too.
    pub fn deepest(&self, function: &str) -> Vec<&str> {
        let mut known = BTreeMap::new();
        let start = self.0.iter().find(|(_, (name, _))| name == function);
        start.map(|(place, _)| self.chain(*place, MAX_FRAMES + 1, &mut known)).unwrap_or_default()
    }

    fn chain<'a>(
        &'a self,
        from: Place,
        left: usize,
        known: &mut BTreeMap<(Place, usize), Vec<&'a str>>,
    ) -> Vec<&'a str> {
        let (Some((name, called)), true) = (self.0.get(&from), left > 0) else { return Vec::new() };
        if let Some(chain) = known.get(&(from, left)) {
            return chain.clone();
        }
        let longest = called.iter().map(|&place| self.chain(place, left - 1, known)).max_by_key(Vec::len);
        let chain = [vec![name.as_str()], longest.unwrap_or_default()].concat();
        known.insert((from, left), chain.clone());
        chain
    }
}

/// What the calls of a section lead to, by where they stand.
fn targets<'a>(
    object: &object::File<'a>,
    section: &object::Section<'a, '_>,
) -> Result<BTreeMap<u64, Place>, object::Error> {
    let mut targets = BTreeMap::new();
    let code = Instruction::decode_all(section.data()?).unwrap_or_default();
    let calls = |(at, call): (u64, &Instruction)| call.called().map(|slots| (at, slots));
    for (at, slots) in (0..).step_by(SLOT).zip(&code).filter_map(calls) {
        // Counted from the next slot.
        let bytes = slots.wrapping_add(1).wrapping_mul(8);
        targets.insert(at, (section.index().0, at.wrapping_add_signed(bytes)));
    }
    for (at, relocation) in section.relocations() {
        let RelocationTarget::Symbol(index) = relocation.target() else { continue };
        let symbol = object.symbol_by_index(index)?;
        let (Some(place), Some(target)) = (symbol.section_index(), targets.get_mut(&at)) else { continue };
        // The function's own symbol, or its section's, of which the call then says where.
        let offset =
            if symbol.kind() == SymbolKind::Section { target.1.wrapping_sub(at) } else { symbol.address() };
        *target = (place.0, offset);
    }
    Ok(targets)
}
