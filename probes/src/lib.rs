//! The BPF objects, built and checked by `build.rs` and embedded as bytes.
//!
//! Everyone may build this crate. On a machine without the BPF toolchain it carries no object and says why; `make`
//! installs the toolchain and makes that an error.
#![forbid(unsafe_code)]

mod copying;

use thiserror::Error;

pub use copying::{Copying, NotElf};

/// The object that only reads the processes it watches: an ELF file for the kernel's BPF machine, aligned to 8 bytes.
pub const OBJECT: Result<&[u8], NoObject> = match option_env!("LIGHTFOOT_NO_BPF_OBJECT") {
    Some(reason) => Err(NoObject { reason }),
    None => Ok(&BYTES.0),
};

/// The same with what writes to processes: the programs `on_site_propagate` and so on, by which trace contexts are passed on. Loaded
/// in place of [`OBJECT`] where that is asked for and allowed.
pub const PROPAGATE: Result<&[u8], NoObject> = match OBJECT {
    Err(absent) => Err(absent),
    Ok(_) => Ok(&PROPAGATE_BYTES.0),
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

static PROPAGATE_BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/propagate.o")));

static HITS_BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/hits.o")));

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lightfoot_probes_verify::{Function, Permissions};

    use super::{HITS, LARGEST_FRAME, OBJECT, PROPAGATE};

    /// The names of an object's programs: for each family one for each way to place them, and those that tell of processes.
    fn programs(families: &[&str]) -> BTreeSet<String> {
        let ways = ["", "_by_address", "_multi"];
        let at_sites = families.iter().flat_map(|family| ways.map(|way| format!("{family}{way}")));
        at_sites.chain(["on_exec", "on_exit"].map(str::to_owned)).collect()
    }

    fn names(functions: &[Function]) -> BTreeSet<String> {
        functions
            .iter()
            .filter(|function| function.is_program())
            .map(|program| program.name.clone())
            .collect()
    }

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
        let functions = lightfoot_probes_verify::check(object, Permissions::NONE).unwrap();
        assert_eq!(names(&functions), programs(&["on_site", "on_site_grpc", "on_site_join"]));
        assert!(functions.iter().all(|function| function.frame <= LARGEST_FRAME));
    }

    #[test]
    fn only_the_object_that_is_asked_for_writes_and_only_one_function_of_it() {
        let (Ok(object), Ok(hits), Ok(propagate)) = (OBJECT, HITS, PROPAGATE) else {
            println!("nothing to check: there are no programs");
            return;
        };
        assert_eq!(propagate.as_ptr().align_offset(8), 0);
        for reads_only in [object, hits] {
            let functions = lightfoot_probes_verify::check(reads_only, Permissions::NONE).unwrap();
            assert!(functions.iter().all(|function| !function.writes));
        }
        // The same check refuses the one that writes, so it would see such a call in the others.
        let refused = lightfoot_probes_verify::check(propagate, Permissions::NONE).unwrap_err();
        assert!(
            refused.iter().all(|why| why.to_string().contains("calls bpf_probe_write_user")),
            "{refused:?}"
        );
        let permissions = Permissions { writer: Some("propagate10write_user"), ..Permissions::NONE };
        let functions = lightfoot_probes_verify::check(propagate, permissions).unwrap();
        assert_eq!(
            names(&functions),
            programs(&["on_site", "on_site_grpc", "on_site_join", "on_site_propagate"])
        );
        assert_eq!(functions.iter().filter(|function| function.writes).count(), 1);
        // Their calls are followed from one section to another.
        let depth = |name| functions.iter().find(|function| function.name == name).unwrap().depth;
        assert!(depth("on_site_propagate_multi") > 5 && depth("on_exit") > 1, "{functions:?}");
    }
}
