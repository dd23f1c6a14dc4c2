//! The functions of a program, and what `go tool objdump` says about them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

use crate::go::Go;

/// A function as the symbol table has it, up to the next one.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) address: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The disassembly, by address.
pub(crate) struct Listing {
    lines: Vec<(u64, String)>,
}

impl Listing {
    pub(crate) fn new(go: &Go, program: &Path) -> Self {
        let mut command = Command::new(&go.command);
        command.args(["tool", "objdump"]).arg(program).env("GOTOOLCHAIN", "local");
        let mut objdump = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = Vec::new();
        for line in BufReader::new(objdump.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let mut fields = line.split('\t').filter(|field| !field.is_empty());
            let (Some(_), Some(address), Some(_), Some(text)) =
                (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let address = u64::from_str_radix(address.trim_start_matches("0x"), 16).unwrap();
            lines.push((address, text.trim().to_owned()));
        }
        assert!(objdump.wait().unwrap().success());
        lines.sort();
        Self { lines }
    }

    /// The instructions that begin in the range.
    pub(crate) fn of(&self, function: std::ops::Range<u64>) -> &[(u64, String)] {
        let first = self.lines.partition_point(|line| line.0 < function.start);
        let behind = self.lines.partition_point(|line| line.0 < function.end);
        &self.lines[first..behind]
    }
}

/// All functions of the section `.text`, by address.
pub(crate) fn functions(file: &object::File<'_>) -> Vec<Function> {
    let text = file.section_by_name(".text").unwrap();
    let (start, data) = (text.address(), text.data().unwrap());
    let end = start + data.len() as u64;
    let mut symbols: Vec<_> = file
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && (start..end).contains(&symbol.address()))
        .map(|symbol| (symbol.address(), symbol.name().unwrap().to_owned()))
        .collect();
    symbols.sort();
    symbols.dedup_by_key(|symbol| symbol.0);
    let ends: Vec<u64> = symbols.iter().skip(1).map(|symbol| symbol.0).chain([end]).collect();
    let slice = |from: u64, to: u64| {
        data[usize::try_from(from - start).unwrap()..usize::try_from(to - start).unwrap()].to_vec()
    };
    symbols
        .into_iter()
        .zip(ends)
        // The linker's own marks are no functions.
        .filter(|((address, name), end)| end > address && name != "runtime.text" && name != "runtime.etext")
        .map(|((address, name), end)| Function { name, address, bytes: slice(address, end) })
        .collect()
}
