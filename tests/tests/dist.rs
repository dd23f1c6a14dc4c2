//! What `make dist` gives out: one static file for each machine, which runs.
//!
//! `make test` builds them first. Without them, and for another machine without an emulator, a test says why it does nothing,
//! and fails where `CI` is `true`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lightfoot_tests::live::{Agent, Folder, Target, skip};
use lightfoot_tests::recordings::{expected, recording};
use object::elf::{EM_AARCH64, EM_X86_64, FileHeader64, PT_DYNAMIC, PT_GNU_STACK, PT_INTERP, PT_LOAD};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};
use object::{Endianness, elf};

/// With room for what comes; both are under 19 MB today.
const MAX_BYTES: u64 = 25_000_000;
const MACHINES: [(&str, elf::Machine); 2] = [("x86_64", EM_X86_64), ("aarch64", EM_AARCH64)];

/// The file for a machine, unless there is none.
fn built(machine: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist").join(format!("lightfoot-{machine}"));
    if path.is_file() {
        return Some(path);
    }
    skip("static builds", &format!("{} is not built (`make dist` does it)", path.display()));
    None
}

/// The file for a machine, to be run here: by itself, or by the emulator of the machine's name. `None` unless both are there.
fn command(machine: &str) -> Option<Command> {
    let path = built(machine)?;
    if machine == env::consts::ARCH {
        return Some(Command::new(path));
    }
    let emulators = [format!("qemu-{machine}-static"), format!("qemu-{machine}")];
    let found = emulators.into_iter().find(|name| Command::new(name).arg("--version").output().is_ok());
    let Some(emulator) = found else {
        skip(
            "static builds",
            &format!("nothing here runs programs for {machine} (the package qemu-user-static does)"),
        );
        return None;
    };
    let mut command = Command::new(emulator);
    command.arg(path);
    Some(command)
}

#[test]
fn each_is_one_small_static_file_for_its_machine() {
    for (machine, number) in MACHINES {
        let Some(path) = built(machine) else { continue };
        let bytes = fs::read(&path).unwrap();
        let header = FileHeader64::<Endianness>::parse(&*bytes).unwrap();
        let endian = header.endian().unwrap();
        assert_eq!(header.e_machine(endian), number, "{machine}");
        // A process of many rights that reads hostile bytes is better not at an address that everybody knows. Rust makes no such
        // static programs for arm64.
        let kind = if number == EM_X86_64 { elf::ET_DYN } else { elf::ET_EXEC };
        assert_eq!(header.e_type(endian), kind, "{machine}");
        let segments = header.program_headers(endian, &*bytes).unwrap();
        let types: Vec<_> = segments.iter().map(|segment| segment.p_type(endian)).collect();
        assert!(types.contains(&PT_LOAD) && !types.contains(&PT_INTERP), "{machine}: {types:?}");
        let needed = segments
            .iter()
            .filter(|segment| segment.p_type(endian) == PT_DYNAMIC)
            .flat_map(|segment| segment.dynamic(endian, &*bytes).unwrap().unwrap())
            .filter(|entry| entry.tag(endian) == elf::DT_NEEDED);
        assert_eq!(needed.count(), 0, "{machine}");
        let is_executable =
            |segment: &&elf::ProgramHeader64<Endianness>| segment.p_flags(endian).contains(elf::PF_X);
        let stack = segments.iter().find(|segment| segment.p_type(endian) == PT_GNU_STACK).unwrap();
        assert!(!is_executable(&stack), "{machine}");
        let writable_code = segments
            .iter()
            .filter(|segment| segment.p_type(endian) == PT_LOAD)
            .filter(is_executable)
            .filter(|segment| segment.p_flags(endian).contains(elf::PF_W));
        assert_eq!(writable_code.count(), 0, "{machine}");
        let length = fs::metadata(&path).unwrap().len();
        println!("{machine}: {length} bytes");
        assert!(length < MAX_BYTES, "{machine}: {length} bytes");
        // Where it was built is nobody's business.
        let home = env::var("HOME").unwrap();
        assert!(memchr::memmem::find(&bytes, format!("{home}/").as_bytes()).is_none(), "{machine}");
    }
}

#[test]
fn each_tells_its_version_and_has_programs_for_its_machine() {
    for (machine, _) in MACHINES {
        let Some(mut version) = command(machine) else { continue };
        let version = version.arg("--version").output().unwrap();
        let expected = format!("lightfoot {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(String::from_utf8_lossy(&version.stdout), expected, "{machine}");
        let doctor = command(machine).unwrap().args(["doctor", "--json"]).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
        let checks = report.get("checks").and_then(serde_json::Value::as_array).unwrap();
        let ids: Vec<_> = checks.iter().filter_map(|check| check.get("id")?.as_str()).collect();
        // It is shown where the build has none, or its own code is not what it must be.
        assert!(ids.contains(&"uprobe_multi") && !ids.contains(&"programs"), "{machine}: {report:#}");
    }
}

#[test]
fn each_makes_of_a_recording_what_the_ordinary_build_makes() {
    for (machine, _) in MACHINES {
        let Some(mut command) = command(machine) else { continue };
        let output = command.arg("replay").arg(recording(26)).args(["--to", "json"]).output().unwrap();
        let committed = fs::read_to_string(expected(26)).unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), committed, "{machine}");
    }
}

#[test]
fn the_one_for_this_machine_traces_a_server() {
    let Some(folder) = Folder::for_test("a static build") else { return };
    let Some(mut command) = command(env::consts::ARCH) else { return };
    let target = Target::start(&folder.server().unwrap()).unwrap();
    command.args(["run", "--format", "otlp-json", "--pid", &target.pid().to_string()]);
    let agent = Agent::spawn(command, &[]).unwrap();
    agent.watches(target.pid()).unwrap();
    assert_eq!(target.get("/static").unwrap(), 200);
    agent.span("/static").unwrap();
    assert_eq!(agent.stop().unwrap().paths(), ["/static"]);
}
