//! What a service is called, and its version.

use std::fmt;

use lightfoot_symbolizer::build_info::BuildInfo;
use serde::{Deserialize, Serialize};

use super::environment::Environment;
use crate::kubernetes::Found;
use crate::semconv as name;

/// What gave a service its name; the first that says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedBy {
    /// A rule of the configuration.
    Rule,
    /// The target's `OTEL_SERVICE_NAME`.
    ServiceNameVariable,
    /// `service.name` in the target's `OTEL_RESOURCE_ATTRIBUTES`.
    ResourceAttributesVariable,
    /// An annotation of its pod.
    PodAnnotation,
    /// A label of its pod.
    PodLabel,
    /// What its pod belongs to, as a Deployment.
    PodOwner,
    /// Its pod, which belongs to nothing.
    Pod,
    /// The last element of the main package's path, where that is no command-line list of files and not the module's own:
    /// the commands of one module are different services. A major version (`/v2`) and a folder `cmd` at the end are left
    /// out.
    MainPackage,
    /// The last element of the main module's path, a major version left out.
    MainModule,
    /// The file that runs.
    Executable,
    /// Nothing; the conventions have a name for that.
    Nothing,
}

impl fmt::Display for NamedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rule => "a rule",
            Self::ServiceNameVariable => "its OTEL_SERVICE_NAME",
            Self::ResourceAttributesVariable => "its OTEL_RESOURCE_ATTRIBUTES",
            Self::PodAnnotation => "an annotation of its pod",
            Self::PodLabel => "a label of its pod",
            Self::PodOwner => "the owner of its pod",
            Self::Pod => "its pod",
            Self::MainPackage => "its main package",
            Self::MainModule => "its main module",
            Self::Executable => "its file",
            Self::Nothing => "nothing",
        })
    }
}

pub(super) fn service_name(
    named: Option<&str>,
    environment: &Environment,
    pod: Option<&Found>,
    build_info: &BuildInfo,
    executable: &str,
) -> (String, NamedBy) {
    let mut attributes = environment.attributes.iter().rev();
    let attribute = attributes.find(|(key, _)| key == name::SERVICE_NAME).map(|(_, value)| value.as_str());
    let (pod, by_pod) = pod.and_then(Found::service_name).unzip();
    let module = build_info.main.as_ref().map(|module| module.path.as_str());
    // What `go build a.go b.go` calls a package of loose files is no name.
    let package = build_info.path.as_deref().filter(|path| *path != "command-line-arguments");
    let package = package.map(|path| path.strip_suffix("/cmd").unwrap_or(path));
    let package = package.filter(|path| Some(*path) != module);
    [
        (named, NamedBy::Rule),
        (environment.service_name.as_deref(), NamedBy::ServiceNameVariable),
        (attribute, NamedBy::ResourceAttributesVariable),
        (pod, by_pod.unwrap_or(NamedBy::Pod)),
        (package.and_then(last_element), NamedBy::MainPackage),
        (module.and_then(last_element), NamedBy::MainModule),
        (Some(executable), NamedBy::Executable),
    ]
    .into_iter()
    .find_map(|(name, by)| name.filter(|name| !name.is_empty()).map(|name| (name.to_owned(), by)))
    .unwrap_or_else(|| ("unknown_service".to_owned(), NamedBy::Nothing))
}

/// The main module's version if it is one: a work tree has `(devel)` or none.
pub(super) fn service_version(build_info: &BuildInfo) -> Option<&str> {
    let version = build_info.main.as_ref()?.version.as_str();
    (!version.is_empty() && version != "(devel)").then_some(version)
}

/// Of `github.com/acme/shop/v2` the `shop`.
fn last_element(path: &str) -> Option<&str> {
    let mut elements = path.rsplit('/');
    let last = elements.next()?;
    let is_major = last
        .strip_prefix('v')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    if is_major { elements.next().or(Some(last)) } else { Some(last) }
}
