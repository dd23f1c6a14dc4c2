//! Who the spans of a process speak for: one OpenTelemetry Resource per process, from procfs and the build information.
//!
//! Everything here is the target's word and bounded: see [`environment`] for what is read of its environment. The
//! target's own `OTEL_RESOURCE_ATTRIBUTES` win over what is detected, except for `telemetry.*`, which says who measured.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use lightfoot_symbolizer::build_info::BuildInfo;
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use thiserror::Error;
use uuid::Uuid;

use crate::clock::Clock;
use crate::semconv as name;

pub mod environment;
mod naming;

pub use naming::NamedBy;

use environment::{Environment, Problem};

/// The namespace that the semantic conventions ask for in a `service.instance.id` made from what identifies the process.
const INSTANCES: Uuid = Uuid::from_u128(0x4d63_009a_8d0f_11ee_aad7_4c79_6ed8_e320);

/// Why a process has no identity.
#[derive(Debug, Error)]
pub enum ResourceError {
    /// A file of procfs cannot be read; mostly, the process has gone.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// `/proc/PID/stat` has not the form of proc(5).
    #[error("{path} is malformed")]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
}

/// What all processes of a host share.
#[derive(Clone, Debug)]
pub struct Host {
    /// The name in the agent's UTS namespace.
    pub name: String,
    /// The processor, as Go calls it, which is what the conventions have: `amd64`, `arm64`.
    pub architecture: &'static str,
    /// Random, from each boot; without it process start times would repeat. Empty if unknown.
    pub boot_id: String,
    /// Clock ticks a second, the unit of start times.
    pub ticks_per_second: u64,
}

/// One process and its Resource.
#[derive(Debug)]
pub struct ProcessIdentity {
    /// Its number in the agent's PID namespace.
    pub pid: u32,
    /// Its start, in clock ticks since boot; with the number it tells a process from any other.
    pub start_time: u64,
    /// What its spans come from.
    pub service_name: String,
    /// What gave it that name.
    pub named_by: NamedBy,
    /// What is sent with its spans.
    pub resource: Resource,
    /// What it said of itself and was not understood.
    pub problems: Vec<Problem>,
}

impl Host {
    /// Finds out about this host, with procfs at `procfs`.
    pub fn detect(procfs: &Path) -> Self {
        let boot_id = fs::read_to_string(procfs.join("sys/kernel/random/boot_id")).unwrap_or_default();
        Self {
            name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            },
            boot_id: boot_id.trim().to_owned(),
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
        }
    }
}

impl ProcessIdentity {
    /// Reads the process `pid` from the procfs at `procfs`. What a rule has `named` it is called.
    pub fn read(
        procfs: &Path,
        pid: u32,
        build_info: &BuildInfo,
        named: Option<&str>,
        host: &Host,
        clock: &Clock,
    ) -> Result<Self, ResourceError> {
        let process = procfs.join(pid.to_string());
        let path = process.join("stat");
        let stat = fs::read(&path).map_err(|source| ResourceError::Read { path: path.clone(), source })?;
        let (command, start_time) = parse_stat(&stat).ok_or(ResourceError::Malformed { path })?;
        let executable = fs::read_link(process.join("exe")).ok();
        let executable = executable.as_ref().map(|path| without_deleted(path.as_os_str().as_bytes()));
        let environment = Environment::read(&process.join("environ"));

        let executable_name = match &executable {
            Some(path) => path.rsplit('/').next().unwrap_or_default().to_owned(),
            None => command,
        };
        let (service_name, named_by) =
            naming::service_name(named, &environment, build_info, &executable_name);

        let since_boot = u128::from(start_time) * 1_000_000_000 / u128::from(host.ticks_per_second);
        // A clock in nanoseconds ends in 2554, so that RFC 3339 can always write it.
        let (created, _) = clock.times(u64::try_from(since_boot).unwrap_or(u64::MAX), 0);
        let instance = format!("{}\0{}\0{pid}\0{start_time}", host.name, host.boot_id);

        let mut attributes = vec![
            KeyValue::new(
                name::SERVICE_INSTANCE_ID,
                Uuid::new_v5(&INSTANCES, instance.as_bytes()).to_string(),
            ),
            KeyValue::new(name::PROCESS_PID, i64::from(pid)),
            KeyValue::new(name::PROCESS_CREATION_TIME, humantime::format_rfc3339_millis(created).to_string()),
            KeyValue::new(name::PROCESS_RUNTIME_NAME, "go"),
            KeyValue::new(name::HOST_NAME, host.name.clone()),
            KeyValue::new(name::HOST_ARCH, host.architecture),
            KeyValue::new(name::OS_TYPE, "linux"),
        ];
        if let Some(own) = own_pid(&process.join("status")).filter(|own| *own != pid) {
            attributes.push(KeyValue::new(name::PROCESS_VPID, i64::from(own)));
        }
        if !executable_name.is_empty() {
            attributes.push(KeyValue::new(name::PROCESS_EXECUTABLE_NAME, executable_name));
        }
        if let Some(path) = executable {
            attributes.push(KeyValue::new(name::PROCESS_EXECUTABLE_PATH, path));
        }
        if !build_info.go_version.is_empty() {
            attributes.push(KeyValue::new(name::PROCESS_RUNTIME_VERSION, build_info.go_version.clone()));
        }
        if let Some(version) = naming::service_version(build_info) {
            attributes.push(KeyValue::new(name::SERVICE_VERSION, version.to_owned()));
        }
        attributes.extend(environment.attributes.into_iter().map(|(key, value)| KeyValue::new(key, value)));
        // Of several values for one key the last one holds.
        attributes.extend([
            KeyValue::new(name::SERVICE_NAME, service_name.clone()),
            KeyValue::new(name::TELEMETRY_SDK_NAME, "lightfoot"),
            KeyValue::new(name::TELEMETRY_SDK_LANGUAGE, "go"),
            KeyValue::new(name::TELEMETRY_SDK_VERSION, env!("CARGO_PKG_VERSION")),
            KeyValue::new(name::TELEMETRY_DISTRO_NAME, "lightfoot"),
            KeyValue::new(name::TELEMETRY_DISTRO_VERSION, env!("CARGO_PKG_VERSION")),
        ]);
        let resource = Resource::builder_empty().with_schema_url(attributes, name::SCHEMA_URL).build();
        Ok(Self { pid, start_time, service_name, named_by, resource, problems: environment.problems })
    }
}

/// The command and the start time of `/proc/PID/stat` (proc(5): fields 2 and 22). The command may contain anything.
fn parse_stat(stat: &[u8]) -> Option<(String, u64)> {
    let text = String::from_utf8_lossy(stat);
    let (_, rest) = text.split_once('(')?;
    let (command, fields) = rest.rsplit_once(')')?;
    let start_time = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some((command.to_owned(), start_time))
}

/// The kernel marks the path of a file that is no longer there (fs/d_path.c).
fn without_deleted(path: &[u8]) -> String {
    String::from_utf8_lossy(path.strip_suffix(b" (deleted)").unwrap_or(path)).into_owned()
}

/// The process's number in its own PID namespace, the last one of `NSpid`.
fn own_pid(status: &Path) -> Option<u32> {
    let status = fs::read(status).ok()?;
    let text = String::from_utf8_lossy(&status);
    let line = text.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests;
