//! The rules that choose among processes.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use globset::{Glob, GlobMatcher};
use lightfoot_symbolizer::build_info::BuildInfo;

/// What the user asked for. With nothing said, every Go program with an HTTP server is watched, save the telemetry
/// backends.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Watch these processes.
    pub pids: HashSet<u32>,
    /// Watch programs whose path matches one of these.
    pub executables: Vec<GlobMatcher>,
    /// Watch processes that listen on one of these TCP ports.
    pub ports: HashSet<u16>,
    /// Watch the Go programs with an HTTP server that this process has started, or those that it started.
    pub ancestor: Option<u32>,
    /// Never watch whoever listens on this TCP port: it receives our own spans.
    pub export_port: Option<u16>,
}

/// Whether to watch a process, and the rule that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Watch it.
    Watch(Rule),
    /// Leave it alone.
    Leave(Rule),
    /// Leave it for now; whether it listens on a port may change.
    Wait(Rule),
}

/// A rule of selection; its text is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `--pid`, or the command that was started under watch.
    Pid,
    /// `--exe`.
    Executable,
    /// `--port`.
    Port,
    /// Nothing was asked for, and it serves HTTP.
    Default,
    /// It receives our spans.
    ExportEndpoint,
    /// It is a telemetry backend.
    Backend,
    /// Something else was asked for.
    NotSelected,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pid => "asked for by its number",
            Self::Executable => "its path matches --exe",
            Self::Port => "it listens on a --port",
            Self::Default => "a Go program that serves HTTP",
            Self::ExportEndpoint => "it listens on the port that spans are sent to",
            Self::Backend => "a telemetry backend; --pid or --exe watches it all the same",
            Self::NotSelected => "not what was asked for",
        })
    }
}

impl Selection {
    /// The pattern of `--exe`: `*` and `?` match within a path, and a pattern without a slash matches the last part.
    pub fn executable(pattern: &str) -> Result<GlobMatcher, globset::Error> {
        let whole = if pattern.contains('/') { pattern.to_owned() } else { format!("**/{pattern}") };
        Ok(Glob::new(&whole)?.compile_matcher())
    }

    /// The TCP ports that decide anything.
    pub fn relevant_ports(&self) -> HashSet<u16> {
        self.ports.iter().copied().chain(self.export_port).collect()
    }

    /// Decides by what is cheap to know, before the program's file is read: `None` if that takes more. `descends` tells
    /// whether the process descends from [`Self::ancestor`].
    pub fn before_inspection(
        &self,
        pid: u32,
        path: &Path,
        ports: &HashSet<u16>,
        descends: bool,
    ) -> Option<Decision> {
        if self.export_port.is_some_and(|port| ports.contains(&port)) {
            return Some(Decision::Leave(Rule::ExportEndpoint));
        }
        let explicit = [
            (self.pids.contains(&pid), Rule::Pid),
            (self.executables.iter().any(|pattern| pattern.is_match(path)), Rule::Executable),
            (!self.ports.is_disjoint(ports), Rule::Port),
        ];
        match explicit.into_iter().find(|(applies, _)| *applies) {
            Some((_, rule)) => Some(Decision::Watch(rule)),
            None if descends => None,
            None if !self.ports.is_empty() => Some(Decision::Wait(Rule::NotSelected)),
            None if self.is_explicit() => Some(Decision::Leave(Rule::NotSelected)),
            None => None,
        }
    }

    /// Decides where nothing was asked for, and about descendants.
    pub fn by_default(&self, build_info: &BuildInfo) -> Decision {
        if is_backend(build_info) { Decision::Leave(Rule::Backend) } else { Decision::Watch(Rule::Default) }
    }

    /// Whether anything was asked for.
    pub fn is_explicit(&self) -> bool {
        !self.pids.is_empty() || !self.executables.is_empty() || !self.ports.is_empty()
    }
}

/// Programs that receive telemetry; watching them with nothing asked for would feed them their own work.
const BACKENDS: &[&str] = &[
    "github.com/grafana/agent",
    "github.com/grafana/alloy",
    "github.com/grafana/loki",
    "github.com/grafana/mimir",
    "github.com/grafana/tempo",
    "github.com/jaegertracing/jaeger",
    "github.com/open-telemetry/opentelemetry-collector",
    "github.com/openzipkin",
    "github.com/prometheus/prometheus",
    "github.com/SigNoz",
    "github.com/VictoriaMetrics",
    "go.opentelemetry.io/collector",
];
/// Whoever links this module is a Collector, whatever its own name: ocb gives each distribution its own.
const COLLECTOR: &str = "go.opentelemetry.io/collector/otelcol";

fn is_backend(build_info: &BuildInfo) -> bool {
    let main = build_info.main.as_ref().map(|module| module.path.as_str());
    let names = main.into_iter().chain(build_info.path.as_deref());
    let is_named = names.into_iter().any(|name| BACKENDS.iter().any(|backend| name.starts_with(backend)));
    is_named || build_info.module(COLLECTOR).is_some()
}

#[cfg(test)]
mod tests {
    use lightfoot_symbolizer::build_info::Module;

    use super::*;

    fn decide(selection: &Selection, ports: &[u16]) -> Option<Decision> {
        selection.before_inspection(
            42,
            Path::new("/srv/shop/server"),
            &ports.iter().copied().collect(),
            false,
        )
    }

    #[test]
    fn what_is_asked_for_is_watched_and_nothing_else() {
        let by_pid = Selection { pids: [42].into(), ..Selection::default() };
        assert_eq!(decide(&by_pid, &[]), Some(Decision::Watch(Rule::Pid)));
        let by_other_pid = Selection { pids: [43].into(), ..Selection::default() };
        assert_eq!(decide(&by_other_pid, &[]), Some(Decision::Leave(Rule::NotSelected)));
        let by_name = |pattern| Selection {
            executables: vec![Selection::executable(pattern).unwrap()],
            ..Selection::default()
        };
        for matching in ["server", "serv*", "/srv/*/server", "/srv/**"] {
            assert_eq!(
                decide(&by_name(matching), &[]),
                Some(Decision::Watch(Rule::Executable)),
                "{matching}"
            );
        }
        for other in ["srv", "shop", "/server", "server2"] {
            assert_eq!(decide(&by_name(other), &[]), Some(Decision::Leave(Rule::NotSelected)), "{other}");
        }
    }

    #[test]
    fn descendants_of_what_was_started_are_decided_about_like_any_program() {
        let selection = Selection { pids: [7].into(), ancestor: Some(7), ..Selection::default() };
        let path = Path::new("/srv/shop/server");
        let decide = |descends| selection.before_inspection(42, path, &HashSet::new(), descends);
        assert_eq!(decide(true), None);
        assert_eq!(decide(false), Some(Decision::Leave(Rule::NotSelected)));
    }

    #[test]
    fn a_port_may_still_be_opened() {
        let by_port = Selection { ports: [8080].into(), ..Selection::default() };
        assert_eq!(decide(&by_port, &[]), Some(Decision::Wait(Rule::NotSelected)));
        assert_eq!(decide(&by_port, &[8080, 9090]), Some(Decision::Watch(Rule::Port)));
    }

    #[test]
    fn whoever_receives_our_spans_is_left_alone_even_if_asked_for() {
        let selection = Selection { pids: [42].into(), export_port: Some(4317), ..Selection::default() };
        assert_eq!(decide(&selection, &[4317]), Some(Decision::Leave(Rule::ExportEndpoint)));
    }

    #[test]
    fn backends_are_known_by_main_module_package_or_what_they_link() {
        let module = |path: &str| Module { path: path.into(), version: String::new(), replaced_by: None };
        let by_module = BuildInfo { main: Some(module("github.com/grafana/tempo")), ..BuildInfo::default() };
        let by_package = BuildInfo {
            path: Some("github.com/jaegertracing/jaeger/cmd/jaeger".into()),
            ..BuildInfo::default()
        };
        let by_link = BuildInfo {
            main: Some(module("example.com/our-collector")),
            dependencies: vec![module(COLLECTOR)],
            ..BuildInfo::default()
        };
        for backend in [by_module, by_package, by_link] {
            assert_eq!(
                Selection::default().by_default(&backend),
                Decision::Leave(Rule::Backend),
                "{backend:?}"
            );
        }
        let shop = BuildInfo { main: Some(module("example.com/shop")), ..BuildInfo::default() };
        assert_eq!(Selection::default().by_default(&shop), Decision::Watch(Rule::Default));
    }
}
