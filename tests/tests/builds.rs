//! The kit's binaries are what their modes say.

use lightfoot_symbolizer::Architecture;
use lightfoot_tests::go::version::{NEWEST, OLDEST};
use lightfoot_tests::go::{Build, Mode, Program, matrix};
use std::process::Command;

#[test]
fn a_server_of_the_oldest_and_the_newest_go_serves_itself() {
    for version in [OLDEST, NEWEST] {
        let binary = Build::here(Program::Http, version, Mode::Plain).path().unwrap();
        let output = Command::new(binary).args(["-requests", "200"]).output().unwrap();
        assert!(output.status.success(), "Go {version}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("http 127.0.0.1:"));
    }
}

#[test]
fn a_grpc_server_of_every_go_calls_itself() {
    for build in matrix::versions(Program::Grpc, Mode::Plain) {
        let output = Command::new(build.path().unwrap()).args(["-calls", "3"]).output().unwrap();
        assert!(output.status.success(), "{build}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_second_build_is_the_first_one() {
    let build = Build::here(Program::Layouts, NEWEST, Mode::Plain);
    let path = build.path().unwrap();
    let modified = path.metadata().unwrap().modified().unwrap();
    assert_eq!(build.path().unwrap(), path);
    assert_eq!(path.metadata().unwrap().modified().unwrap(), modified);
    assert_ne!(Build { mode: Mode::Stripped, ..build }.path().unwrap(), path);
}

#[test]
fn what_cannot_be_built_says_why() {
    let foreign =
        Build { architecture: Architecture::Aarch64, ..Build::here(Program::Cgo, NEWEST, Mode::CgoExternal) };
    if cfg!(target_arch = "x86_64") {
        assert!(foreign.path().unwrap_err().to_string().contains("C compiler"));
    }
    assert!(Build::here(Program::Cgo, NEWEST, Mode::Plain).unsupported().is_some());
    assert!(Build::here(Program::Http, OLDEST, Mode::Fips).unsupported().is_some());
}
