//! What texts of a configuration file mean.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value as Json;

use super::document::{Node, Value};
use super::schema::of_something;
use crate::discover::{headers, rules};
use crate::variables::LONGEST;

/// A span of time as people write it: `500ms`, `10s`, `5m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Duration);

const TIME: &str = "time";

/// Whether a text has a format of the schema; why not.
pub(super) fn check(format: &str, text: &str) -> Result<(), String> {
    match format {
        TIME => time(text).map(drop),
        "glob" => rules::pattern(text).map(drop),
        "path-glob" => rules::path_pattern(text).map(drop),
        "ports" => rules::port_range(text).map(drop),
        "header" => headers::header(text).map(drop),
        "variable" => rules::variable(text).map(drop),
        _ => Ok(()),
    }
}

/// At most a day.
fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time <= LONGEST => Ok(time),
        Ok(_) => Err("is longer than a day".to_owned()),
        Err(_) => Err("is no time such as 500ms, 10s or 5m".to_owned()),
    }
}

/// A checked value as a variable of OpenTelemetry has it: times in milliseconds, lists with commas, maps as those of
/// headers. `None` for what is empty, and for maps in lists.
pub(super) fn as_variable(node: &Node, schema: &Json) -> Option<String> {
    let is_time = of_something(schema).get("format").and_then(Json::as_str) == Some(TIME);
    match &node.value {
        Value::Text(text) if is_time => Some(time(text).ok()?.as_millis().to_string()),
        Value::Text(text) => Some(text.clone()),
        Value::Boolean(value) => Some(value.to_string()),
        Value::Integer(value) => Some(value.to_string()),
        Value::Float(value) => Some(value.to_string()),
        Value::List(nodes) => Some(
            nodes.iter().map(|node| as_variable(node, &Json::Null)).collect::<Option<Vec<_>>>()?.join(","),
        ),
        Value::Map(entries) => {
            let entry = |key: &str, value: &Node| {
                let value = as_variable(value, &Json::Null)?;
                Some(format!("{key}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC)))
            };
            let entries = entries.iter().map(|of| entry(&of.key, &of.value)).collect::<Option<Vec<_>>>()?;
            Some(entries.join(","))
        }
        Value::Nothing => None,
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        time(&String::deserialize(deserializer)?).map(Self).map_err(de::Error::custom)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": TIME })
    }
}
