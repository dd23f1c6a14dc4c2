//! Who the spans of a process speak for: one OpenTelemetry Resource per process, from procfs and the build information.
//!
//! Everything here is the target's word and bounded: see [`environment`] for what is read of its environment. The
//! target's own `OTEL_RESOURCE_ATTRIBUTES` win over what is detected and over what Kubernetes tells, except for `telemetry.*`, which says who measured.

use std::path::{Path, PathBuf};

use lightfoot_symbolizer::build_info::BuildInfo;
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use thiserror::Error;
use uuid::Uuid;

use crate::clock::Clock;
use crate::kubernetes::Found;
use crate::semconv as name;

mod container;
pub mod environment;
mod facts;
mod host;
mod naming;
mod pod;

pub use container::Container;
pub use facts::Facts;
pub use host::{Host, Os};
pub use naming::NamedBy;

use environment::Problem;

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

/// One process and its Resource.
#[derive(Debug)]
pub struct ProcessIdentity {
    /// Its number in the agent's PID namespace.
    pub pid: u32,
    /// Its start, in clock ticks since boot; with the number it tells a process from any other.
    pub start_time: u64,
    /// Its network namespace, by its inode.
    pub network: Option<u64>,
    /// What its spans come from.
    pub service_name: String,
    /// What gave it that name.
    pub named_by: NamedBy,
    /// What is sent with its spans.
    pub resource: Resource,
    /// What it said of itself and was not understood.
    pub problems: Vec<Problem>,
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
        Ok(Self::new(pid, Facts::read(procfs, pid)?, build_info, named, None, host, clock))
    }

    /// That of the process `pid`, of which all is read. What a rule has `named` it is called. Its pod is what Kubernetes tells of it.
    pub fn new(
        pid: u32,
        facts: Facts,
        build_info: &BuildInfo,
        named: Option<&str>,
        pod: Option<&Found>,
        host: &Host,
        clock: &Clock,
    ) -> Self {
        let Facts { command, start_time, parent, executable, own_pid, network, container, environment } =
            facts;
        let executable_name = match &executable {
            Some(path) => path.rsplit('/').next().unwrap_or_default().to_owned(),
            None => command,
        };
        let (service_name, named_by) =
            naming::service_name(named, &environment, pod, build_info, &executable_name);

        let since_boot = u128::from(start_time) * 1_000_000_000 / u128::from(host.ticks_per_second);
        // A clock in nanoseconds ends in 2554, so that RFC 3339 can always write it.
        let (created, _) = clock.times(u64::try_from(since_boot).unwrap_or(u64::MAX), 0);
        // Random, and so enough: the host may have a name for each who looks.
        let of_host = if host.boot_id.is_empty() { &host.name } else { &host.boot_id };
        let instance = format!("{of_host}\0{pid}\0{start_time}");

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
        let of_host = [
            (name::HOST_ID, &host.id),
            (name::OS_NAME, &host.os.name),
            (name::OS_VERSION, &host.os.version),
            (name::OS_DESCRIPTION, &host.os.description),
        ];
        attributes
            .extend(of_host.into_iter().filter_map(|(key, value)| Some(KeyValue::new(key, value.clone()?))));
        if let Some(parent) = parent {
            attributes.push(KeyValue::new(name::PROCESS_PARENT_PID, i64::from(parent)));
        }
        let of_container = [(name::CONTAINER_ID, container.id), (name::K8S_POD_UID, container.pod_uid)];
        attributes
            .extend(of_container.into_iter().filter_map(|(key, value)| Some(KeyValue::new(key, value?))));
        if let Some(own) = own_pid.filter(|own| *own != pid) {
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
            let description = format!("go version {} linux/{}", build_info.go_version, host.architecture);
            attributes.push(KeyValue::new(name::PROCESS_RUNTIME_DESCRIPTION, description));
        }
        if let Some(version) = naming::service_version(build_info) {
            attributes.push(KeyValue::new(name::SERVICE_VERSION, version.to_owned()));
        }
        attributes.extend(pod.into_iter().flat_map(Found::attributes));
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
        let problems = environment.problems;
        Self { pid, start_time, network, service_name, named_by, resource, problems }
    }
}

#[cfg(test)]
mod tests;
