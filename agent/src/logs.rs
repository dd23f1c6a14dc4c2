//! What is said on standard error: lines of a level, a constant message and fields, by way of `tracing`.
//!
//! Whoever says something never waits: a thread of its own writes, and what it is too slow for is dropped and counted
//! ([`dropped`]). The levels say what whoever reads must do: see [`Level`]. Only Lightfoot's own lines are shown; its
//! libraries have levels of their own, and no constant messages.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Filter, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, reload};

use crate::variables::Variables;

mod line;
mod queue;

use line::{Line, Style};
use queue::Queue;

/// The variable that sets the level.
pub const NAME: &str = "OTEL_LOG_LEVEL";
/// How long the end waits for whoever reads standard error.
const FLUSH: Duration = Duration::from_secs(1);

static STANDARD_ERROR: Queue = Queue::new();
static FORMAT: OnceLock<Format> = OnceLock::new();
static LEVEL: Mutex<Option<(Level, reload::Handle<Targets, Registry>)>> = Mutex::new(None);

/// How much is said.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Spans are lost, or somebody must do something
    Error,
    /// And what goes on with less than was asked for
    Warn,
    /// And what begins and ends
    #[default]
    Info,
    /// And how the ends of calls are found, and what was too late or in vain
    Debug,
    /// And a line for each span
    Trace,
}

/// How a line looks.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// For people: the message and its fields, on a terminal without time and level
    #[default]
    Text,
    /// For machines: an object a line, of time, level, target, message and fields
    Json,
}

impl Level {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// The level that [`NAME`] asks for.
pub fn level(variables: &mut Variables<'_>) -> Option<Level> {
    let (name, word) = variables.word(&[NAME])?;
    let level = <Level as clap::ValueEnum>::from_str(&word, false).ok();
    if level.is_none() {
        variables.refuse(name, format!("{word:?} is none of error, warn, info, debug, trace"));
    }
    level
}

/// Everything that is said from now on is shown. To be called once.
///
/// # Errors
/// If the thread that writes cannot be started.
pub fn start(level: Level, format: Format) -> io::Result<()> {
    if FORMAT.set(format).is_err() {
        return Ok(());
    }
    // A descriptor of its own: who panics while this one waits must not wait for it.
    STANDARD_ERROR.start(File::from(io::stderr().as_fd().try_clone_to_owned()?))?;
    let style = Style {
        format,
        is_coloured: anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never,
        has_time: !io::stderr().is_terminal(),
    };
    let (filter, handle) = reload::Layer::new(own(level));
    let subscriber = Registry::default().with(layer(filter, style, || &STANDARD_ERROR));
    *LEVEL.lock().unwrap_or_else(PoisonError::into_inner) = Some((level, handle));
    // It fails if there is one already, and then that one is told.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

/// How much is said now; `None` before [`start`].
pub fn current() -> Option<Level> {
    LEVEL.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(level, _)| *level)
}

/// Another level holds from now on. False before [`start`].
pub fn change(level: Level) -> bool {
    let mut current = LEVEL.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((now, handle)) = current.as_mut() else { return false };
    *now = level;
    handle.reload(own(level)).is_ok()
}

/// How lines look; `None` before [`start`].
pub fn format() -> Option<Format> {
    FORMAT.get().copied()
}

/// Puts whole lines of another kind among those that are said.
pub fn print(lines: String) {
    STANDARD_ERROR.push(lines);
}

/// The same for machines: a line of [`Format::Json`] whose fields have names that no macro knows.
pub(crate) fn print_object(target: &str, message: &str, fields: &Map<String, Value>) {
    STANDARD_ERROR.push(line::object(tracing::Level::INFO, target, message, fields));
}

/// Lines that were dropped so far.
pub fn dropped() -> u64 {
    STANDARD_ERROR.dropped()
}

/// Waits until all is written, but no longer than a second.
pub fn finish() {
    STANDARD_ERROR.finish(FLUSH);
}

fn layer<S, W>(filter: impl Filter<S> + Send + Sync + 'static, style: Style, writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt::layer().event_format(Line(style)).with_writer(writer).with_filter(filter)
}

/// Lightfoot's own lines of that level and above.
fn own(level: Level) -> Targets {
    Targets::new().with_target("lightfoot", level)
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
