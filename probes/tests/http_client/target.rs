//! The Go program that is watched.

use std::fs;
use std::path::{Path, PathBuf};

use lightfoot_tests::go::GoVersion;
use lightfoot_tests::probes::{Source, Target};
use object::{Object as _, ObjectSegment as _};

/// Builds the program, or finds it in the cache.
pub(crate) fn build(version: GoVersion, position_independent: bool) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http_client/target");
    let files = ["main.go", "parents.go", "transports.go"];
    Source { name: "probes-client", folder: &folder, files: &files }.build(version, position_independent)
}

/// By how much addresses of a position independent program exceed those in its file.
pub(crate) fn bias(target: &Target) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{}/maps", target.pid())).unwrap();
    let line = maps.lines().find(|line| line.ends_with(target.binary.to_str().unwrap())).unwrap();
    let lowest = u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
    let bytes = fs::read(&target.binary).unwrap();
    let file = object::File::parse(&bytes[..]).unwrap();
    lowest - file.segments().map(|segment| segment.address()).min().unwrap()
}
