//! Configuration of other agents made into a file of ours: of OBI and Beyla, files and variables, the variables of
//! opentelemetry-go-instrumentation, and the `Instrumentation` of the OpenTelemetry Operator.
//!
//! What is carried over means the same here. What cannot be is told, with the reason: a selector of which we understand a
//! part would choose more than was meant, and is left out whole. The text is as untrusted as a file of ours, and read by the
//! same parser with the same bounds.

use std::fmt::Write as _;

use globset::escape;
use serde_json::{Map, Value as Json, json};

use super::check::Mistake;
use super::document::{Entry, Node, Value};
use super::peers::{as_pattern, as_plain_pattern};
use super::schema::Setting;
use crate::discover::rules;

/// Where settings of others go, by their key in a file.
const KEYS: &[(&str, To)] = &[
    ("open_port", To::Port),
    ("executable_name", To::Expression),
    ("executable_path", To::Expression),
    ("auto_target_exe", To::Patterns),
    ("target_exe", To::Path),
    ("service_name", To::Name),
    ("service_namespace", To::Nowhere(NAMESPACE)),
    ("log_level", To::Lower("log.level")),
    (
        "trace_printer",
        To::Word("export.format", &[("text", "tree"), ("json", "json"), ("json_indent", "json")]),
    ),
    ("shutdown_timeout", To::Same("export.flush_timeout")),
    ("otel_traces_export.endpoint", To::Endpoint),
    ("otel_traces_export.protocol", To::Same("export.protocol")),
    ("otel_traces_export.sampler.name", To::Same("traces.sampler")),
    ("otel_traces_export.sampler.arg", To::Number("traces.ratio")),
    (
        "otel_traces_export.insecure_skip_verify",
        To::Nowhere("certificates are always verified; export.certificate names one to trust"),
    ),
    (
        "otel_traces_export",
        To::Nowhere("it has its own limits: see queue_spans and the like in `lightfoot config example`"),
    ),
    ("otel_metrics_export", To::Nowhere(METRICS)),
    ("prometheus_export", To::Nowhere(METRICS)),
    (
        "internal_metrics",
        To::Nowhere(
            "/metrics at the status socket, --status-listen and metrics.exporter tell of Lightfoot itself",
        ),
    ),
    ("profile_port", To::Nowhere("there is no such port; `lightfoot status` tells how it goes")),
    ("channel_buffer_len", To::Nowhere("see watching.ring_size_kib and export.queue_spans")),
    (
        "enforce_sys_caps",
        To::Nowhere("it always says which capabilities are missing, and ends only if nothing can be watched"),
    ),
    ("routes.ignored_patterns", To::LeftOutPaths),
    ("routes.patterns", To::Nowhere("routes are those that the program's router knows")),
    ("routes.unmatched", To::Nowhere("a request without a route has none: nothing is guessed from its path")),
    ("routes", To::Nowhere("it has no counterpart: routes are those that the program's router knows")),
    ("discovery.services", To::Selectors { is_expression: true, action: "watch" }),
    ("discovery.instrument", To::Selectors { is_expression: false, action: "watch" }),
    ("discovery.exclude_services", To::Selectors { is_expression: true, action: "leave" }),
    ("discovery.exclude_instrument", To::Selectors { is_expression: false, action: "leave" }),
    ("discovery.exclude_otel_instrumented_services", To::Switch("watching.sdk", ("both", "fill-gaps"))),
    ("discovery.poll_interval", To::Nowhere("the kernel tells of new processes at once")),
    ("discovery.min_process_age", To::Nowhere("the kernel tells of new processes at once")),
    ("discovery.skip_go_specific_tracers", To::Nowhere("Go is all that is watched")),
    ("discovery", To::Nowhere("see `match` in docs/choose-targets.md for what chooses processes")),
    (
        "ebpf.context_propagation",
        To::Word(
            "watching.propagate",
            &[("all", "true"), ("headers", "true"), ("http", "true"), ("disabled", "false")],
        ),
    ),
    ("ebpf.enable_context_propagation", To::Same("watching.propagate")),
    ("ebpf", To::Nowhere("its programs are others; `lightfoot config example` has what can be set")),
    (
        "attributes.kubernetes",
        To::Nowhere("spans have the names of pods where Kubernetes is asked: see kubernetes.mode"),
    ),
    (
        "attributes",
        To::Nowhere("spans have the attributes of the semantic conventions, and headers that a rule lists"),
    ),
    ("network", To::Nowhere("network flows are not watched")),
    ("stats", To::Nowhere("network flows are not watched")),
    ("filter", To::Nowhere("see leave_out_paths and spans of a rule; a Collector filters by attributes")),
    ("name_resolver", To::Nowhere("names are those that the program has called")),
    ("javaagent", To::Nowhere("Go is all that is watched")),
    ("nodejs", To::Nowhere("Go is all that is watched")),
    ("injector", To::Nowhere("Go is all that is watched, without an SDK")),
    ("spec.exporter.endpoint", To::Same("export.endpoint")),
    ("spec.sampler.type", To::Same("traces.sampler")),
    ("spec.sampler.argument", To::Number("traces.ratio")),
    ("spec.propagators", To::Nowhere("W3C `traceparent` and `tracestate` are read, and no other")),
    ("spec.resource", To::Nowhere("say it in OTEL_RESOURCE_ATTRIBUTES of the service's container")),
    ("spec.env", To::Nowhere("say it in `env` of the chart")),
    ("spec.go", To::Nowhere("say `env` and `resources` of the chart")),
    ("spec", To::Nowhere("Go is all that is watched, without a sidecar or an SDK")),
    ("apiVersion", To::Nowhere(RESOURCE)),
    ("kind", To::Nowhere(RESOURCE)),
    ("metadata", To::Nowhere(RESOURCE)),
    ("grafana", To::Nowhere("set export.endpoint and export.headers as its page on OTLP says")),
];

/// The same by the part of a variable's name behind `OTEL_EBPF_`, `BEYLA_` or `OTEL_GO_AUTO_`.
const VARIABLES: &[(&str, &str)] = &[
    ("OPEN_PORT", "open_port"),
    ("EXECUTABLE_NAME", "executable_name"),
    ("EXECUTABLE_PATH", "executable_path"),
    ("AUTO_TARGET_EXE", "auto_target_exe"),
    ("TARGET_EXE", "target_exe"),
    ("SERVICE_NAME", "service_name"),
    ("SERVICE_NAMESPACE", "service_namespace"),
    ("LOG_LEVEL", "log_level"),
    ("TRACE_PRINTER", "trace_printer"),
    ("SHUTDOWN_TIMEOUT", "shutdown_timeout"),
    ("BPF_CONTEXT_PROPAGATION", "ebpf.context_propagation"),
    ("BPF_ENABLE_CONTEXT_PROPAGATION", "ebpf.enable_context_propagation"),
    ("EXCLUDE_OTEL_INSTRUMENTED_SERVICES", "discovery.exclude_otel_instrumented_services"),
    ("PROMETHEUS_PORT", "prometheus_export.port"),
    ("KUBE_METADATA_ENABLE", "attributes.kubernetes.enable"),
    ("PROFILE_PORT", "profile_port"),
];
const PREFIXES: [&str; 3] = ["OTEL_EBPF_", "BEYLA_", "OTEL_GO_AUTO_"];

const RESOURCE: &str = "Lightfoot has no resource of Kubernetes: it is a file";
const NAMESPACE: &str = "say service.namespace=… in OTEL_RESOURCE_ATTRIBUTES of the service";
const METRICS: &str = "Lightfoot makes spans; a Collector with spanmetrics makes metrics of them";

/// What becomes of a setting.
#[derive(Clone, Copy)]
enum To {
    /// Nothing, for a reason.
    Nowhere(&'static str),
    /// The same under another key.
    Same(&'static str),
    /// In small letters.
    Lower(&'static str),
    /// As a number.
    Number(&'static str),
    /// One word for another.
    Word(&'static str, &'static [(&'static str, &'static str)]),
    /// One of two words, for false and true.
    Switch(&'static str, (&'static str, &'static str)),
    /// Where OBI and Beyla send spans: by gRPC if its port is the usual one of that and nothing else is said.
    Endpoint,
    /// Ports, paths and a name of the rule about what is chosen outside of lists.
    Port,
    Expression,
    Patterns,
    Path,
    Name,
    /// Paths without spans.
    LeftOutPaths,
    /// A list of rules, of which paths are regular expressions or patterns.
    Selectors {
        is_expression: bool,
        action: &'static str,
    },
}

/// A setting that has no counterpart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Where it stands, from 1.
    pub line: u64,
    /// What it is called there.
    pub key: String,
    /// Why it is not carried over.
    pub reason: String,
}

/// What became of a configuration.
#[derive(Debug, Default)]
pub struct Imported {
    /// The file.
    file: Map<String, Json>,
    /// What is chosen outside of lists.
    chosen: Map<String, Json>,
    named: Option<Json>,
    excluded: Vec<Json>,
    watched: Vec<Json>,
    left_out: Vec<Json>,
    /// Spans went by gRPC there, though nothing says so.
    guesses_grpc: bool,
    /// What is missing in it.
    pub left: Vec<Left>,
}

/// Reads a file of another agent, in YAML or with a variable a line.
///
/// # Errors
/// If it is neither.
pub fn read(text: &str) -> Result<Imported, Mistake> {
    let mut imported = Imported::default();
    match variables(text) {
        Some(variables) => {
            let is_said = |names: &[&str]| variables.iter().any(|(_, name, _)| names.contains(name));
            let is_of_obi = |name: &str| ["BEYLA_", "OTEL_EBPF_"].iter().any(|of| name.starts_with(of));
            let may_guess = variables.iter().any(|(_, name, _)| is_of_obi(name)) && !is_said(&PROTOCOLS);
            let last = |of: &str| {
                let mut said = variables.iter().rev();
                said.find(|(_, name, value)| *name == of && !value.is_empty()).map(|(.., value)| *value)
            };
            imported.guesses_grpc =
                may_guess && ENDPOINTS.into_iter().find_map(last).is_some_and(is_port_of_grpc);
            for (line, name, value) in variables {
                imported.variable(line, name, value);
            }
        }
        None => imported.section("", Node::parse(text)?.entries()),
    }
    let says_protocol = imported.file.get("export").is_some_and(|export| export.get("protocol").is_some());
    if imported.guesses_grpc && !says_protocol {
        imported.put("export.protocol", "grpc".into());
    }
    Ok(imported)
}

/// `guessProtocol` of OBI and Beyla (pkg/export/otel/traces.go) takes 14317 and the like as well.
fn is_port_of_grpc(endpoint: &str) -> bool {
    let port = endpoint.parse::<http::Uri>().ok().and_then(|uri| uri.port_u16());
    port.is_some_and(|port| port % 10_000 == 4317)
}

/// The variables of a file that has nothing else.
fn variables(text: &str) -> Option<Vec<(u64, &str, &str)>> {
    let lines = (1..).zip(text.lines()).map(|(line, text)| (line, text.trim()));
    let said = lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#'));
    let mut variables = Vec::new();
    for (line, text) in said {
        let (name, value) = text.strip_prefix("export ").unwrap_or(text).split_once('=')?;
        let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if name.is_empty() || !name.bytes().all(is_name) {
            return None;
        }
        let quoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        variables.push((line, name, quoted.unwrap_or(value)));
    }
    (!variables.is_empty()).then_some(variables)
}

impl Imported {
    /// A file that can be followed, with comments about what is missing in it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Left { line, key, reason } in &self.left {
            // Writing to a string does not fail. What came is quoted, so that it stays within the comment.
            let _ = writeln!(text, "# line {line}: {key:?} is not carried over: {reason}");
        }
        let mut file = self.file.clone();
        let rules = self.rules();
        if !rules.is_empty() {
            file.insert("rules".to_owned(), rules.into());
        }
        if !file.is_empty() {
            emit(&Json::Object(file), 0, &mut text);
        }
        text
    }

    fn rules(&self) -> Vec<Json> {
        let paths = (!self.left_out.is_empty()).then(|| json!({"leave_out_paths": self.left_out}));
        let mut chosen = Map::new();
        if !self.chosen.is_empty() {
            chosen.insert("match".to_owned(), self.chosen.clone().into());
            chosen.insert("action".to_owned(), "watch".into());
        }
        if let Some(name) = &self.named {
            chosen.insert("service_name".to_owned(), name.clone());
        }
        let chosen = (!chosen.is_empty()).then_some(Json::Object(chosen));
        let lists = self.excluded.iter().chain(&self.watched).cloned();
        lists.chain(chosen).chain(paths).collect()
    }

    fn leave(&mut self, line: u64, key: &str, reason: impl Into<String>) {
        self.left.push(Left { line, key: key.to_owned(), reason: reason.into() });
    }

    fn variable(&mut self, line: u64, name: &str, value: &str) {
        let text = |value: &str| Node { line, value: Value::Text(value.to_owned()) };
        let rest = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
        let known = VARIABLES.iter().find(|(of, _)| Some(*of) == rest);
        if let Some((_, key)) = known {
            self.setting(name, key, line, &text(value));
        } else if name == "OTEL_SERVICE_NAME" {
            self.setting(name, "service_name", line, &text(value));
        } else if Setting::all().iter().any(|setting| setting.variables().any(|of| of == name)) {
            self.leave(line, name, "the variable is understood as it is: keep it");
        } else {
            self.leave(line, name, "it is not known here");
        }
    }

    fn section(&mut self, before: &str, entries: &[Entry]) {
        for Entry { key, line, value } in entries {
            let path = if before.is_empty() { key.clone() } else { format!("{before}.{key}") };
            let is_inner =
                KEYS.iter().any(|(of, _)| of.strip_prefix(&path).is_some_and(|rest| rest.starts_with('.')));
            if is_inner && !value.entries().is_empty() {
                self.section(&path, value.entries());
            } else {
                self.setting(&path, &path, *line, value);
            }
        }
    }

    /// A setting that is called `said` there.
    fn setting(&mut self, said: &str, path: &str, line: u64, value: &Node) {
        // Of what has no line of its own, the section says why.
        let of = |path: &str| KEYS.iter().find(|(key, _)| *key == path).map(|(_, to)| *to);
        let above = || path.match_indices('.').rev().find_map(|(end, _)| of(path.get(..end)?));
        let Some(to) = of(path).or_else(above) else { return self.leave(line, said, "it is not known here") };
        let plain = plain(value);
        let text = plain_text(value);
        // They replace variables in a file before they read it.
        if text.contains("${") && !matches!(to, To::Nowhere(_)) {
            return self.leave(
                line,
                said,
                "it names a variable: write what that says, for none is replaced here",
            );
        }
        match to {
            To::Nowhere(reason) => self.leave(line, said, reason),
            To::Same(key) => self.put(key, plain),
            To::Endpoint => {
                self.guesses_grpc |= is_port_of_grpc(&text);
                self.put("export.endpoint", plain);
            }
            To::Lower(key) => self.put(key, text.to_lowercase().into()),
            To::Number(key) => match text.parse::<f64>() {
                Ok(number) => self.put(key, json!(number)),
                Err(_) => self.leave(line, said, "it is no number"),
            },
            To::Word(key, words) => match words.iter().find(|(word, _)| *word == text) {
                Some((_, word)) => {
                    self.put(key, word.parse::<bool>().map_or_else(|_| (*word).into(), Json::from));
                }
                None => self.leave(line, said, "there is no such thing here"),
            },
            To::Switch(key, (no, yes)) => self.put(key, if text == "true" { yes } else { no }.into()),
            To::Port => self.choose(line, said, "port", ports(&text)),
            To::Path => self.choose(line, said, "exe", Ok(vec![escape(&text)])),
            To::Expression => self.choose(line, said, "exe", expression(&text)),
            To::Patterns => {
                let patterns = text.split(',').map(|one| pattern(one.trim())).collect();
                self.choose(line, said, "exe", patterns);
            }
            To::Name => self.named = Some(text.into()),
            To::LeftOutPaths => {
                for path in value.items() {
                    let path = plain_text(path);
                    // A part of a path that has a name there is any part here.
                    let parts: Vec<_> = path
                        .split('/')
                        .map(|part| if part.starts_with([':', '{']) { "*" } else { part })
                        .collect();
                    self.left_out.push(parts.join("/").into());
                }
            }
            To::Selectors { is_expression, action } => {
                for selector in value.items() {
                    match rule(selector, is_expression, action) {
                        Ok(rule) if action == "leave" => self.excluded.push(rule),
                        Ok(rule) => self.watched.push(rule),
                        Err(reason) => self.leave(selector.line, said, reason),
                    }
                    let names = selector.entries().iter().filter(|entry| entry.key == "namespace");
                    names.for_each(|entry| self.leave(entry.line, "namespace", NAMESPACE));
                }
            }
        }
    }

    fn choose(&mut self, line: u64, said: &str, key: &str, texts: Result<Vec<String>, String>) {
        match texts {
            Ok(texts) => {
                let all = self.chosen.entry(key).or_insert_with(|| json!([]));
                all.as_array_mut()
                    .into_iter()
                    .for_each(|all| all.extend(texts.iter().cloned().map(Json::from)));
            }
            Err(reason) => self.leave(line, said, reason),
        }
    }

    fn put(&mut self, key: &str, value: Json) {
        let Some((section, name)) = key.split_once('.') else { return };
        let section = self.file.entry(section).or_insert_with(|| json!({}));
        if let Some(section) = section.as_object_mut() {
            section.insert(name.to_owned(), value);
        }
    }
}

/// Variables that are followed as they are, of which a guess is made there. The first goes before the second.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

/// What is asked of pods, there and in `match.kubernetes` here.
const OF_PODS: &[(&str, &str)] = &[
    ("k8s_namespace", "namespace"),
    ("k8s_pod_name", "pod"),
    ("k8s_container_name", "container"),
    ("k8s_owner_name", "owner"),
    ("k8s_deployment_name", "deployment"),
    ("k8s_replicaset_name", "replicaset"),
    ("k8s_statefulset_name", "statefulset"),
    ("k8s_daemonset_name", "daemonset"),
    ("k8s_cronjob_name", "cronjob"),
    ("k8s_job_name", "job"),
    ("k8s_pod_labels", "labels"),
    ("k8s_pod_annotations", "annotations"),
];

/// A rule of ours, unless something is asked that we cannot tell of a process.
fn rule(selector: &Node, is_expression: bool, action: &str) -> Result<Json, String> {
    let (mut matching, mut name, mut pod) = (Map::new(), None, Map::new());
    for Entry { key, value, .. } in selector.entries() {
        let text = plain_text(value);
        let path =
            |text: &str| if is_expression { expression(text) } else { pattern(text).map(|one| vec![one]) };
        if let Some((_, key)) = OF_PODS.iter().find(|(of, _)| of == key) {
            let of = |text: &str| {
                if is_expression {
                    plain_expression(text)
                } else {
                    rules::pattern(text).map(|_| text.to_owned())
                }
            };
            let asked = match value.entries() {
                [] => json!([of(&text)?]),
                entries => {
                    let each = entries
                        .iter()
                        .map(|entry| Ok((entry.key.clone(), json!([of(&plain_text(&entry.value))?]))));
                    Json::Object(each.collect::<Result<_, String>>()?)
                }
            };
            // A map where a text belongs, or the other way round, would be a file that cannot be followed.
            if asked.is_object() != matches!(*key, "labels" | "annotations") {
                return Err(format!("{key:?} is not said as it would have to be"));
            }
            pod.insert((*key).to_owned(), asked);
            continue;
        }
        let (key, texts) = match key.as_str() {
            "name" => {
                name = Some(text);
                continue;
            }
            "containers_only" if text == "true" => ("container", vec!["*".to_owned()]),
            "namespace" | "containers_only" => continue,
            "languages" if text.contains("go") || text == "*" => continue,
            "open_ports" => ("port", ports(&text)?),
            "exe_path" | "exe_path_regexp" => ("exe", path(&text)?),
            "cmd_args" if !is_expression => ("command_line", vec![text]),
            other => {
                return Err(format!(
                    "{other:?} is nothing that chooses processes here, and without it more would be chosen"
                ));
            }
        };
        matching.insert(key.to_owned(), texts.into());
    }
    if !pod.is_empty() {
        matching.insert("kubernetes".to_owned(), pod.into());
    }
    if matching.is_empty() {
        return Err("nothing in it chooses processes".to_owned());
    }
    let mut rule = Map::new();
    rule.insert("match".to_owned(), matching.into());
    rule.insert("action".to_owned(), action.into());
    rule.extend(name.map(|name| ("service_name".to_owned(), name.into())));
    Ok(rule.into())
}

fn ports(text: &str) -> Result<Vec<String>, String> {
    let ports = text.split(',').map(str::trim).filter(|port| !port.is_empty());
    ports.map(|port| rules::port_range(port).map(|_| port.to_owned())).collect()
}

fn expression(text: &str) -> Result<Vec<String>, String> {
    let pattern = as_pattern(text).ok_or_else(|| {
        format!("{text:?} is more of a regular expression than is understood; write patterns")
    })?;
    rules::executable(&pattern).map(|_| vec![pattern])
}

fn plain_expression(text: &str) -> Result<String, String> {
    as_plain_pattern(text)
        .ok_or_else(|| format!("{text:?} is more of a regular expression than is understood; write patterns"))
}

/// Theirs are about the whole path; ours, without a slash, about its last part.
fn pattern(text: &str) -> Result<String, String> {
    let pattern = if text.contains('/') { text.to_owned() } else { format!("**/{text}") };
    rules::executable(&pattern).map(|_| pattern)
}

fn plain_text(node: &Node) -> String {
    let plain = plain(node);
    plain.as_str().map_or_else(|| plain.to_string(), str::to_owned)
}

/// As JSON, with lists of one line joined by commas.
fn plain(node: &Node) -> Json {
    match &node.value {
        Value::Nothing => Json::Null,
        Value::Boolean(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Float(value) => json!(value),
        Value::Text(text) => text.clone().into(),
        Value::List(nodes) => nodes.iter().map(plain_text).collect::<Vec<_>>().join(",").into(),
        Value::Map(entries) => {
            entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>().join(",").into()
        }
    }
}

/// YAML, with scalars as JSON has them, which YAML takes.
fn emit(value: &Json, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    let entries = value.as_object().into_iter().flatten();
    for (number, (key, value)) in entries.enumerate() {
        // The first key of a rule stands behind its dash.
        let indent = if number == 0 && text.ends_with("- ") { "" } else { &indent };
        // Names of labels come from elsewhere.
        let is_plain = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let key = if is_plain { key.clone() } else { json!(key).to_string() };
        let _ = write!(text, "{indent}{key}:");
        match value {
            Json::Object(_) => {
                text.push('\n');
                emit(value, depth + 1, text);
            }
            Json::Array(items) if items.iter().any(Json::is_object) => {
                text.push('\n');
                for item in items {
                    let _ = write!(text, "{}- ", "  ".repeat(depth));
                    emit(item, depth + 1, text);
                }
            }
            _ => {
                let _ = writeln!(text, " {value}");
            }
        }
    }
}

#[cfg(test)]
mod tests;
