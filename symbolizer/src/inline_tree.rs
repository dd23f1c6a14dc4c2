//! Where the compiler inlined a function: the inline trees that tracebacks use (runtime/symtabinl.go).
//!
//! A function's symbol is no proof that it runs: a profile-guided build may inline it into the one caller that
//! matters and keep the symbol for another. Each function has a tree of the calls inlined into it, and a table that
//! maps its program counters to the tree's leaves.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use rustc_hash::FxHashMap;

use crate::address::VirtualAddress;
use crate::architecture::Architecture;
use crate::functions::{FunctionError, NameOffsets, Table};
use crate::image::Image;
use crate::moduledata::ModuleData;
use crate::source::Source;

/// internal/abi/symtab.go: `PCDATA_InlTreeIndex` and `FUNCDATA_InlTree`.
const PCDATA_INLINE_INDEX: u32 = 2;
const FUNCDATA_INLINE_TREE: u32 = 3;
/// The fixed part of `runtime._func`, before the pcdata and funcdata offsets.
const RECORD: u64 = 44;
/// Where `runtime._func` counts its pcdata (32 bits) and funcdata (8 bits).
const PCDATA_COUNT: u64 = 28;
const FUNCDATA_COUNT: u64 = 43;
const NO_FUNCDATA: u32 = u32::MAX;
/// The size of `runtime.inlinedCall`, and where its name offset and parent counter stand.
const CALL: u64 = 16;
const CALL_NAME: u64 = 4;
const CALL_PARENT: u64 = 8;
/// At most so many bytes of one function's table; the longest seen has 20 KiB.
const MAX_TABLE: u64 = 1 << 20;
/// At most so many functions are said to have a wanted one inlined.
pub const MAX_HOSTS: usize = 4096;
/// At most so many places are taken for calls of wanted functions.
const MAX_CALLS: usize = 16 * MAX_HOSTS;
/// At most so many runs of tables and parents of calls are followed for a program. Kubernetes' API server takes a hundred thousand; so
/// many take seconds.
const MAX_STEPS: u64 = 16 << 20;
/// Calls inlined into each other deeper than this are taken for a malformed tree.
const MAX_DEPTH: usize = 256;

/// A call of a wanted function whose body stands in its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlinedCall {
    /// The function that was inlined.
    pub name: String,
    /// Where its instructions stand, as half-open ranges in ascending order; what it inlined itself is included.
    pub ranges: Vec<(VirtualAddress, VirtualAddress)>,
}

/// The offset of a function's inline tree from the start of funcdata.
pub(crate) fn offset<S: Source>(
    image: &Image<S>,
    record: VirtualAddress,
) -> Result<Option<u32>, FunctionError> {
    let pcdata = image.word32(record.past(PCDATA_COUNT))?;
    let [count] = image.array(record.past(FUNCDATA_COUNT))?;
    if u32::from(count) <= FUNCDATA_INLINE_TREE {
        return Ok(None);
    }
    let at = RECORD + 4 * u64::from(pcdata) + 4 * u64::from(FUNCDATA_INLINE_TREE);
    let offset = image.word32(record.past(at))?;
    Ok((offset != NO_FUNCDATA).then_some(offset))
}

/// The functions, by index, that have wanted ones inlined. `trees` is (offset of the tree, index of the function).
pub(crate) fn find<S: Source>(
    table: &Table<'_, S>,
    names: &NameOffsets<'_>,
    mut trees: Vec<(u32, u32)>,
) -> Result<Vec<(u32, Vec<InlinedCall>)>, FunctionError> {
    let Table { image, module } = table;
    trees.sort_unstable();
    let mut hosts: BTreeMap<u32, (u32, Vec<_>)> = BTreeMap::new();
    let mut left = MAX_CALLS;
    for (offset, name) in mentions(image, module, names, &trees)? {
        // The tree that the mention may belong to is the last that starts before it; equal trees are shared.
        let Some(start) = offset.checked_sub(CALL_NAME) else { continue };
        let end = trees.partition_point(|(tree, _)| u64::from(*tree) <= start);
        let Some(&(tree, _)) = end.checked_sub(1).and_then(|last| trees.get(last)) else { continue };
        let Some(index) = start.checked_sub(u64::from(tree)).filter(|distance| distance % CALL == 0) else {
            continue;
        };
        let first = trees.partition_point(|(other, _)| *other < tree);
        let sharing = trees.get(first..end).unwrap_or_default();
        left = left
            .checked_sub(sharing.len())
            .ok_or(FunctionError::Malformed("inline trees have more than 65536 calls that matter"))?;
        for &(_, function) in sharing {
            hosts.entry(function).or_insert_with(|| (tree, Vec::new())).1.push((index / CALL, name));
        }
    }
    let mut found = Vec::new();
    let mut steps = Steps(MAX_STEPS);
    for (function, (tree, calls)) in hosts {
        let runs = Runs::read(table, function, &mut steps)?;
        let mut inlined = Vec::new();
        for (call, name) in calls {
            let ranges = runs.ranges_within(table, tree, call, &mut steps)?;
            // Funcdata that only looks like a tree has no program counters, and a call optimised away has none left.
            if !ranges.is_empty() {
                inlined.push(InlinedCall { name: name.to_owned(), ranges });
            }
        }
        if !inlined.is_empty() {
            found.push((function, inlined));
        }
        if found.len() > MAX_HOSTS {
            return Err(FunctionError::Malformed("a function is inlined into more than 4096 others"));
        }
    }
    Ok(found)
}

/// Where in funcdata a wanted name's offset stands, aligned as in an inline tree.
fn mentions<'a, S: Source>(
    image: &Image<S>,
    module: &ModuleData,
    names: &NameOffsets<'a>,
    trees: &[(u32, u32)],
) -> Result<Vec<(u64, &'a str)>, FunctionError> {
    let (Some((first, _)), Some((last, _))) = (trees.first(), trees.last()) else { return Ok(Vec::new()) };
    let start = module.funcdata.past(u64::from(*first));
    // The last tree has no end that is known; a page is more than any tree is long, and the segment may end before.
    let length = u64::from(last - first) + 4096;
    let length = image
        .segments
        .iter()
        .filter(|segment| segment.address <= start)
        .filter_map(|segment| segment.end().checked_offset_from(start))
        .max()
        .unwrap_or(0)
        .min(length);
    // A bit for the low half of each wanted offset: most words of funcdata are ruled out without a hash.
    let mut low = vec![false; 1 << 16];
    for &name in names.keys() {
        if let Some(bit) = low.get_mut((name & 0xffff) as usize) {
            *bit = true;
        }
    }
    let mut found = Vec::new();
    let skew = u64::from(*first);
    image.scan(start, length, 0, |at, bytes| {
        let base = at.0.saturating_sub(start.0) + skew;
        for (index, word) in bytes.as_chunks::<4>().0.iter().enumerate() {
            let word = u32::from_le_bytes(*word);
            if low.get((word & 0xffff) as usize).copied().unwrap_or(false)
                && let Some(name) = names.get(&word)
            {
                found.push((base + 4 * index as u64, *name));
            }
        }
        if found.len() > MAX_CALLS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found)
}

/// What is left of [`MAX_STEPS`].
struct Steps(u64);

impl Steps {
    fn take(&mut self) -> Result<(), FunctionError> {
        let left = self.0.checked_sub(1);
        self.0 = left.ok_or(FunctionError::Malformed("inline trees take more than 16777216 steps"))?;
        Ok(())
    }
}

/// A function's program counters and the tree leaf in effect at each, in runs.
struct Runs {
    runs: Vec<(VirtualAddress, VirtualAddress, i64)>,
    entry: VirtualAddress,
}

impl Runs {
    fn read<S: Source>(
        table: &Table<'_, S>,
        function: u32,
        steps: &mut Steps,
    ) -> Result<Self, FunctionError> {
        let Table { image, module } = table;
        let (entry, record) = table.entry(u64::from(function))?;
        let pcdata = image.word32(record.past(PCDATA_COUNT))?;
        if pcdata <= PCDATA_INLINE_INDEX {
            return Ok(Self { runs: Vec::new(), entry });
        }
        let offset = image.word32(record.past(RECORD + 4 * u64::from(PCDATA_INLINE_INDEX)))?;
        let left = module.pc_values.length.saturating_sub(u64::from(offset)).min(MAX_TABLE);
        let at = module.pc_values.address.past(u64::from(offset));
        let mut bytes = Bytes { image, at, left };
        let quantum = match image.architecture {
            Architecture::X86_64 => 1,
            Architecture::Aarch64 => 4,
        };
        let mut runs = Vec::new();
        if offset == 0 {
            return Ok(Self { runs, entry });
        }
        let (mut pc, mut value) = (entry, -1_i64);
        // runtime/symtab.go, step(): zigzag deltas of the value and deltas of the counter; a zero ends the table.
        loop {
            let delta = bytes.varint()?;
            if delta == 0 && !runs.is_empty() {
                return Ok(Self { runs, entry });
            }
            value += i64::from((delta >> 1).cast_signed() ^ -(delta & 1).cast_signed());
            let length = u64::from(bytes.varint()?) * quantum;
            let end = pc.past(length);
            steps.take()?;
            runs.push((pc, end, value));
            pc = end;
        }
    }

    fn index_at(&self, pc: VirtualAddress) -> Option<i64> {
        let after = self.runs.partition_point(|(start, _, _)| *start <= pc);
        let (_, end, value) = self.runs.get(after.checked_sub(1)?)?;
        (pc < *end).then_some(*value)
    }

    /// Where the call with tree index `wanted`, or a call inlined into it, is in effect.
    fn ranges_within<S: Source>(
        &self,
        table: &Table<'_, S>,
        tree: u32,
        wanted: u64,
        steps: &mut Steps,
    ) -> Result<Vec<(VirtualAddress, VirtualAddress)>, FunctionError> {
        let Table { image, module } = table;
        let wanted = wanted.cast_signed();
        let mut within: FxHashMap<i64, bool> = FxHashMap::default();
        let mut ranges: Vec<(VirtualAddress, VirtualAddress)> = Vec::new();
        for &(start, end, leaf) in &self.runs {
            steps.take()?;
            let inside = if let Some(known) = within.get(&leaf) {
                *known
            } else {
                let mut index = Some(leaf);
                let mut depth = 0;
                while let Some(at) = index.filter(|at| *at >= 0 && *at != wanted) {
                    let call = module.funcdata.past(u64::from(tree) + CALL * at.cast_unsigned());
                    let parent = image.word32(call.past(CALL_PARENT))?;
                    index = self.index_at(self.entry.past(u64::from(parent)));
                    steps.take()?;
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return Err(FunctionError::Malformed("an inline tree is a cycle"));
                    }
                }
                within.insert(leaf, index == Some(wanted));
                index == Some(wanted)
            };
            match ranges.last_mut() {
                _ if !inside => {}
                Some((_, last)) if *last == start => *last = end,
                _ => ranges.push((start, end)),
            }
        }
        Ok(ranges)
    }
}

/// A cursor over varints.
struct Bytes<'a, S> {
    image: &'a Image<S>,
    at: VirtualAddress,
    left: u64,
}

impl<S: Source> Bytes<'_, S> {
    fn varint(&mut self) -> Result<u32, FunctionError> {
        let mut value = 0_u32;
        for shift in (0..u32::BITS).step_by(7) {
            self.left = self.left.checked_sub(1).ok_or(FunctionError::Malformed("a table has no end"))?;
            let [byte] = self.image.array(self.at)?;
            self.at = self.at.past(1);
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(FunctionError::Malformed("a number in a table has no end"))
    }
}

#[cfg(test)]
mod tests;
