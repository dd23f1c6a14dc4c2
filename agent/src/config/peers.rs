//! The variables of other agents: those that choose what is watched, name it and print it are understood.
//!
//! They are above the file and below the flags: what they choose is a rule before all of the file's. As with OBI, what is chosen by
//! port and by path must be both.

use globset::escape;

use crate::deliver::Format;
use crate::discover::rules::{self, Action, Match, Rule, Text};
use crate::variables::Variables;

/// The path of a program (opentelemetry-go-instrumentation).
pub const GO_AUTO_TARGET_EXE: &str = "OTEL_GO_AUTO_TARGET_EXE";
/// Patterns of paths (OBI).
pub const AUTO_TARGET_EXE: &str = "OTEL_EBPF_AUTO_TARGET_EXE";
/// A regular expression that is found in a path (OBI).
pub const EXECUTABLE_PATH: &str = "OTEL_EBPF_EXECUTABLE_PATH";
/// Ports and ranges of them (OBI).
pub const OPEN_PORT: &str = "OTEL_EBPF_OPEN_PORT";
/// What every service is called (OBI).
pub const SERVICE_NAME: &str = "OTEL_EBPF_SERVICE_NAME";
/// How spans are printed (OBI).
pub const TRACE_PRINTER: &str = "OTEL_EBPF_TRACE_PRINTER";

/// What says the same here, and whether the variable is followed.
const HINTS: [(&str, &str, bool); 8] = [
    (GO_AUTO_TARGET_EXE, "--exe", true),
    (AUTO_TARGET_EXE, "--exe", true),
    (EXECUTABLE_PATH, "--exe", true),
    (OPEN_PORT, "--port", true),
    (SERVICE_NAME, "service_name of a rule in the configuration", true),
    (TRACE_PRINTER, "--format", true),
    ("OTEL_EBPF_CONFIG_PATH", "--config, with a file of another form: lightfoot config example", false),
    ("OTEL_CONFIG_FILE", "--config, with a file of another form: lightfoot config example", false),
];

/// What these variables come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peers {
    /// A rule before all others, and which variables it is of.
    pub rule: Option<(String, Rule)>,
    /// How spans are printed.
    pub format: Option<Format>,
    /// The variables that are set, what says the same here, and whether they are followed.
    pub hints: Vec<(&'static str, &'static str, bool)>,
}

/// Reads them.
pub fn read(variables: &mut Variables<'_>) -> Peers {
    let is_set = |name: &str| variables.value(name).is_some_and(|value| !value.is_empty());
    let hints = HINTS.into_iter().filter(|(name, ..)| is_set(name)).collect();
    let mut names = Vec::new();
    let mut exe = Vec::new();
    if let Some((name, path)) = variables.first(&[GO_AUTO_TARGET_EXE]) {
        names.push(name);
        exe.push(Text(escape(&path)));
    }
    if let Some((name, patterns)) = variables.first(&[AUTO_TARGET_EXE]) {
        names.push(name);
        let patterns = patterns.split(',').map(str::trim).filter(|pattern| !pattern.is_empty());
        exe.extend(checked(variables, name, patterns, |pattern| rules::executable(pattern).map(drop)));
    }
    if let Some((name, expression)) = variables.first(&[EXECUTABLE_PATH]) {
        names.push(name);
        if let Some(pattern) = as_pattern(&expression) {
            exe.push(Text(pattern));
        } else {
            let reason =
                format!("{expression:?} is more of a regular expression than is understood; use --exe");
            variables.refuse(name, reason);
        }
    }
    let mut port = Vec::new();
    if let Some((name, ports)) = variables.first(&[OPEN_PORT]) {
        names.push(name);
        let ports = ports.split(',').map(str::trim).filter(|port| !port.is_empty());
        port.extend(checked(variables, name, ports, |port| rules::port_range(port).map(drop)));
    }
    let given = |texts: Vec<Text>| Some(texts).filter(|texts| !texts.is_empty());
    let matching = Match { exe: given(exe), port: given(port), ..Match::default() };
    let action = (matching != Match::default()).then_some(Action::Watch);
    let service_name = variables.first(&[SERVICE_NAME]).map(|(name, service)| {
        names.push(name);
        service
    });
    let rule = Rule { matching, action, service_name, ..Rule::default() };
    let rule = (!names.is_empty()).then(|| (names.join(" and "), rule));
    Peers { rule, format: format(variables), hints }
}

fn checked<'a>(
    variables: &mut Variables<'_>,
    name: &'static str,
    texts: impl Iterator<Item = &'a str>,
    check: fn(&str) -> Result<(), String>,
) -> Vec<Text> {
    let mut good = Vec::new();
    for text in texts {
        match check(text) {
            Ok(()) => good.push(Text(text.to_owned())),
            Err(reason) => variables.refuse(name, format!("{text:?} {reason}")),
        }
    }
    good
}

fn format(variables: &mut Variables<'_>) -> Option<Format> {
    let (name, word) = variables.word(&[TRACE_PRINTER])?;
    match word.as_str() {
        "text" => Some(Format::Tree),
        "json" | "json_indent" => Some(Format::Json),
        "disabled" => None,
        _ => {
            variables.refuse(name, format!("{word:?} is none of disabled, text, json, json_indent"));
            None
        }
    }
}

/// The pattern that says what a regular expression does, if it is of letters, `.`, `.*`, `^` and `$`.
pub(super) fn as_pattern(expression: &str) -> Option<String> {
    // A pattern without a slash would be one of the last part alone.
    let pattern = as_plain_pattern(expression)?;
    Some(if pattern.contains('/') { pattern } else { format!("**/{pattern}") })
}

/// The same of something that is no path.
pub(super) fn as_plain_pattern(expression: &str) -> Option<String> {
    let (start, rest) = expression.strip_prefix('^').map_or(("*", expression), |rest| ("", rest));
    let (end, rest) = match rest.strip_suffix('$') {
        Some(rest) if !rest.ends_with('\\') => ("", rest),
        _ => ("*", rest),
    };
    let mut pattern = start.to_owned();
    let mut characters = rest.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '.' if characters.next_if_eq(&'*').is_some() => pattern.push('*'),
            '.' => pattern.push('?'),
            '\\' => pattern += &escape(&characters.next().filter(char::is_ascii_punctuation)?.to_string()),
            '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => return None,
            other => pattern.push(other),
        }
    }
    pattern += end;
    Some(pattern)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn peers(said: &[(&str, &str)]) -> Result<Peers, String> {
        let value =
            |name: &str| said.iter().find(|(said, _)| *said == name).map(|(_, value)| OsString::from(value));
        let mut variables = Variables::new(value);
        let peers = read(&mut variables);
        variables.finish(peers).map_err(|error| error.to_string())
    }

    #[test]
    fn what_they_say_is_a_rule() {
        assert_eq!(peers(&[]), Ok(Peers::default()));
        let found =
            peers(&[(OPEN_PORT, "80, 8000-8100"), (AUTO_TARGET_EXE, "*/shop"), (SERVICE_NAME, "front")]);
        let (label, rule) = found.unwrap().rule.unwrap();
        assert_eq!(label, "OTEL_EBPF_AUTO_TARGET_EXE and OTEL_EBPF_OPEN_PORT and OTEL_EBPF_SERVICE_NAME");
        let texts = |texts: &[&str]| Some(texts.iter().map(|text| Text((*text).to_owned())).collect());
        assert_eq!(rule.matching.exe, texts(&["*/shop"]));
        assert_eq!(rule.matching.port, texts(&["80", "8000-8100"]));
        assert_eq!((rule.action, rule.service_name), (Some(Action::Watch), Some("front".into())));
        let (_, rule) = peers(&[(SERVICE_NAME, "front")]).unwrap().rule.unwrap();
        assert_eq!(rule.action, None, "all services are called so, and none is chosen");
        let path = peers(&[(GO_AUTO_TARGET_EXE, "/srv/a[1]")]).unwrap().rule.unwrap().1.matching.exe.unwrap();
        assert!(rules::executable(&path[0].0).unwrap().is_match("/srv/a[1]"));
        for (word, format) in [("text", Some(Format::Tree)), ("JSON", Some(Format::Json)), ("disabled", None)]
        {
            assert_eq!(peers(&[(TRACE_PRINTER, word)]).unwrap().format, format);
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (name, value) in [
            (OPEN_PORT, "http"),
            (AUTO_TARGET_EXE, "[a"),
            (EXECUTABLE_PATH, "(a|b)"),
            (TRACE_PRINTER, "counter"),
        ] {
            assert!(peers(&[(name, value)]).unwrap_err().contains(name), "{name}");
        }
        let hints = peers(&[("OTEL_CONFIG_FILE", "x")]).unwrap().hints;
        assert!(matches!(hints[..], [("OTEL_CONFIG_FILE", _, false)]), "{hints:?}");
    }

    #[test]
    fn simple_expressions_are_patterns() {
        let matches = |expression: &str, path: &str| {
            as_pattern(expression).map(|pattern| rules::executable(&pattern).unwrap().is_match(path))
        };
        for (expression, path, expected) in [
            ("shop", "/srv/shop-1/run", true),
            ("shop$", "/srv/shop-1", false),
            ("shop$", "/srv/my-shop", true),
            ("^/srv/.*/run$", "/srv/shop/run", true),
            ("^/srv/.*/run$", "/opt/srv/shop/run", false),
            (r"shop\.v.", "/srv/shop.v2", true),
            (r"shop\.v.$", "/srv/shopxv2", false),
        ] {
            assert_eq!(matches(expression, path), Some(expected), "{expression} {path}");
        }
        for expression in ["a+", "a|b", "[ab]", r"\d", "*"] {
            assert_eq!(as_pattern(expression), None, "{expression}");
        }
    }
}
