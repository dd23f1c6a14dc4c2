//! What a document says beside what it may say: all mistakes at once, each with its line.

use serde_json::{Map, Number, Value as Json};

use super::document::{Entry, Node, Value};
use super::formats;
use super::schema::{Setting, allows, choices, of_something, properties};

/// At most so many mistakes of one file are told.
pub(super) const MAX_MISTAKES: usize = 100;
/// Words that are less alike than that are not mistaken for each other.
const ALIKE: f64 = 0.75;

/// Something in a file that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where, from 1.
    pub line: u64,
    /// What is wrong, and what is allowed.
    pub reason: String,
}

/// The document as JSON without what is empty, if it is as the schema has it.
pub(super) fn check(document: &Node, schema: &Json) -> Result<Json, Vec<Mistake>> {
    let mut checker = Checker { mistakes: Vec::new() };
    let value = match document.value {
        Value::Nothing => Json::Object(Map::new()),
        _ => checker.value(document, schema, "").unwrap_or_default(),
    };
    if checker.mistakes.is_empty() {
        return Ok(value);
    }
    checker.mistakes.sort_by_key(|mistake| mistake.line);
    checker.mistakes.truncate(MAX_MISTAKES);
    Err(checker.mistakes)
}

struct Checker {
    mistakes: Vec<Mistake>,
}

impl Checker {
    /// `None` if it is nothing, or wrong.
    fn value(&mut self, node: &Node, schema: &Json, key: &str) -> Option<Json> {
        let schema = of_something(schema);
        if let Some(choices) = choices(schema) {
            return self.choice(node, &choices, key);
        }
        let value = match &node.value {
            Value::Nothing => return None,
            Value::Boolean(value) if allows(schema, "boolean") => Json::Bool(*value),
            // A name or a number may be meant, and both are written alike.
            Value::Integer(value) if allows(schema, "string") => Json::String(value.to_string()),
            Value::Integer(value) if allows(schema, "integer") || allows(schema, "number") => {
                self.within(node, schema, key)?;
                Json::Number((*value).into())
            }
            Value::Float(value) if allows(schema, "number") => {
                self.within(node, schema, key)?;
                Json::Number(Number::from_f64(*value)?)
            }
            Value::Text(text) if allows(schema, "string") => Json::String(text.clone()),
            Value::List(nodes) if allows(schema, "array") => return self.list(node, nodes, schema, key),
            Value::Map(entries) if allows(schema, "object") => return Some(self.map(entries, schema, key)),
            // One of what may be several needs no brackets.
            Value::Text(_) | Value::Integer(_) | Value::Boolean(_) if allows(schema, "array") => {
                return self.list(node, std::slice::from_ref(node), schema, key);
            }
            other => {
                return self.wrong(
                    node.line,
                    key,
                    &format!("{} where {} belongs", shown(other), wanted(schema)),
                );
            }
        };
        if let (Json::String(text), Some(format)) = (&value, schema.get("format").and_then(Json::as_str))
            && let Err(reason) = formats::check(format, text)
        {
            return self.wrong(node.line, key, &format!("{text:?} {reason}"));
        }
        Some(value)
    }

    fn choice(&mut self, node: &Node, choices: &[&Json], key: &str) -> Option<Json> {
        let value = match &node.value {
            Value::Nothing => return None,
            Value::Text(text) => Json::String(text.clone()),
            Value::Integer(value) => Json::Number((*value).into()),
            _ => Json::Null,
        };
        if choices.contains(&&value) {
            return Some(value);
        }
        let words: Vec<_> = choices
            .iter()
            .map(|choice| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned))
            .collect();
        let near = match &node.value {
            Value::Text(text) => hint(nearest(text, words.iter().map(String::as_str))),
            _ => String::new(),
        };
        self.wrong(node.line, key, &format!("{} is none of {}{near}", shown(&node.value), words.join(", ")))
    }

    fn within(&mut self, node: &Node, schema: &Json, key: &str) -> Option<()> {
        #[expect(clippy::cast_precision_loss, reason = "bounds are small, and what is out of them stays so")]
        let value = match node.value {
            Value::Integer(value) => value as f64,
            Value::Float(value) => value,
            _ => return Some(()),
        };
        let bound = |name| schema.get(name).and_then(Json::as_f64);
        let (least, most) = (bound("minimum"), bound("maximum"));
        if least.is_none_or(|least| value >= least) && most.is_none_or(|most| value <= most) {
            return Some(());
        }
        let reason = match (least, most) {
            (Some(least), Some(most)) => format!("{value} is not from {least} to {most}"),
            (Some(least), None) => format!("{value} is less than {least}"),
            _ => format!("{value} is more than {}", most.unwrap_or_default()),
        };
        self.wrong(node.line, key, &reason)
    }

    fn list(&mut self, node: &Node, nodes: &[Node], schema: &Json, key: &str) -> Option<Json> {
        let most = schema.get("maxItems").and_then(Json::as_u64);
        if let Some(most) = most.filter(|most| nodes.len() as u64 > *most) {
            return self.wrong(node.line, key, &format!("has {} items, and may have {most}", nodes.len()));
        }
        let items = schema.get("items")?;
        let checked = nodes.iter().enumerate().filter_map(|(index, item)| {
            // Its number helps where items have several lines.
            let key = if allows(items, "object") { format!("{key}[{index}]") } else { key.to_owned() };
            self.value(item, items, &key)
        });
        Some(Json::Array(checked.collect()))
    }

    fn map(&mut self, entries: &[Entry], schema: &Json, key: &str) -> Json {
        let mut map = Map::new();
        for entry in entries {
            let below = if key.is_empty() { entry.key.clone() } else { format!("{key}.{}", entry.key) };
            let known = properties(schema).and_then(|properties| properties.get(&entry.key));
            let free = || schema.get("additionalProperties").filter(|schema| schema.is_object());
            if let Some(schema) = known.or_else(free) {
                if let Some(value) = self.value(&entry.value, schema, &below) {
                    map.insert(entry.key.clone(), value);
                }
            } else {
                let siblings = properties(schema).into_iter().flatten().map(|(name, _)| name.as_str());
                let near = elsewhere(&entry.key).or_else(|| nearest(&entry.key, siblings).map(str::to_owned));
                self.wrong::<()>(entry.line, &below, &format!("is no known key{}", hint(near.as_deref())));
            }
        }
        Json::Object(map)
    }

    fn wrong<T>(&mut self, line: u64, key: &str, reason: &str) -> Option<T> {
        // What is told in the end is sorted by line: some more than are told, lest memory grow with the file.
        if self.mistakes.len() <= MAX_MISTAKES {
            let place = if key.is_empty() { "the file" } else { key };
            self.mistakes.push(Mistake { line, reason: format!("{place} {reason}") });
        }
        None
    }
}

fn hint(near: Option<&str>) -> String {
    near.map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}

/// The word that is most like `word`, if any is.
pub(super) fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody mistypes a word of that length, and comparing takes its square.
    if word.len() > 64 {
        return None;
    }
    let rated = words.map(|other| (strsim::jaro_winkler(word, other), other));
    rated.filter(|(alike, _)| *alike >= ALIKE).max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, other)| other)
}

/// A setting of that name in another section.
fn elsewhere(name: &str) -> Option<String> {
    let settings = Setting::all();
    let last = |setting: &Setting| setting.key.rsplit('.').next() == Some(name);
    settings.into_iter().find(last).map(|setting| setting.key)
}

fn wanted(schema: &Json) -> &'static str {
    [
        ("object", "a map of keys"),
        ("array", "a list"),
        ("boolean", "true or false"),
        ("integer", "a whole number"),
        ("number", "a number"),
        ("string", "a text"),
    ]
    .into_iter()
    .find(|(kind, _)| allows(schema, kind))
    .map_or("a value", |(_, name)| name)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Nothing => "nothing".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
    }
}
