//! The spans that an agent prints, read from OTLP/JSON without the agent's own types.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value as Json;

use super::LiveError;

/// Attributes: texts, numbers, booleans and arrays of them.
pub type Attributes = BTreeMap<String, Json>;

/// A span with its resource and scope. Ids are hexadecimal digits.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "they are OTLP's names")]
pub struct Span {
    pub trace_id: String,
    pub span_id: String,
    /// Empty for a root.
    pub parent_span_id: String,
    pub trace_state: String,
    pub flags: u64,
    pub name: String,
    pub kind: u64,
    /// In nanoseconds since 1970.
    pub start: u64,
    /// In nanoseconds since 1970.
    pub end: u64,
    pub status_code: u64,
    pub status_message: String,
    pub attributes: Attributes,
    /// Trace id and span id of each.
    pub links: Vec<(String, String)>,
    pub resource: Attributes,
    pub scope: String,
    pub schema_url: String,
    /// When it was read.
    pub seen: Instant,
}

impl Span {
    /// Reads one line: a request with one span.
    pub fn parse(line: &str) -> Result<Self, LiveError> {
        let json: Json = serde_json::from_str(line).map_err(|why| LiveError::line(line, &why))?;
        Self::from_json(&json).ok_or_else(|| LiveError::line(line, &"it is no request with one span"))
    }

    /// The value of an attribute that is a text.
    pub fn text(&self, key: &str) -> &str {
        self.attributes.get(key).and_then(Json::as_str).unwrap_or_default()
    }

    /// The path of the request.
    pub fn path(&self) -> &str {
        self.text("url.path")
    }

    /// The number of its process; 0 if it has none.
    pub fn pid(&self) -> u64 {
        self.resource.get("process.pid").and_then(Json::as_u64).unwrap_or_default()
    }

    /// The value of an attribute of its resource that is a text.
    pub fn resource(&self, key: &str) -> &str {
        self.resource.get(key).and_then(Json::as_str).unwrap_or_default()
    }

    /// The name of its service.
    pub fn service(&self) -> &str {
        self.resource.get("service.name").and_then(Json::as_str).unwrap_or_default()
    }

    fn from_json(json: &Json) -> Option<Self> {
        let resource = only(json.get("resourceSpans")?)?;
        let scope = only(resource.get("scopeSpans")?)?;
        let span = only(scope.get("spans")?)?;
        let text = |key| span.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
        let number = |key| span.get(key).and_then(integer).unwrap_or_default();
        let status = span.get("status");
        let status = |key| status.and_then(|status| status.get(key));
        Some(Self {
            trace_id: text("traceId"),
            span_id: text("spanId"),
            parent_span_id: text("parentSpanId"),
            trace_state: text("traceState"),
            flags: number("flags"),
            name: text("name"),
            kind: number("kind"),
            start: number("startTimeUnixNano"),
            end: number("endTimeUnixNano"),
            status_code: status("code").and_then(integer).unwrap_or_default(),
            status_message: status("message").and_then(Json::as_str).unwrap_or_default().to_owned(),
            attributes: attributes(span.get("attributes")?)?,
            links: span.get("links")?.as_array()?.iter().map(link).collect::<Option<_>>()?,
            resource: attributes(resource.get("resource")?.get("attributes")?)?,
            scope: scope.get("scope")?.get("name")?.as_str()?.to_owned(),
            schema_url: scope.get("schemaUrl")?.as_str()?.to_owned(),
            seen: Instant::now(),
        })
    }
}

fn only(list: &Json) -> Option<&Json> {
    list.as_array().filter(|list| list.len() == 1)?.first()
}

fn link(json: &Json) -> Option<(String, String)> {
    let id = |key| Some(json.get(key)?.as_str()?.to_owned());
    Some((id("traceId")?, id("spanId")?))
}

/// The same key twice would be an error.
fn attributes(list: &Json) -> Option<Attributes> {
    let mut attributes = Attributes::new();
    for attribute in list.as_array()? {
        let key = attribute.get("key")?.as_str()?.to_owned();
        if attributes.insert(key, value(attribute.get("value")?)?).is_some() {
            return None;
        }
    }
    Some(attributes)
}

fn value(tagged: &Json) -> Option<Json> {
    let (kind, inner) = tagged.as_object().filter(|tagged| tagged.len() == 1)?.iter().next()?;
    match kind.as_str() {
        "stringValue" | "boolValue" | "doubleValue" => Some(inner.clone()),
        "intValue" => integer(inner).map(Json::from),
        "arrayValue" => inner.get("values")?.as_array()?.iter().map(value).collect(),
        _ => None,
    }
}

/// JSON of protobuf writes numbers of 64 bits as texts.
fn integer(value: &Json) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
