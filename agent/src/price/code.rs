//! A function of Lightfoot itself that can be probed without harm: nobody else runs it.

use std::fs::File;
use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileExt as _;

use lightfoot_probes_abi::Cookie;
use lightfoot_symbolizer::decode::{Flow, Step, instructions};
use lightfoot_symbolizer::{Architecture, VirtualAddress};
use thiserror::Error;

use crate::attach::Probe;
use crate::discover::Proc;
use crate::watch::Mapping;

/// So many bytes of the function are decoded; it is shorter.
const WINDOW: usize = 256;

/// Why the function cannot be probed.
#[derive(Debug, Error)]
pub(crate) enum CodeError {
    /// Our own file or mappings cannot be read.
    #[error("Lightfoot's own code cannot be read")]
    Read(#[from] io::Error),
    /// Its file has no such code.
    #[error("Lightfoot's own code is not where its file has it")]
    NotMapped,
    /// Before its first branch there is none of both kinds.
    #[error("Lightfoot's own function has no instruction that is {0}")]
    NoSite(&'static str),
}

/// A place in the function that each call of it runs exactly once.
#[derive(Clone, Debug)]
pub(crate) struct OwnSite {
    /// In our file.
    pub(crate) probe: Probe,
    /// In this process.
    pub(crate) address: u64,
    /// The instruction there.
    pub(crate) text: String,
}

/// Our file, with one place for each price.
#[derive(Debug)]
pub(crate) struct OwnCode {
    pub(crate) file: File,
    pub(crate) emulated: OwnSite,
    pub(crate) stepped: OwnSite,
}

/// What is probed. The compiler may assume nothing about the number, so that there are instructions before the branch.
#[inline(never)]
pub(crate) fn probed(number: u64) -> u64 {
    if black_box(number) == 0 { rare() } else { number.wrapping_add(1) }
}

/// What the branch is for: never called.
#[cold]
#[inline(never)]
fn rare() -> u64 {
    black_box(7)
}

impl OwnCode {
    /// Finds the places by decoding from the function's entry up to its first branch: there is no loop in it, so nothing
    /// leads back to them.
    pub(crate) fn find() -> Result<Self, CodeError> {
        let entry = probed as fn(u64) -> u64 as *const () as u64;
        let (proc, own) = (Proc::default(), std::process::id());
        let mappings = Mapping::of_program(&proc, own)?;
        let mapping = mappings.iter().find(|mapping| (mapping.start..mapping.end).contains(&entry));
        let mapping = mapping.ok_or(CodeError::NotMapped)?;
        let file = File::open(proc.executable(own))?;
        let offset = mapping.offset + (entry - mapping.start);
        let mut bytes = vec![0; WINDOW];
        let length = file.read_at(&mut bytes, offset)?;
        bytes.truncate(length);
        let mut loaded = vec![0; length];
        File::open(proc.folder(own).join("mem"))?.read_exact_at(&mut loaded, entry)?;
        if loaded != bytes {
            return Err(CodeError::NotMapped);
        }
        let (mut emulated, mut stepped) = (None, None);
        for instruction in instructions(architecture(), VirtualAddress(entry), &bytes).map_while(Result::ok) {
            let address = instruction.address.0;
            let place = match instruction.step {
                Step::Emulated => Some(&mut emulated),
                Step::Stepped => Some(&mut stepped),
                Step::Refused(_) => None,
            };
            place.map(|place| {
                place.get_or_insert_with(|| OwnSite {
                    // Of no kind: the programs count it and do nothing else.
                    probe: Probe { offset: offset + (address - entry), cookie: Cookie(0) },
                    address,
                    text: instruction.text(),
                })
            });
            // What it calls comes back once.
            if !matches!(instruction.flow, Flow::Next | Flow::Call(_)) {
                break;
            }
        }
        Ok(Self {
            file,
            emulated: emulated.ok_or(CodeError::NoSite("emulated"))?,
            stepped: stepped.ok_or(CodeError::NoSite("stepped"))?,
        })
    }
}

/// That of this process.
fn architecture() -> Architecture {
    if cfg!(target_arch = "aarch64") { Architecture::Aarch64 } else { Architecture::X86_64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_of_each_kind_is_found_in_our_own_code() {
        let code = OwnCode::find().unwrap();
        assert_ne!(code.emulated.probe.offset, code.stepped.probe.offset);
        assert_eq!(
            code.emulated.address.wrapping_sub(code.stepped.address),
            code.emulated.probe.offset.wrapping_sub(code.stepped.probe.offset)
        );
        assert_eq!((probed(4), probed(0)), (5, 7));
        println!("{code:?}");
    }
}
