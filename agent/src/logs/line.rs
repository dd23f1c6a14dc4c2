//! One event as one line. Values come from strangers: they can neither steer a terminal nor look like other fields.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use anstyle::{AnsiColor, Style as Colour};
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::Format;
use crate::escape;

/// Longer values are cut, in characters.
pub(super) const MAX_VALUE: usize = 4_096;

const QUIET: Colour = Colour::new().dimmed();

/// How lines look.
#[derive(Clone, Copy)]
pub(super) struct Style {
    pub(super) format: Format,
    pub(super) is_coloured: bool,
    /// Whether lines for people begin with time and level, as nothing else tells them in a file.
    pub(super) has_time: bool,
}

/// Writes events.
pub(super) struct Line(pub(super) Style);

/// A line of JSON.
pub(super) fn object(level: Level, target: &str, message: &str, fields: &Map<String, Value>) -> String {
    let level = level.as_str();
    let time = time().to_string();
    let line = json!({"time": time, "level": level, "target": target, "message": message, "fields": fields});
    escape::json(line.to_string()) + "\n"
}

fn time() -> impl fmt::Display {
    humantime::format_rfc3339_millis(SystemTime::now())
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut said = Said::default();
        event.record(&mut said);
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        match self.0.format {
            Format::Text => self.text(to, level, &said),
            Format::Json => {
                let fields = said.fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                to.write_str(&object(level, target, &said.message, &fields))
            }
        }
    }
}

impl Line {
    fn text(&self, mut to: Writer<'_>, level: Level, said: &Said) -> fmt::Result {
        let colour = |colour: Colour| if self.0.is_coloured { colour } else { Colour::new() };
        let (of_level, quiet) = (colour(of(level)), colour(QUIET));
        if self.0.has_time {
            write!(to, "{quiet}{}{quiet:#} {of_level}{level}{of_level:#} ", time())?;
        } else if level != Level::INFO {
            write!(to, "{of_level}{}:{of_level:#} ", level.as_str().to_lowercase())?;
        }
        to.write_str(&said.message)?;
        let mut separator = "  ";
        for (name, value) in &said.fields {
            let value = match value {
                Value::String(text) => shown(text),
                other => Cow::Owned(other.to_string()),
            };
            write!(to, "{separator}{quiet}{name}={quiet:#}{value}")?;
            separator = " ";
        }
        to.write_char('\n')
    }
}

fn of(level: Level) -> Colour {
    match level {
        Level::ERROR => AnsiColor::Red.on_default().bold(),
        Level::WARN => AnsiColor::Yellow.on_default(),
        Level::INFO => AnsiColor::Green.on_default(),
        _ => QUIET,
    }
}

/// What an event says.
#[derive(Default)]
struct Said {
    message: String,
    /// In the order in which they are said.
    fields: Vec<(&'static str, Value)>,
}

impl Said {
    fn put(&mut self, field: &Field, value: Value) {
        self.fields.push((field.name(), value));
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, text: &str) {
        let text = match text.char_indices().nth(MAX_VALUE) {
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
            None => text.to_owned(),
        };
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, text.into());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

/// A text as it is, or in quotation marks if it might be taken for more than one value.
fn shown(text: &str) -> Cow<'_, str> {
    let is_plain =
        |character: char| character.is_alphanumeric() || "/.:-_@+,*()[]{}<>!#$%&~^;|…".contains(character);
    if !text.is_empty() && text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    Cow::Owned(format!("\"{}\"", escape::printable(&quoted)))
}
