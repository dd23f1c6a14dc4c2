//! Where it is measured.

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;
use std::time::SystemTime;

use lightfoot_tests::go::version::NEWEST;
use lightfoot_tests::go::{GoToolchain, GoVersion, Program};

use crate::results::Machine;

/// The facts of this machine and of what is compared on it.
pub(crate) fn facts(lightfoot: &Path) -> Result<Machine, Box<dyn Error>> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let of_processor = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let is_virtual =
        of_processor("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    let go = GoToolchain::find(GoVersion::of_minor(26).unwrap_or(NEWEST))?;
    let version = Command::new(lightfoot).arg("--version").output()?;
    Ok(Machine {
        date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        processor: of_processor("model name").unwrap_or_else(|| "unknown".to_owned()),
        processors: available_parallelism()?.get(),
        is_virtual,
        go: go.exact,
        lightfoot: String::from_utf8(version.stdout)?.trim().to_owned(),
        otelhttp: release(Program::Bench, "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp")?,
        otel_sdk: release(Program::Bench, "go.opentelemetry.io/otel/sdk")?,
    })
}

/// The release of a module that a program is built with.
pub(crate) fn release(program: Program, module: &str) -> io::Result<String> {
    let modules = fs::read_to_string(program.folder().join("go.mod"))?;
    let release = modules.lines().find_map(|line| line.trim().strip_prefix(module)?.strip_prefix(' '));
    Ok(release.unwrap_or("unknown").to_owned())
}
