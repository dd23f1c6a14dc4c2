//! The JSON schema of a configuration file, and what is read off it.
//!
//! Beside what JSON schema has, a setting says there which variables (`x-variables`, the stronger first) and which flag
//! (`x-flag`) say the same, and whether its value is a secret (`x-secret`).

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::File;

/// The whole schema; a sub-schema stands where it is used.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<File>().to_value();
    drop_empty_defaults(&mut schema);
    schema
}

/// What is not said is no value: only those defaults that a setting names are any.
fn drop_empty_defaults(schema: &mut Value) {
    if let Some(map) = schema.as_object_mut() {
        map.retain(|key, value| {
            key != "default" || !matches!(value, Value::Null | Value::Object(_) | Value::Array(_))
        });
    }
    match schema {
        Value::Object(map) => map.values_mut().for_each(drop_empty_defaults),
        Value::Array(list) => list.iter_mut().for_each(drop_empty_defaults),
        _ => {}
    }
}

/// A setting: a leaf of the schema.
#[derive(Clone, Debug)]
pub struct Setting {
    /// As `export.endpoint`.
    pub key: String,
    /// The schema of its value.
    pub schema: Value,
}

impl Setting {
    /// All of them, in the order of the sections.
    pub fn all() -> Vec<Self> {
        let mut settings = Vec::new();
        add(&schema(), "", &mut settings);
        settings
    }

    /// The variables that say the same, the stronger first.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.names("x-variables")
    }

    /// The variables of other agents that mean it.
    pub fn variables_of_others(&self) -> impl Iterator<Item = &str> {
        self.names("x-variables-of-others")
    }

    fn names(&self, list: &str) -> impl Iterator<Item = &str> {
        self.schema.get(list).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    /// The flag that says the same, with its dashes.
    pub fn flag(&self) -> Option<&str> {
        self.schema.get("x-flag")?.as_str()
    }

    /// Whether its value is not for others to see.
    pub fn is_secret(&self) -> bool {
        self.schema.get("x-secret").is_some()
    }

    /// What holds if nobody says anything.
    pub fn default_text(&self) -> Option<String> {
        match self.schema.get("default")? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// What it is, in a sentence or more.
    pub fn description(&self) -> &str {
        self.schema.get("description").and_then(Value::as_str).unwrap_or_default()
    }
}

fn add(schema: &Value, key: &str, settings: &mut Vec<Setting>) {
    let Some(properties) = properties(schema) else {
        settings.push(Setting { key: key.to_owned(), schema: schema.clone() });
        return;
    };
    for (name, schema) in properties {
        let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        add(schema, &key, settings);
    }
}

/// The keys that a map may have; `None` of a schema that is of no map with known keys.
pub(super) fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties")?.as_object()
}

/// The schema of what is said if anything is: `Option` adds another, of nothing.
pub(super) fn of_something(schema: &Value) -> &Value {
    let mut others = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    others.find(|other| other.get("type").and_then(Value::as_str) != Some("null")).unwrap_or(schema)
}

/// The values that are allowed, if these are fixed.
pub(super) fn choices(schema: &Value) -> Option<Vec<&Value>> {
    if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
        return Some(choices.iter().collect());
    }
    let each = schema.get("oneOf")?.as_array()?;
    Some(each.iter().filter_map(|one| one.get("const")).collect())
}

/// Whether a value may be of this type.
pub(super) fn allows(schema: &Value, kind: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(one)) => one == kind,
        Some(Value::Array(several)) => several.iter().any(|one| one.as_str() == Some(kind)),
        _ => false,
    }
}

/// A file with every setting as a comment: `#= ` before those that say what holds anyway, `# ` before examples.
pub fn example() -> String {
    let mut lines = vec!["# Uncomment what you want otherwise.".to_owned()];
    for (name, schema) in properties(&schema()).into_iter().flatten() {
        section(name, schema, 0, &mut lines);
    }
    lines.join("\n") + "\n"
}

fn section(name: &str, schema: &Value, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    lines.extend(description.lines().map(|line| format!("{indent}# {line}")));
    if let Some(below) = properties(schema) {
        lines.push(format!("{indent}{name}:"));
        below.iter().for_each(|(name, schema)| section(name, schema, depth + 1, lines));
        return;
    }
    // YAML takes JSON for what it is.
    lines.push(match (schema.get("default").filter(|value| !value.is_null()), schema.get("x-example")) {
        (Some(value), _) => format!("{indent}#= {name}: {value}"),
        (None, Some(value)) => format!("{indent}# {name}: {value}"),
        (None, None) => format!("{indent}# {name}:"),
    });
}
