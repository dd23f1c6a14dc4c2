//! Functions by name, from Go's function table; it is there in stripped programs too, for tracebacks need it.

use std::ops::ControlFlow;

use rustc_hash::{FxHashMap, FxHashSet};
use thiserror::Error;

use crate::address::VirtualAddress;
use crate::image::{Image, ImageError};
use crate::inline_tree::{self, InlinedCall};
use crate::moduledata::{ModuleData, Region};
use crate::source::Source;

/// Names that are as long are not looked for, and longer ones not shown whole.
pub const MAX_NAME: usize = 4096;
/// The longest function whose code is read: 4 MiB. The longest of kube-apiserver has 200 KiB.
pub const MAX_CODE: u64 = 4 << 20;

const TABLE_ENTRY: u64 = 8;
/// Where `runtime._func` holds the offset of the name.
const NAME: u64 = 4;

/// Why functions could not be looked up.
#[derive(Debug, Error)]
pub enum FunctionError {
    /// The function table points outside of itself.
    #[error("malformed function table: {0}")]
    Malformed(&'static str),
    /// The program has no function of that name: never linked in, or inlined everywhere.
    #[error("{0} is not in the program")]
    Absent(String),
    /// More than one function has that name.
    #[error("{count} functions are named {name}")]
    Ambiguous {
        /// The name.
        name: String,
        /// How many functions bear it.
        count: usize,
    },
    /// No function's code lies there.
    #[error("no function lies at {0}")]
    NoFunctionAt(VirtualAddress),
    /// The bytes could not be read.
    #[error("reading the function table")]
    Image(#[from] ImageError),
}

/// A function of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// The linker's name for it, such as `net/http.(*response).finishRequest`.
    pub name: String,
    /// Its first instruction.
    pub entry: VirtualAddress,
    /// Where the next function starts; padding may stand before.
    pub end: VirtualAddress,
    /// The calls of wanted functions that the compiler inlined here, if this function was a wanted one or has any.
    pub inlined: Vec<InlinedCall>,
}

impl Function {
    /// The size of its code in bytes, padding included.
    pub fn size(&self) -> u64 {
        self.end.0.saturating_sub(self.entry.0)
    }

    /// Reads its code.
    pub fn code<S: Source>(&self, image: &Image<S>) -> Result<Vec<u8>, FunctionError> {
        if self.size() > MAX_CODE {
            return Err(FunctionError::Malformed("a function is longer than 4 MiB"));
        }
        Ok(image.bytes(self.entry, self.size(), "a function")?)
    }
}

/// The wanted functions that are there, and the functions into which wanted ones were inlined.
#[derive(Debug, Default)]
pub struct Functions {
    by_name: FxHashMap<String, Vec<Function>>,
    hosts: Vec<Function>,
}

impl Functions {
    /// Looks up `wanted` names; time and memory do not depend on how many there are.
    pub fn find<S: Source>(
        image: &Image<S>,
        module: &ModuleData,
        wanted: &[&str],
    ) -> Result<Self, FunctionError> {
        let names = name_offsets(image, module.function_names, wanted)?;
        let table = Table { image, module };
        let mut found = Self::default();
        let mut trees = Vec::new();
        for index in 0..module.function_count {
            let (entry, record) = table.entry(index)?;
            if let Some(&name) = names.get(&image.word32(record.past(NAME))?) {
                let (end, _) = table.entry(index + 1)?;
                let function = Function { name: name.to_owned(), entry, end, inlined: Vec::new() };
                found.by_name.entry(name.to_owned()).or_default().push(function);
            }
            if let Some(tree) = inline_tree::offset(image, record)? {
                trees.push((tree, u32::try_from(index).unwrap_or(u32::MAX)));
            }
        }
        for (index, inlined) in inline_tree::find(&table, &names, trees)? {
            let (entry, record) = table.entry(u64::from(index))?;
            let (end, _) = table.entry(u64::from(index) + 1)?;
            let name = read_name(image, module.function_names, image.word32(record.past(NAME))?)?;
            for function in found.by_name.get_mut(&name).into_iter().flatten() {
                if function.entry == entry {
                    function.inlined.clone_from(&inlined);
                }
            }
            found.hosts.push(Function { name, entry, end, inlined });
        }
        Ok(found)
    }

    /// The function whose code `address` lies in.
    pub fn at<S: Source>(
        image: &Image<S>,
        module: &ModuleData,
        address: VirtualAddress,
    ) -> Result<Function, FunctionError> {
        let table = Table { image, module };
        let (mut low, mut high) = (0, module.function_count);
        // The last function that does not start behind the address. Entries ascend; where they do not, the check below fails.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if table.entry(middle)?.0 <= address { low = middle } else { high = middle }
        }
        let (entry, record) = table.entry(low)?;
        let (end, _) = table.entry(low + 1)?;
        if !(entry..end).contains(&address) {
            return Err(FunctionError::NoFunctionAt(address));
        }
        let name = read_name(image, module.function_names, image.word32(record.past(NAME))?)?;
        Ok(Function { name, entry, end, inlined: Vec::new() })
    }

    /// The one function of that name.
    pub fn get(&self, name: &str) -> Result<&Function, FunctionError> {
        match self.by_name.get(name).map(Vec::as_slice) {
            None | Some([]) => Err(FunctionError::Absent(name.to_owned())),
            Some([function]) => Ok(function),
            Some(several) => Err(FunctionError::Ambiguous { name: name.to_owned(), count: several.len() }),
        }
    }

    /// The functions that have `name` inlined, each with all the wanted calls inlined there.
    pub fn inlined_into<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Function> {
        self.hosts.iter().filter(move |host| host.inlined.iter().any(|call| call.name == name))
    }

    /// Every wanted function found.
    pub fn iter(&self) -> impl Iterator<Item = &Function> {
        self.by_name.values().flatten()
    }
}

/// The table that pairs entries with records.
pub(crate) struct Table<'a, S> {
    pub(crate) image: &'a Image<S>,
    pub(crate) module: &'a ModuleData,
}

impl<S: Source> Table<'_, S> {
    /// Entry address and record address of one function; the one after the last gives the end of the code.
    pub(crate) fn entry(&self, index: u64) -> Result<(VirtualAddress, VirtualAddress), FunctionError> {
        let ModuleData { function_table, text, function_records, .. } = self.module;
        let at = function_table.past(index.saturating_mul(TABLE_ENTRY));
        let (entry, record) = (self.image.word32(at)?, self.image.word32(at.past(4))?);
        if u64::from(entry) > text.length {
            return Err(FunctionError::Malformed("a function lies past the end of the code"));
        }
        Ok((text.address.past(u64::from(entry)), function_records.address.past(u64::from(record))))
    }
}

/// Offsets in the name table, and the wanted name that stands there.
pub(crate) type NameOffsets<'a> = FxHashMap<u32, &'a str>;

fn name_offsets<'a, S: Source>(
    image: &Image<S>,
    names: Region,
    wanted: &[&'a str],
) -> Result<NameOffsets<'a>, FunctionError> {
    let set: FxHashSet<&'a str> = wanted.iter().copied().filter(|name| name.len() < MAX_NAME).collect();
    // Most names of a program differ from all wanted ones in length and first byte; those cost no hash.
    let mut shapes = vec![false; MAX_NAME * 256];
    let shape = |name: &[u8]| name.len() * 256 + usize::from(name.first().copied().unwrap_or_default());
    for name in &set {
        if let Some(entry) = shapes.get_mut(shape(name.as_bytes())) {
            *entry = true;
        }
    }
    let mut found = NameOffsets::default();
    image.scan(names.address, names.length, MAX_NAME, |at, bytes| {
        let base = at.0.saturating_sub(names.address.0);
        // A later window starts in the midst of a name, which the window before saw whole.
        let mut start =
            if base == 0 { 0 } else { memchr::memchr(0, bytes).map_or(bytes.len(), |end| end + 1) };
        for end in memchr::memchr_iter(0, bytes) {
            let Some(name) = bytes.get(start..end) else { continue };
            if shapes.get(shape(name)).copied().unwrap_or(false)
                && let Ok(name) = std::str::from_utf8(name)
                && let Some(name) = set.get(name)
                && let Ok(offset) = u32::try_from(base + start as u64)
            {
                found.insert(offset, name);
            }
            start = end + 1;
        }
        ControlFlow::<()>::Continue(())
    })?;
    Ok(found)
}

fn read_name<S: Source>(image: &Image<S>, names: Region, offset: u32) -> Result<String, FunctionError> {
    let left = names.length.saturating_sub(u64::from(offset));
    let read = left.min(MAX_NAME as u64);
    let bytes = image.bytes(names.address.past(u64::from(offset)), read, "a function name")?;
    let end = match memchr::memchr(0, &bytes) {
        None if read == left => return Err(FunctionError::Malformed("a name has no end")),
        end => end.unwrap_or(bytes.len()),
    };
    Ok(String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned())
}

#[cfg(test)]
mod tests;
