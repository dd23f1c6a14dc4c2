//! The last check before an attach: what a process has loaded is what its file says.
//!
//! A program that rewrites its own code, or another that runs under the same name, would be hit at places that mean
//! something else. A breakpoint at a known site is no mismatch: it is another tracer's, or our own for a second process.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;

use lightfoot_symbolizer::{FileOffset, RuntimeAddress};
use thiserror::Error;

use super::analysis::Probes;
use crate::discover::Proc;

/// At most so many bytes of a process's list of mappings are read.
const MAX_MAPS: u64 = 16 << 20;

/// Why a process is not what its file says.
#[derive(Debug, Error)]
pub enum LoadedError {
    /// Its memory or mappings cannot be read.
    #[error(
        "the memory of process {pid} cannot be read (it takes CAP_SYS_PTRACE, and CAP_DAC_READ_SEARCH if it is another user's)"
    )]
    Read {
        /// The process.
        pid: u32,
        /// What the operating system said.
        source: io::Error,
    },
    /// The code is not mapped.
    #[error("process {pid} has not loaded the code at file offset {offset}")]
    NotMapped {
        /// The process.
        pid: u32,
        /// The place of a probe.
        offset: FileOffset,
    },
    /// Other bytes are there.
    #[error("process {pid} has other code at {address} than its file: it was changed after loading")]
    Changed {
        /// The process.
        pid: u32,
        /// The place of a probe.
        address: RuntimeAddress,
    },
}

/// What a process has loaded.
pub(super) struct Loaded {
    /// Where each probe's place is in it.
    pub(super) addresses: Vec<u64>,
    /// By how much they exceed those in the file.
    pub(super) bias: u64,
    /// Whether a breakpoint stands at the place of every probe.
    pub(super) has_all_breakpoints: bool,
}

/// Checks every probe's place.
pub(super) fn verify(proc: &Proc, pid: u32, probes: &Probes) -> Result<Loaded, LoadedError> {
    let read = |source| LoadedError::Read { pid, source };
    let folder = proc.folder(pid);
    let own = Mapping::of_program(proc, pid).map_err(read)?;
    let memory = File::open(folder.join("mem")).map_err(read)?;
    let mut addresses = Vec::with_capacity(probes.places.len());
    let (mut breakpoints, mut bias) = (0, 0);
    for (probe, expected) in probes.places.iter().zip(&probes.expected) {
        let offset = probe.offset;
        let mapping = own
            .iter()
            .filter(|mapping| mapping.executable)
            .find(|mapping| {
                (mapping.offset..mapping.offset + (mapping.end - mapping.start)).contains(&offset)
            })
            .ok_or(LoadedError::NotMapped { pid, offset: FileOffset(offset) })?;
        let address = mapping.start + (offset - mapping.offset);
        let mut bytes = vec![0; expected.bytes.len()];
        memory.read_exact_at(&mut bytes, address).map_err(read)?;
        if is_breakpoint(&bytes, &expected.bytes) {
            breakpoints += 1;
        } else if bytes != expected.bytes {
            return Err(LoadedError::Changed { pid, address: RuntimeAddress(address) });
        }
        bias = address.wrapping_sub(expected.address.0);
        addresses.push(address);
    }
    Ok(Loaded { bias, has_all_breakpoints: breakpoints == addresses.len(), addresses })
}

/// Whether `bytes` are `expected` with a uprobe's breakpoint in place.
fn is_breakpoint(bytes: &[u8], expected: &[u8]) -> bool {
    // arch/x86/include/asm/uprobes.h: int3; arch/arm64/include/asm/debug-monitors.h: BRK64_OPCODE_UPROBES.
    if cfg!(target_arch = "x86_64") {
        bytes.first() == Some(&0xcc) && bytes.get(1..) == expected.get(1..)
    } else {
        bytes == 0xd420_00a0_u32.to_le_bytes()
    }
}

/// A line of proc_pid_maps(5) without its path.
pub(crate) struct Mapping {
    pub(crate) start: u64,
    pub(crate) end: u64,
    executable: bool,
    pub(crate) offset: u64,
}

impl Mapping {
    /// Those of the program that a process runs.
    pub(crate) fn of_program(proc: &Proc, pid: u32) -> io::Result<Vec<Self>> {
        let mut text = Vec::new();
        File::open(proc.folder(pid).join("maps"))?.take(MAX_MAPS).read_to_end(&mut text)?;
        // Overlay file systems, and kernels before and after Linux 6.8, disagree about device and inode of a mapping; the
        // path is printed by the same function for both. It escapes line feeds in maps(5) alone.
        let executable = fs::read_link(proc.executable(pid))?;
        let executable: Vec<u8> = executable
            .as_os_str()
            .as_bytes()
            .iter()
            .flat_map(|byte| if *byte == b'\n' { b"\\012".as_slice() } else { std::slice::from_ref(byte) })
            .copied()
            .collect();
        let lines = text.split(|byte| *byte == b'\n');
        Ok(lines.filter_map(|line| Self::parse(line.strip_suffix(executable.as_slice())?)).collect())
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let rights = fields.next()?.as_bytes();
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let (start, end, offset) = (hex(start)?, hex(end)?, hex(fields.next()?)?);
        let (_device, _inode) = fields.next().zip(fields.next())?;
        offset.checked_add(end.checked_sub(start)?)?;
        // What is left is the end of another path.
        fields.next().is_none().then_some(())?;
        Some(Self { start, end, executable: rights.get(2) == Some(&b'x'), offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps_are_read_and_odd_ones_passed_over() {
        let line = b"00400000-0065f000 r-xp 00001000 fe:01 4242       ";
        let mapping = Mapping::parse(line).unwrap();
        assert_eq!((mapping.start, mapping.end, mapping.offset), (0x40_0000, 0x65_f000, 0x1000));
        assert!(mapping.executable);
        for odd in [
            "",
            "x",
            "2-1 r-xp 0 0:0 1",
            "0-ffffffffffffffff r-xp ffffffffffffffff 0:0 1",
            "0-1 r-xp 0 0:0",
            "0-1 r-xp 0 0:0 1 /chroot",
        ] {
            assert!(Mapping::parse(odd.as_bytes()).is_none(), "{odd}");
        }
    }

    #[test]
    fn the_list_of_what_is_loaded_is_read_up_to_its_bound() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("7");
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink("/srv/shop", folder.join("exe")).unwrap();
        let line = "00400000-0065f000 r-xp 00001000 fe:01 4242 /srv/shop";
        let room = usize::try_from(MAX_MAPS).unwrap() - line.len();
        for beyond in [0, 1] {
            let others = format!("{}\n", "x".repeat(room - 1 + beyond));
            fs::write(folder.join("maps"), [&others, line, "\n", line].concat()).unwrap();
            let found = Mapping::of_program(&Proc::at(root.path()), 7).unwrap();
            assert_eq!(found.len(), usize::from(beyond == 0), "{beyond}");
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_breakpoint_hides_one_byte_only() {
        assert!(is_breakpoint(&[0xcc, 2, 3], &[1, 2, 3]));
        assert!(!is_breakpoint(&[0xcc, 2, 4], &[1, 2, 3]));
        assert!(!is_breakpoint(&[1, 2, 4], &[1, 2, 3]));
    }
}
