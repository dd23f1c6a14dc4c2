//! Runs the straight-line code of `results.go` as `go tool objdump` prints it: constants, moves and stores.

use std::collections::HashMap;

/// Registers by Go's names, and the bytes above the stack pointer.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    pub(crate) registers: HashMap<String, u64>,
    pub(crate) stack: HashMap<u64, u8>,
}

impl Machine {
    pub(crate) fn run<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut machine = Self::default();
        machine.registers.insert("ZR".to_owned(), 0);
        for line in lines {
            let (mnemonic, operands) = line.split_once(' ').unwrap_or((line, ""));
            if mnemonic == "RET" {
                return machine;
            }
            machine.step(mnemonic, operands);
        }
        panic!("the code has no RET");
    }

    fn step(&mut self, mnemonic: &str, operands: &str) {
        if mnemonic == "STP" {
            let (pair, to) = operands.split_once("), ").unwrap();
            let (first, second) = pair.trim_start_matches('(').split_once(", ").unwrap();
            let offset = stack_offset(to).unwrap();
            let (first, second) = (self.registers[first], self.registers[second]);
            self.store(offset, &first.to_le_bytes());
            self.store(offset + 8, &second.to_le_bytes());
            return;
        }
        let operands: Vec<_> = operands.split(", ").collect();
        let (Some(from), Some(to)) = (operands.first(), operands.last()) else { return };
        let value = match constant(mnemonic, from) {
            Some(value) => value,
            None if self.registers.contains_key(*from) => self.registers[*from],
            // Addresses: the test expects nothing of them.
            None => return,
        };
        if let Some(offset) = stack_offset(to) {
            let size = match mnemonic {
                "MOVQ" | "MOVD" | "FMOVD" | "MOVSD_XMM" => 8,
                "MOVL" | "MOVW" => 4,
                "MOVB" => 1,
                other => panic!("{other} {operands:?} is not understood"),
            };
            self.store(offset, &value.to_le_bytes()[..size]);
        } else if mnemonic == "MOVK" {
            *self.registers.get_mut(*to).unwrap() |= value;
        } else {
            self.registers.insert((*to).to_owned(), value);
        }
    }

    fn store(&mut self, offset: u64, bytes: &[u8]) {
        self.stack.extend((offset..).zip(bytes.iter().copied()));
    }
}

/// `$0x3e9`, `$(1002<<32)`, `$3.` for `FMOVS` and `FMOVD`, `$f64.4008000000000000(SB)`.
fn constant(mnemonic: &str, operand: &str) -> Option<u64> {
    let text = operand.strip_prefix('$')?;
    if let Some(bits) = text.strip_prefix("f64.").or_else(|| text.strip_prefix("f32.")) {
        return Some(u64::from_str_radix(bits.strip_suffix("(SB)")?, 16).unwrap());
    }
    if let Some((value, shift)) =
        text.strip_prefix('(').and_then(|text| text.strip_suffix(')')?.split_once("<<"))
    {
        return Some(value.parse::<u64>().unwrap() << shift.parse::<u32>().unwrap());
    }
    match mnemonic {
        "FMOVD" => Some(text.parse::<f64>().unwrap().to_bits()),
        "FMOVS" => Some(text.parse::<f32>().unwrap().to_bits().into()),
        _ => Some(match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
            None => text.parse().ok()?,
        }),
    }
}

/// `0x8(SP)` or `8(RSP)`.
fn stack_offset(operand: &str) -> Option<u64> {
    let text = operand.strip_suffix("(SP)").or_else(|| operand.strip_suffix("(RSP)"))?;
    Some(match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
        None => text.parse().unwrap(),
    })
}
