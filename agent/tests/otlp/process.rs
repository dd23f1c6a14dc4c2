//! Processes, spans and settings of the tests.

use std::ffi::OsString;
use std::fs;
use std::sync::Arc;

use lightfoot::clock::{Clock, Reading};
use lightfoot::deliver::{Flags, Settings};
use lightfoot::resource::{Host, ProcessIdentity};
use lightfoot::variables::Variables;
use lightfoot_symbolizer::build_info::{BuildInfo, Module};

pub(super) fn clock() -> Clock {
    Clock::from_reading(Reading { before: 0, wall: 1_700_000_000_000_000_000, after: 0 })
}

/// The process `pid`, as a procfs would show it.
pub(super) fn process(pid: u32, environ: &str, module: &str) -> Arc<ProcessIdentity> {
    let procfs = tempfile::tempdir().unwrap();
    let folder = procfs.path().join(pid.to_string());
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("stat"), format!("{pid} (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 7 0 100 1 1"))
        .unwrap();
    fs::write(folder.join("environ"), environ).unwrap();
    std::os::unix::fs::symlink("/srv/bin/x", folder.join("exe")).unwrap();
    let main = Module { path: module.into(), version: "v1.2.3".into(), replaced_by: None };
    let build_info = BuildInfo { go_version: "go1.26.8".into(), main: Some(main), ..BuildInfo::default() };
    let host =
        Host { name: "node".into(), architecture: "arm64", boot_id: "boot".into(), ticks_per_second: 100 };
    Arc::new(ProcessIdentity::read(procfs.path(), pid, &build_info, None, &host, &clock()).unwrap())
}

/// Settings for an endpoint, with these variables.
pub(super) fn settings(endpoint: &str, protocol: &str, variables: &[(&str, &str)]) -> Settings {
    let flags =
        Flags { endpoint: Some(endpoint.into()), protocol: Some(protocol.into()), ..Flags::default() };
    let variable = |wanted: &str| {
        let found = variables.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| OsString::from(value))
    };
    let mut variables = Variables::new(variable);
    let settings = Settings::read(&mut variables, &flags);
    variables.finish(settings).unwrap()
}

pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
