//! The rules of the configuration: which processes they match, and what they say of these.
//!
//! Rules stand in an order. Of those that match a process, the first that says something about a thing holds for that
//! thing: the first with an action decides, the first with a name gives the name.

use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use globset::{Glob, GlobBuilder, GlobMatcher};
use nix::unistd::User;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use super::Facts;
use super::headers::{MAX_HEADERS, header};
use super::pods::{PodMatch, PodPatterns};

/// At most so many rules, and patterns of one.
pub const MAX_RULES: usize = 256;

/// A rule of the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// What it is called where it is spoken of; its number if not said
    pub name: Option<String>,
    /// Which processes it is about; all if not said
    #[serde(rename = "match")]
    pub matching: Match,
    /// Whether to watch these; a rule without an action leaves that to others
    pub action: Option<Action>,
    /// What the service is called, whatever it says itself
    pub service_name: Option<String>,
    /// Requests whose path matches have no span, as those of health checks: `*` is within a part of a path, `**` any parts
    #[schemars(schema_with = "path_patterns")]
    pub leave_out_paths: Option<Vec<String>>,
    /// Which spans there are; all if not said
    pub spans: Option<Vec<SpanKind>>,
    /// Headers of served HTTP requests whose values spans have, by name; none if not said
    #[schemars(schema_with = "header_names")]
    pub headers: Option<Vec<String>>,
    /// Whether client.address is whom proxies have forwarded a request for, by Forwarded or X-Forwarded-For, which anybody can
    /// send; not if not said
    pub forwarded: Option<bool>,
    /// Whether the header traceparent is added to what clients send, as `propagate` in `watching` says of all; whatever that says if
    /// not said
    pub propagate: Option<bool>,
}

/// What a process must be. Of each list one must hold, and all lists that are given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// Patterns of the program's path; without a slash, of its last part
    #[schemars(schema_with = "patterns")]
    pub exe: Option<Vec<Text>>,
    /// Patterns of its arguments, joined by spaces
    #[schemars(schema_with = "patterns")]
    pub command_line: Option<Vec<Text>>,
    /// TCP ports that it listens on, as 8080 or 8000-8100
    #[schemars(schema_with = "ports")]
    pub port: Option<Vec<Text>>,
    /// Patterns of its container's id, as 4f5c*
    #[schemars(schema_with = "patterns")]
    pub container: Option<Vec<Text>>,
    /// Names or numbers of users that it runs as
    #[schemars(schema_with = "users")]
    pub user: Option<Vec<Text>>,
    /// Variables that it was started with, as TIER or TIER=front*
    #[schemars(schema_with = "variables")]
    pub environment: Option<Vec<Text>>,
    /// What its pod must be; the rule is about processes of pods alone then
    pub kubernetes: Option<PodMatch>,
}

/// What to do with a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Watch it
    Watch,
    /// Leave it alone
    Leave,
}

/// What a span is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SpanKind {
    /// A request that was served
    HttpServer,
    /// A request that was sent
    HttpClient,
    /// A call that was served
    GrpcServer,
    /// A call that was made
    GrpcClient,
}

/// A text, or a number that is meant as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Text(pub String);

/// Rules that can be applied.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Compiled>,
    /// What becomes of those that no rule decides about.
    others: Option<Action>,
}

/// A rule and what it was made of.
#[derive(Clone, Debug)]
struct Compiled {
    label: Arc<str>,
    exe: Option<Vec<GlobMatcher>>,
    command_line: Option<Vec<GlobMatcher>>,
    ports: Option<Vec<RangeInclusive<u16>>>,
    container: Option<Vec<GlobMatcher>>,
    users: Option<Vec<u32>>,
    environment: Option<Vec<(String, Option<GlobMatcher>)>>,
    pod: Option<PodPatterns>,
    action: Option<Action>,
    service_name: Option<String>,
    left_out: Option<Vec<GlobMatcher>>,
    spans: Option<Vec<SpanKind>>,
    headers: Option<Vec<String>>,
    forwarded: Option<bool>,
    propagate: Option<bool>,
}

/// What rules say of the spans of a process.
#[derive(Clone, Debug, Default)]
pub struct Treatment {
    /// What the service is called, and the rule that says so.
    pub service_name: Option<(String, Arc<str>)>,
    left_out: Vec<GlobMatcher>,
    spans: Option<Vec<SpanKind>>,
    /// The headers of served requests whose values spans have, as Go spells their names.
    pub headers: Vec<String>,
    /// Whether what proxies have written is believed.
    pub forwarded: bool,
    propagate: Option<bool>,
}

/// How the rules see a process.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    /// What is to be done, and the rule that says so.
    pub(super) decided: Option<(Action, Arc<str>)>,
    /// A rule that has it watched if it matches, and decides first then: that depends on what is not known of its pod.
    pub(super) may_watch: Option<Arc<str>>,
    /// Whether another rule might decide once the process listens on another port.
    pub(super) may_change: bool,
}

impl Rules {
    /// Rules in their order.
    ///
    /// # Errors
    /// Where a pattern is none, which [`pattern`], [`port_range`] and [`variable`] tell before.
    pub fn new(rules: &[Rule], others: Option<Action>) -> Result<Self, String> {
        let rules = rules.iter().enumerate().map(|(index, rule)| Compiled::new(index, rule));
        Ok(Self { rules: rules.collect::<Result<_, _>>()?, others })
    }

    /// The same with another rule before them, that is called so.
    ///
    /// # Errors
    /// As [`Rules::new`].
    pub fn after(mut self, label: &str, rule: &Rule) -> Result<Self, String> {
        self.rules.insert(0, Compiled { label: label.into(), ..Compiled::new(0, rule)? });
        Ok(self)
    }

    /// The ports that any rule asks for.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        self.rules.iter().filter_map(|rule| rule.ports.as_ref()).flatten().cloned().flatten()
    }

    /// Whether a process may be seen otherwise when it listens on another port.
    pub fn depend_on_ports(&self) -> bool {
        self.rules.iter().any(|rule| rule.ports.is_some())
    }

    /// Whether any is about the pods of processes.
    pub fn ask_for_pods(&self) -> bool {
        self.rules.iter().any(|rule| rule.pod.is_some())
    }

    /// Whether any has trace contexts added to what is sent.
    pub fn ask_to_propagate(&self) -> bool {
        self.rules.iter().any(|rule| rule.propagate == Some(true))
    }

    /// What must be known of a process besides its path and ports.
    pub(super) fn needs(&self) -> Needs {
        let any = |of: fn(&Compiled) -> bool| self.rules.iter().any(of);
        let variables = self.rules.iter().filter_map(|rule| rule.environment.as_ref()).flatten();
        Needs {
            command_line: any(|rule| rule.command_line.is_some()),
            container: any(|rule| rule.container.is_some()),
            pod: self.ask_for_pods(),
            user: any(|rule| rule.users.is_some()),
            variables: variables.map(|(name, _)| name.clone()).collect(),
        }
    }

    /// What becomes of a process that no rule decides about: what rules ask for is all there is, unless said otherwise.
    pub(super) fn others(&self) -> Action {
        let asks = self.rules.iter().any(|rule| rule.action == Some(Action::Watch));
        self.others.unwrap_or(if asks { Action::Leave } else { Action::Watch })
    }

    pub(super) fn verdict(&self, facts: &Facts<'_>) -> Verdict {
        let mut verdict = Verdict { decided: None, may_watch: None, may_change: false };
        for (rule, action) in self.rules.iter().filter_map(|rule| Some((rule, rule.action?))) {
            match rule.matches(facts) {
                Some(true) => {
                    verdict.decided = Some((action, Arc::clone(&rule.label)));
                    break;
                }
                None if action == Action::Watch && verdict.may_watch.is_none() => {
                    verdict.may_watch = Some(Arc::clone(&rule.label));
                }
                _ => {}
            }
            verdict.may_change |= rule.ports.is_some() && rule.matches_but_ports(facts) != Some(false);
        }
        verdict
    }

    /// Whether a rule may be about a process, and say something of it: that depends on what is not known of its pod. Of one that is
    /// decided about already, what else they say.
    pub(super) fn await_pod(&self, facts: &Facts<'_>, mut is_decided: bool) -> bool {
        for rule in &self.rules {
            match rule.matches(facts) {
                None if rule.treats() || (rule.action.is_some() && !is_decided) => return true,
                Some(true) => is_decided |= rule.action.is_some(),
                _ => {}
            }
        }
        false
    }

    /// What becomes of the spans of a process.
    pub fn treatment(&self, facts: &Facts<'_>) -> Treatment {
        let matching: Vec<_> = self.rules.iter().filter(|rule| rule.matches(facts) == Some(true)).collect();
        let name = |rule: &&Compiled| Some((rule.service_name.clone()?, Arc::clone(&rule.label)));
        Treatment {
            service_name: matching.iter().find_map(name),
            left_out: matching.iter().find_map(|rule| rule.left_out.clone()).unwrap_or_default(),
            spans: matching.iter().find_map(|rule| rule.spans.clone()),
            headers: matching.iter().find_map(|rule| rule.headers.clone()).unwrap_or_default(),
            forwarded: matching.iter().find_map(|rule| rule.forwarded).unwrap_or(false),
            propagate: matching.iter().find_map(|rule| rule.propagate),
        }
    }
}

/// What is to be found out about processes, for some rule asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a need of its own")]
pub struct Needs {
    pub(super) command_line: bool,
    pub(super) container: bool,
    pub(super) pod: bool,
    pub(super) user: bool,
    pub(super) variables: HashSet<String>,
}

impl Compiled {
    fn new(index: usize, rule: &Rule) -> Result<Self, String> {
        let label = match &rule.name {
            Some(name) => format!("rule {} ({name}) of the configuration", index + 1),
            None => format!("rule {} of the configuration", index + 1),
        };
        let of = &rule.matching;
        let users = |names: &[Text]| names.iter().filter_map(|name| user(&name.0)).collect();
        Ok(Self {
            label: label.into(),
            exe: each(of.exe.as_ref(), executable)?,
            command_line: each(of.command_line.as_ref(), pattern)?,
            ports: each(of.port.as_ref(), port_range)?,
            container: each(of.container.as_ref(), pattern)?,
            users: of.user.as_deref().map(users),
            environment: each(of.environment.as_ref(), variable)?,
            pod: of.kubernetes.as_ref().map(PodPatterns::new).transpose()?,
            action: rule.action,
            service_name: rule.service_name.clone(),
            left_out: match &rule.leave_out_paths {
                Some(paths) => Some(paths.iter().map(|path| path_pattern(path)).collect::<Result<_, _>>()?),
                None => None,
            },
            spans: rule.spans.clone(),
            headers: match &rule.headers {
                Some(names) => Some(names.iter().map(|name| header(name)).collect::<Result<_, _>>()?),
                None => None,
            },
            forwarded: rule.forwarded,
            propagate: rule.propagate,
        })
    }

    /// `None` where that depends on what is not known of the pod.
    fn matches(&self, facts: &Facts<'_>) -> Option<bool> {
        let port =
            |ports: &RangeInclusive<u16>| facts.listening.ports.iter().any(|port| ports.contains(port));
        if holds(self.ports.as_ref(), port) { self.matches_but_ports(facts) } else { Some(false) }
    }

    fn matches_but_ports(&self, facts: &Facts<'_>) -> Option<bool> {
        if !self.matches_but_ports_and_pod(facts) {
            return Some(false);
        }
        self.pod.as_ref().map_or(Some(true), |pod| pod.match_pod(facts.details.pod.as_ref()))
    }

    /// Whether it says anything of spans.
    fn treats(&self) -> bool {
        self.service_name.is_some()
            || self.left_out.is_some()
            || self.spans.is_some()
            || self.headers.is_some()
            || self.forwarded.is_some()
            || self.propagate.is_some()
    }

    fn matches_but_ports_and_pod(&self, facts: &Facts<'_>) -> bool {
        let details = facts.details;
        let variable = |(name, pattern): &(String, Option<GlobMatcher>)| {
            let value = details.environment.get(name);
            value.is_some_and(|value| pattern.as_ref().is_none_or(|pattern| pattern.is_match(value)))
        };
        let container =
            |pattern: &GlobMatcher| details.container.as_ref().is_some_and(|id| pattern.is_match(id));
        holds(self.exe.as_ref(), |pattern| pattern.is_match(facts.path))
            && holds(self.command_line.as_ref(), |pattern| pattern.is_match(&details.command_line))
            && holds(self.container.as_ref(), container)
            && holds(self.users.as_ref(), |user| details.user == Some(*user))
            && holds(self.environment.as_ref(), variable)
    }
}

fn holds<T>(any: Option<&Vec<T>>, of: impl Fn(&T) -> bool) -> bool {
    any.is_none_or(|any| any.iter().any(of))
}

pub(super) fn each<T>(
    texts: Option<&Vec<Text>>,
    read: fn(&str) -> Result<T, String>,
) -> Result<Option<Vec<T>>, String> {
    texts.map(|texts| texts.iter().map(|text| read(&text.0)).collect()).transpose()
}

impl Treatment {
    /// What a rule calls the service.
    pub fn name(&self) -> Option<&str> {
        self.service_name.as_ref().map(|(name, _)| name.as_str())
    }

    /// Whether trace contexts are added to what is sent, if a rule says so or the contrary. Where spans of clients are left out, whoever is
    /// called would have a parent that nobody gets.
    pub fn propagates(&self) -> Option<bool> {
        let is_left_out = |kind| self.leaves_out(kind, None);
        if is_left_out(SpanKind::HttpClient) || is_left_out(SpanKind::GrpcClient) {
            return Some(false);
        }
        self.propagate
    }

    /// Whether a span is not wanted; `path` is that of a request that was served.
    pub fn leaves_out(&self, kind: SpanKind, path: Option<&str>) -> bool {
        let is_wanted = self.spans.as_ref().is_none_or(|spans| spans.contains(&kind));
        !is_wanted || path.is_some_and(|path| self.left_out.iter().any(|pattern| pattern.is_match(path)))
    }
}

/// The pattern of a path: `*` and `?` match within a path, and one without a slash matches the last part.
pub fn executable(text: &str) -> Result<GlobMatcher, String> {
    pattern(&if text.contains('/') { text.to_owned() } else { format!("**/{text}") })
}

/// A pattern: `*` and `?` match any characters.
pub fn pattern(text: &str) -> Result<GlobMatcher, String> {
    Glob::new(text).map(|glob| glob.compile_matcher()).map_err(no_pattern)
}

/// The same, but `*` and `?` match no slash.
pub fn path_pattern(text: &str) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(no_pattern)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` takes")]
fn no_pattern(error: globset::Error) -> String {
    format!("is no pattern: {}", error.kind())
}

/// A port, or two with a dash and those between them.
pub fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port != 0);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err("is no port such as 8080, and no range such as 8000-8100".to_owned()),
    }
}

/// `NAME`, or `NAME=PATTERN`.
pub fn variable(text: &str) -> Result<(String, Option<GlobMatcher>), String> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    if name.is_empty() {
        return Err("names no variable".to_owned());
    }
    Ok((name.to_owned(), value.map(pattern).transpose()?))
}

/// Their number, if there is such a user here.
fn user(name: &str) -> Option<u32> {
    let of_name = || Some(User::from_name(name).ok()??.uid.as_raw());
    name.parse().ok().or_else(of_name)
}

pub(super) fn list(format: &str) -> Schema {
    let items = serde_json::json!({ "type": ["string", "integer"], "format": format });
    json_schema!({ "type": "array", "maxItems": MAX_RULES, "items": items })
}

pub(super) fn patterns(_: &mut SchemaGenerator) -> Schema {
    list("glob")
}

fn path_patterns(_: &mut SchemaGenerator) -> Schema {
    list("path-glob")
}

fn header_names(_: &mut SchemaGenerator) -> Schema {
    let items = serde_json::json!({ "type": "string", "format": "header" });
    json_schema!({ "type": "array", "maxItems": MAX_HEADERS, "items": items })
}

fn ports(_: &mut SchemaGenerator) -> Schema {
    list("ports")
}

fn users(_: &mut SchemaGenerator) -> Schema {
    list("user")
}

fn variables(_: &mut SchemaGenerator) -> Schema {
    list("variable")
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyText;
        impl Visitor<'_> for AnyText {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a number")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
        }
        deserializer.deserialize_any(AnyText)
    }
}
