//! The BPF objects, built and checked by `build.rs` and embedded as bytes.
//!
//! Everyone may build this crate. On a machine without the BPF toolchain it carries no object and says why; `make`
//! installs the toolchain and makes that an error.
#![forbid(unsafe_code)]

use thiserror::Error;

/// The object that only reads the processes it watches: an ELF file for the kernel's BPF machine, aligned to 8 bytes.
pub const OBJECT: Result<&[u8], NoObject> = match option_env!("LIGHTFOOT_NO_BPF_OBJECT") {
    Some(reason) => Err(NoObject { reason }),
    None => Ok(&BYTES.0),
};

/// The object that does nothing but count how often each site is hit, for tests: the program `on_hit` and the array `HITS`,
/// by cookie.
pub const HITS: Result<&[u8], NoObject> = match OBJECT {
    Err(absent) => Err(absent),
    Ok(_) => Ok(&HITS_BYTES.0),
};

/// The bytes of stack frame that their largest function uses; 0 if there are none.
pub const LARGEST_FRAME: u32 = match option_env!("LIGHTFOOT_LARGEST_FRAME") {
    Some(text) => match u32::from_str_radix(text, 10) {
        Ok(bytes) => bytes,
        Err(_) => panic!("build.rs wrote no number"),
    },
    None => 0,
};

/// This build carries no BPF programs, so it can inspect binaries but watch nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("this build of Lightfoot contains no BPF programs: {reason}")]
pub struct NoObject {
    /// What was missing on the machine that built it.
    pub reason: &'static str,
}

/// Readers of ELF take headers from the bytes in place, and bytes alone would have no alignment.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/lightfoot-ebpf.o")));

static HITS_BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/hits.o")));

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{LARGEST_FRAME, OBJECT};

    #[test]
    fn the_embedded_object_is_aligned_and_passes_the_checks() {
        let object = match OBJECT {
            Ok(object) => object,
            Err(absent) => {
                println!("nothing to check: {absent}");
                return;
            }
        };
        assert_eq!(object.as_ptr().align_offset(8), 0);
        let functions = lightfoot_probes_verify::check(object, &[]).unwrap();
        let largest = functions.iter().map(|function| function.frame).max();
        assert_eq!(largest, Some(LARGEST_FRAME));
        let programs: Vec<_> = functions.iter().filter(|function| function.is_program()).collect();
        let names: Vec<_> = programs.iter().map(|program| program.name.as_str()).collect();
        let ways = ["", "_by_address", "_multi"];
        let expected: Vec<_> = ["on_site", "on_site_grpc"]
            .iter()
            .flat_map(|family| ways.map(|way| format!("{family}{way}")))
            .chain(["on_exec", "on_exit"].map(str::to_owned))
            .collect();
        assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), expected.iter().map(String::as_str).collect());
    }
}
