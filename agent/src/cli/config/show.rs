//! The value of each setting, and which of flag, environment, file and default it comes from; what chooses processes, in the
//! order in which it is asked.

use std::ffi::OsString;
use std::io::{self, Write};

use clap::parser::ValueSource;
use clap::{ArgMatches, ValueEnum as _};
use serde::Serialize;
use serde_json::Value;

use crate::config::Config;
use crate::config::peers::Peers;
use crate::config::schema::Setting;
use crate::discover::rules::Rule;
use crate::escape::{pretty_json, printable};

/// What stands for a secret.
const SECRET: &str = "(a secret)";
/// The key of what chooses processes.
const RULES: &str = "rules";

/// A setting as it holds.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    key: String,
    /// `None` if nobody says anything and there is no default.
    value: Option<String>,
    source: String,
}

/// Every setting; `flags` are those of `run`, `peers` what other agents' variables come to.
pub(super) fn rows(
    config: &Config,
    peers: &Peers,
    flags: Option<&ArgMatches>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Vec<Row> {
    let row = |setting: Setting| {
        let of_flag = || {
            let flag = setting.flag()?;
            Some((given(flags?, flag)?, flag.to_owned()))
        };
        let of_variable = || {
            let value = |name: &str| variable(name).map(|value| value.to_string_lossy().trim().to_owned());
            let mut said = setting.variables().filter_map(|name| Some((value(name)?, name.to_owned())));
            said.find(|(value, _)| !value.is_empty())
        };
        let of_others = || {
            let name = setting.variables_of_others().next()?;
            Some((peers.format?.to_possible_value()?.get_name().to_owned(), name.to_owned()))
        };
        let of_file = || {
            let said = config.said.get(&setting.key)?;
            Some((said.shown.clone(), config.place_of(said.line)))
        };
        let of_default = || Some((setting.default_text()?, "default".to_owned()));
        let found = of_flag().or_else(of_variable).or_else(of_others).or_else(of_file).or_else(of_default);
        let (value, source) =
            found.map_or((None, "not set".to_owned()), |(value, source)| (Some(value), source));
        let value = value.map(|value| if setting.is_secret() { SECRET.to_owned() } else { value });
        Row { key: setting.key, value, source }
    };
    let of_setting = |setting: Setting| {
        let choosing = if setting.key == RULES { choosing(config, peers, flags) } else { Vec::new() };
        if choosing.is_empty() { vec![row(setting)] } else { choosing }
    };
    Setting::all().into_iter().flat_map(of_setting).collect()
}

/// The flags that name processes, the rule that variables of other agents make, and those of the file.
fn choosing(config: &Config, peers: &Peers, flags: Option<&ArgMatches>) -> Vec<Row> {
    let flag = |name: &str| {
        let value = given(flags?, name)?;
        Some(Row {
            key: name.trim_start_matches('-').to_owned(),
            value: Some(value),
            source: name.to_owned(),
        })
    };
    let rule = |key: String, rule: &Rule, source: String| Row { key, value: spelled(rule), source };
    let of_flags = ["--pid", "--exe", "--port"].into_iter().filter_map(flag);
    let of_peers = peers.rule.iter().map(|(names, of)| rule(RULES.to_owned(), of, names.clone()));
    let of_file = config.file.rules.iter().enumerate().map(|(index, of)| {
        let line = config.rule_lines.get(index).copied().unwrap_or_default();
        rule(format!("{RULES}[{index}]"), of, config.place_of(line))
    });
    of_flags.chain(of_peers).chain(of_file).collect()
}

/// A rule as a file could say it: YAML takes JSON for what it is.
fn spelled(rule: &Rule) -> Option<String> {
    let mut value = serde_json::to_value(rule).ok()?;
    drop_unsaid(&mut value);
    Some(value.to_string())
}

fn drop_unsaid(value: &mut Value) {
    if let Value::Object(map) = value {
        map.values_mut().for_each(drop_unsaid);
        map.retain(|_, value| !value.is_null() && value.as_object().is_none_or(|map| !map.is_empty()));
    }
}

/// The value of a flag on the command line. One that says no to something has the opposite value.
fn given(flags: &ArgMatches, flag: &str) -> Option<String> {
    let name = flag.trim_start_matches('-');
    let id = name.replace('-', "_");
    // A flag of a file that a command does not have is not given to it.
    let source = flags.try_contains_id(&id).ok().and_then(|_| flags.value_source(&id));
    if source != Some(ValueSource::CommandLine) {
        return (name == "log-level" && flags.get_flag("verbose")).then(|| "debug".to_owned());
    }
    let values: Vec<_> = flags.get_raw(&id)?.map(|value| value.to_string_lossy()).collect();
    let value = values.join(",");
    Some(match (name.starts_with("no-"), value.as_str()) {
        (true, "true") => "false".to_owned(),
        (true, "false") => "true".to_owned(),
        _ => value,
    })
}

pub(super) fn write(rows: &[Row], json: bool, page: &mut impl Write) -> io::Result<()> {
    if json {
        return writeln!(page, "{}", pretty_json(&rows)?);
    }
    let width = |column: fn(&Row) -> usize| rows.iter().map(column).max().unwrap_or_default();
    let key = width(|row| row.key.len());
    let value = width(|row| row.value.as_deref().map_or(0, |value| value.chars().count())).min(48);
    for row in rows {
        let shown = row.value.as_deref().unwrap_or("–");
        writeln!(page, "{:key$}  {:value$}  {}", row.key, printable(shown), printable(&row.source))?;
    }
    Ok(())
}
