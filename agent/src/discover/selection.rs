//! The rules that choose among processes.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use globset::GlobMatcher;
use lightfoot_symbolizer::build_info::BuildInfo;

use super::Facts;
use super::rules::{Action, Rules, Verdict};
use crate::kubernetes::Directory;

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
    /// Never watch whoever listens here: it receives our own spans. Empty if that is not on this host.
    pub endpoint: Vec<SocketAddr>,
    /// What the configuration says of whatever is not asked for above.
    pub rules: Rules,
    /// What is known of pods, if Kubernetes is asked.
    pub pods: Option<Directory>,
    /// What is left alone for now, whatever else is said.
    pub paused: Paused,
}

/// What is left alone for now.
#[derive(Clone, Debug, Default)]
pub enum Paused {
    /// Nothing.
    #[default]
    Nothing,
    /// Programs whose path matches one of these.
    Executables(Vec<GlobMatcher>),
    /// Everything.
    Everything,
}

impl Paused {
    /// Whether a program is.
    pub fn has(&self, path: &Path) -> bool {
        match self {
            Self::Nothing => false,
            Self::Executables(patterns) => patterns.iter().any(|pattern| pattern.is_match(path)),
            Self::Everything => true,
        }
    }
}

/// Whether to watch a process, and the rule that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Watch it.
    Watch(Rule),
    /// Leave it alone.
    Leave(Rule),
    /// Leave it for now; whether it listens on a port, or what is known of its pod, may change.
    Wait(Rule),
}

/// A rule of selection; its text is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `--pid`, or the command that was started under watch.
    Pid,
    /// `--exe`.
    Executable,
    /// `--port`.
    Port,
    /// One of the configuration, by its number and name.
    OfFile(Arc<str>),
    /// Nothing was asked for, and it serves HTTP.
    Default,
    /// A rule may be about it, and more of its pod must be known to tell.
    PodUnknown,
    /// It is paused.
    Paused,
    /// It receives our spans.
    ExportEndpoint,
    /// It is a telemetry backend.
    Backend,
    /// Something else was asked for.
    NotSelected,
    /// Nothing was asked for, and it serves nothing.
    NoServer,
}

impl Rule {
    /// Whether someone named the very process or program: what becomes of it is told.
    pub fn is_explicit(&self) -> bool {
        matches!(self, Self::Pid | Self::Executable | Self::Port)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OfFile(label) => return write!(f, "{label}"),
            Self::Pid => "asked for by its number",
            Self::Executable => "its path matches --exe",
            Self::Port => "it listens on a --port",
            Self::Default => "a Go program that serves HTTP",
            Self::PodUnknown => "a rule asks for what is not known of its pod",
            Self::Paused => "it is paused",
            Self::ExportEndpoint => "it listens where spans are sent to",
            Self::Backend => "a telemetry backend; --pid, --exe or a rule watches it all the same",
            Self::NotSelected => "not what was asked for",
            Self::NoServer => "no Go program that serves HTTP or gRPC",
        })
    }
}

impl Selection {
    /// The TCP ports that flags and rules name.
    pub(super) fn relevant_ports(&self) -> HashSet<u16> {
        self.ports.iter().copied().chain(self.rules.ports()).collect()
    }

    /// Whether it decides anything where a process listens.
    pub fn depends_on_sockets(&self) -> bool {
        !(self.ports.is_empty() && self.endpoint.is_empty()) || self.rules.depend_on_ports()
    }

    /// Decides by what is cheap to know, before the program's file is read: `None` if that takes more.
    pub fn before_inspection(&self, facts: &Facts<'_>) -> Option<Decision> {
        let Facts { pid, path, listening, descends, .. } = *facts;
        if self.paused.has(path) {
            return Some(Decision::Leave(Rule::Paused));
        }
        let explicit = [
            (self.pids.contains(&pid), Rule::Pid),
            (self.executables.iter().any(|pattern| pattern.is_match(path)), Rule::Executable),
            (!self.ports.is_disjoint(&listening.ports), Rule::Port),
        ];
        let chosen = explicit.into_iter().find(|(applies, _)| *applies);
        let may_be_wanted = chosen.is_some() || descends || !self.is_explicit();
        if may_be_wanted && listening.is_endpoint {
            return Some(Decision::Leave(Rule::ExportEndpoint));
        }
        match chosen {
            Some((_, rule)) => Some(Decision::Watch(rule)),
            None if descends => None,
            None if !self.ports.is_empty() => Some(Decision::Wait(Rule::NotSelected)),
            None if self.is_explicit() => Some(Decision::Leave(Rule::NotSelected)),
            None => self.by_rules(facts),
        }
    }

    fn by_rules(&self, facts: &Facts<'_>) -> Option<Decision> {
        let Verdict { decided, may_watch, may_change } = self.rules.verdict(facts);
        if let Some(label) = may_watch {
            return Some(Decision::Watch(Rule::OfFile(label)));
        }
        let rule = match decided {
            Some((Action::Watch, label)) => return Some(Decision::Watch(Rule::OfFile(label))),
            Some((Action::Leave, label)) => Rule::OfFile(label),
            None if self.rules.others() == Action::Watch => return None,
            None => Rule::NotSelected,
        };
        Some(if may_change { Decision::Wait(rule) } else { Decision::Leave(rule) })
    }

    /// Whether rules might decide otherwise once the process listens on another port.
    pub(super) fn may_change(&self, facts: &Facts<'_>) -> bool {
        self.rules.verdict(facts).may_change
    }

    /// Decides where nothing was asked for, and about descendants.
    pub fn by_default(&self, build_info: &BuildInfo) -> Decision {
        if is_backend(build_info) { Decision::Leave(Rule::Backend) } else { Decision::Watch(Rule::Default) }
    }

    /// Decides once it is known whether it can be watched: then what it was built from, and whether it is a server.
    pub fn after_inspection(&self, early: Option<Decision>, found: Option<(&BuildInfo, bool)>) -> Decision {
        match (early, found) {
            (Some(decision), _) => decision,
            (None, Some((build_info, true))) => self.by_default(build_info),
            // Nobody asked for it; that most programs are not Go's, or serve nothing, is no news.
            (None, _) => Decision::Leave(Rule::NoServer),
        }
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
    use std::path::Path;

    use lightfoot_symbolizer::build_info::Module;

    use super::*;
    use crate::discover::rules::{self, Match, SpanKind, Text, executable};
    use crate::discover::{Details, Listening};

    fn decide(selection: &Selection, ports: &[u16]) -> Option<Decision> {
        decide_with(selection, ports, false, &Details::default())
    }

    fn decide_with(
        selection: &Selection,
        ports: &[u16],
        descends: bool,
        details: &Details,
    ) -> Option<Decision> {
        let listening = &Listening { ports: ports.iter().copied().collect(), is_endpoint: false };
        let path = Path::new("/srv/shop/server");
        selection.before_inspection(&Facts { pid: 42, path, listening, descends, details })
    }

    #[test]
    fn what_is_asked_for_is_watched_and_nothing_else() {
        let by_pid = Selection { pids: [42].into(), ..Selection::default() };
        assert_eq!(decide(&by_pid, &[]), Some(Decision::Watch(Rule::Pid)));
        let by_other_pid = Selection { pids: [43].into(), ..Selection::default() };
        assert_eq!(decide(&by_other_pid, &[]), Some(Decision::Leave(Rule::NotSelected)));
        let by_name =
            |pattern| Selection { executables: vec![executable(pattern).unwrap()], ..Selection::default() };
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

    /// Nobody is told of a Collector about which nothing was asked.
    #[test]
    fn whoever_receives_the_spans_is_left_for_that_only_if_it_may_be_wanted() {
        let of = |pids: &[u32]| Selection { pids: pids.iter().copied().collect(), ..Selection::default() };
        let (path, details) = (Path::new("/srv/shop/collector"), &Details::default());
        let listening = &Listening { is_endpoint: true, ..Listening::default() };
        let facts = Facts { pid: 42, path, listening, descends: false, details };
        let decide = |selection: Selection| selection.before_inspection(&facts);
        assert_eq!(decide(of(&[42])), Some(Decision::Leave(Rule::ExportEndpoint)));
        assert_eq!(decide(of(&[])), Some(Decision::Leave(Rule::ExportEndpoint)));
        assert_eq!(decide(of(&[7])), Some(Decision::Leave(Rule::NotSelected)));
    }

    #[test]
    fn what_is_paused_is_left_alone_even_if_asked_for() {
        let paused = |paused| Selection { pids: [42].into(), paused, ..Selection::default() };
        let of = |pattern| Paused::Executables(vec![executable(pattern).unwrap()]);
        assert_eq!(decide(&paused(Paused::Everything), &[]), Some(Decision::Leave(Rule::Paused)));
        assert_eq!(decide(&paused(of("server")), &[]), Some(Decision::Leave(Rule::Paused)));
        for other in [of("other"), Paused::Nothing] {
            assert_eq!(decide(&paused(other), &[]), Some(Decision::Watch(Rule::Pid)));
        }
    }

    #[test]
    fn descendants_of_what_was_started_are_decided_about_like_any_program() {
        let selection = Selection { pids: [7].into(), ancestor: Some(7), ..Selection::default() };
        let decide = |descends| decide_with(&selection, &[], descends, &Details::default());
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

    fn rule(action: Option<Action>, matching: Match) -> rules::Rule {
        rules::Rule { matching, action, ..rules::Rule::default() }
    }

    fn ruled(rules: &[rules::Rule]) -> Selection {
        Selection { rules: Rules::new(rules, None).unwrap(), ..Selection::default() }
    }

    fn texts(texts: &[&str]) -> Vec<Text> {
        texts.iter().map(|text| Text((*text).to_owned())).collect()
    }

    fn by_rule(number: usize) -> Rule {
        Rule::OfFile(format!("rule {number} of the configuration").into())
    }

    #[test]
    fn the_first_rule_that_matches_and_has_an_action_decides() {
        let exe = |pattern| Match { exe: Some(texts(&[pattern])), ..Match::default() };
        let (watch, leave) = (Some(Action::Watch), Some(Action::Leave));
        let decide = |rules: &[rules::Rule]| decide(&ruled(rules), &[]);
        let all = |action| rule(action, Match::default());
        assert_eq!(decide(&[all(None)]), None, "it says nothing of that");
        assert_eq!(
            decide(&[all(None), rule(leave, exe("serv*")), all(watch)]),
            Some(Decision::Leave(by_rule(2)))
        );
        assert_eq!(decide(&[rule(leave, exe("other")), all(watch)]), Some(Decision::Watch(by_rule(2))));
        assert_eq!(decide(&[rule(leave, exe("other"))]), None, "only what is left is said");
        assert_eq!(
            decide(&[rule(watch, exe("other"))]),
            Some(Decision::Leave(Rule::NotSelected)),
            "what is asked for is all there is"
        );
    }

    #[test]
    fn everything_that_a_rule_asks_for_must_hold_and_one_of_each_list() {
        let details = Details {
            command_line: "server --port 80".into(),
            container: Some("4f5c".repeat(16)),
            user: Some(33),
            pod: None,
            environment: [("TIER".to_owned(), "front-1".to_owned())].into(),
        };
        let all = Match {
            exe: Some(texts(&["x", "/srv/**"])),
            command_line: Some(texts(&["*--port 80*"])),
            port: Some(texts(&["80", "8000-8100"])),
            container: Some(texts(&["4f5c*"])),
            user: Some(texts(&["no-such-user", "33"])),
            environment: Some(texts(&["TIER=front*"])),
            kubernetes: None,
        };
        let is_watched = |matching: Match| {
            let selection = ruled(&[rule(Some(Action::Watch), matching)]);
            decide_with(&selection, &[8080], false, &details) == Some(Decision::Watch(by_rule(1)))
        };
        assert!(is_watched(all.clone()));
        let others = [
            Match { exe: Some(texts(&["x"])), ..all.clone() },
            Match { command_line: Some(texts(&["--port 80"])), ..all.clone() },
            Match { port: Some(texts(&["80"])), ..all.clone() },
            Match { container: Some(texts(&["5c4f*"])), ..all.clone() },
            Match { user: Some(texts(&["34"])), ..all.clone() },
            Match { environment: Some(texts(&["TIER=back*"])), ..all.clone() },
            Match { environment: Some(texts(&["OTHER"])), ..all.clone() },
        ];
        for other in others {
            assert!(!is_watched(other.clone()), "{other:?}");
        }
        assert!(is_watched(Match { environment: Some(texts(&["TIER"])), ..all }));
    }

    #[test]
    fn a_port_of_a_rule_may_still_be_opened() {
        let port = Match { port: Some(texts(&["8080"])), ..Match::default() };
        let selection = ruled(&[rule(Some(Action::Watch), port)]);
        assert_eq!(decide(&selection, &[]), Some(Decision::Wait(Rule::NotSelected)));
        assert_eq!(decide(&selection, &[8080]), Some(Decision::Watch(by_rule(1))));
        assert_eq!(selection.relevant_ports(), [8080].into());
        // Even if a rule further down decides until then.
        let port = Match { port: Some(texts(&["8080"])), ..Match::default() };
        let rules = [rule(Some(Action::Watch), port), rule(Some(Action::Leave), Match::default())];
        assert_eq!(decide(&ruled(&rules), &[]), Some(Decision::Wait(by_rule(2))));
        assert_eq!(decide(&ruled(&rules), &[8080]), Some(Decision::Watch(by_rule(1))));
    }

    #[test]
    fn flags_are_above_rules() {
        let leave = rule(Some(Action::Leave), Match::default());
        let selection = Selection { pids: [42].into(), ..ruled(&[leave]) };
        assert_eq!(decide(&selection, &[]), Some(Decision::Watch(Rule::Pid)));
    }

    #[test]
    fn of_each_setting_the_first_rule_that_has_it_holds() {
        let named = |name: &str| rules::Rule { service_name: Some(name.into()), ..rules::Rule::default() };
        let paths = rules::Rule {
            name: Some("health".into()),
            leave_out_paths: Some(vec!["/health*".into(), "/internal/**".into()]),
            ..rules::Rule::default()
        };
        let propagate = |propagate| rules::Rule { propagate: Some(propagate), ..rules::Rule::default() };
        let rules = [paths, named("shop"), named("other"), propagate(false), propagate(true)];
        let selection = ruled(&rules);
        let (path, listening) = (Path::new("/srv/shop/server"), &Listening::default());
        let facts = Facts { pid: 42, path, listening, descends: false, details: &Details::default() };
        let treatment = selection.rules.treatment(&facts);
        assert_eq!(treatment.service_name, Some(("shop".into(), "rule 2 of the configuration".into())));
        assert_eq!(treatment.propagates(), Some(false));
        assert_eq!(ruled(&rules[..3]).rules.treatment(&facts).propagates(), None);
        for (spans, propagates) in [
            (vec![SpanKind::HttpClient, SpanKind::GrpcClient], true),
            (vec![SpanKind::HttpClient], false),
            (vec![SpanKind::HttpServer], false),
        ] {
            let of_kind = rules::Rule { spans: Some(spans), propagate: Some(true), ..rules::Rule::default() };
            assert_eq!(ruled(&[of_kind]).rules.treatment(&facts).propagates(), Some(propagates));
        }
        let cases = [("/healthz", true), ("/health/x", false), ("/internal/a/b", true), ("/", false)];
        for (path, left_out) in cases {
            assert_eq!(treatment.leaves_out(SpanKind::HttpServer, Some(path)), left_out, "{path}");
        }
        assert!(!treatment.leaves_out(SpanKind::HttpClient, None));
    }
}
