//! What Go's own tools print about a binary.

use crate::go::toolchain::run;
use crate::go::{GoToolchain, ToolchainError};
use std::collections::BTreeMap;
use std::path::Path;

/// A symbol as `go tool nm` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its virtual address.
    pub address: u64,
    /// In bytes.
    pub size: u64,
    /// `T` and `t` text, `R` and `r` read-only data, `D`, `d`, `B`, `b` data.
    pub kind: char,
}

/// An instruction as `go tool objdump` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Its virtual address.
    pub address: u64,
    /// In bytes.
    pub size: u64,
    /// In Go's assembler syntax; `?` where the tool cannot decode.
    pub text: String,
}

/// The defined symbols of a binary with a symbol table, by name. Of several with one name, the last.
pub fn symbols(toolchain: &GoToolchain, file: &Path) -> Result<BTreeMap<String, Symbol>, ToolchainError> {
    let printed = run(toolchain.command().args(["tool", "nm", "-size", "-type"]).arg(file))?;
    Ok(parse_symbols(&printed))
}

/// The instructions of the functions whose names match Go regular expression `functions`, by function.
pub fn instructions(
    toolchain: &GoToolchain,
    file: &Path,
    functions: &str,
) -> Result<BTreeMap<String, Vec<Instruction>>, ToolchainError> {
    let printed = run(toolchain.command().args(["tool", "objdump", "-s", functions]).arg(file))?;
    Ok(parse_instructions(&printed))
}

/// What `go version -m` prints: one line with the Go version, then lines of tab-separated words (`path`, `mod`, `dep`,
/// `build` and what follows).
pub fn build_info(toolchain: &GoToolchain, file: &Path) -> Result<Vec<Vec<String>>, ToolchainError> {
    let printed = run(toolchain.command().args(["version", "-m"]).arg(file))?;
    let file = format!("{}: ", file.display());
    Ok(printed
        .lines()
        .map(|line| line.strip_prefix(&file).unwrap_or(line).trim().split('\t').map(str::to_owned).collect())
        .collect())
}

fn parse_symbols(printed: &str) -> BTreeMap<String, Symbol> {
    let parse = |line: &str| {
        // Names may hold spaces. Undefined symbols have no address, so their first word is no number.
        let (address, rest) = line.trim_start().split_once(' ')?;
        let (size, rest) = rest.trim_start().split_once(' ')?;
        let (kind, name) = rest.trim_start().split_once(' ')?;
        let symbol = Symbol {
            address: u64::from_str_radix(address, 16).ok()?,
            size: size.parse().ok()?,
            kind: kind.chars().next()?,
        };
        Some((name.trim_start().to_owned(), symbol))
    };
    printed.lines().filter_map(parse).collect()
}

fn parse_instructions(printed: &str) -> BTreeMap<String, Vec<Instruction>> {
    let mut functions = BTreeMap::new();
    let mut current: Option<&mut Vec<Instruction>> = None;
    for line in printed.lines() {
        if let Some(header) = line.strip_prefix("TEXT ") {
            let name = header.rsplit_once("(SB)").map_or(header, |(name, _)| name);
            current = Some(functions.entry(name.to_owned()).or_default());
        } else if let (Some(instructions), Some(instruction)) = (&mut current, parse_instruction(line)) {
            instructions.push(instruction);
        }
    }
    functions
}

/// `  server.go:1887<tab>0x6a4f20<tab><tab>4c8d6424<tab><tab>LEAQ 0x8(SP), R12<tab>`.
fn parse_instruction(line: &str) -> Option<Instruction> {
    let mut words = line.split('\t').map(str::trim).filter(|word| !word.is_empty()).skip(1);
    let address = words.next()?.strip_prefix("0x")?;
    let bytes = words.next()?;
    Some(Instruction {
        address: u64::from_str_radix(address, 16).ok()?,
        size: (bytes.len() / 2) as u64,
        text: words.next()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_may_hold_spaces_and_be_undefined() {
        let printed = "  4aa200        112 T main.main\n  4b0000          8 R type:.eq.struct { A int; B int }\n                 U free\n";
        let symbols = parse_symbols(printed);
        assert_eq!(symbols["main.main"], Symbol { address: 0x4a_a200, size: 112, kind: 'T' });
        assert_eq!(symbols["type:.eq.struct { A int; B int }"].size, 8);
        assert_eq!(symbols.len(), 2);
    }
}
