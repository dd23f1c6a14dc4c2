//! What tests hear.

use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;

use super::line::Style;
use super::{Format, Level, layer, own};

/// What is said on this thread while it lives.
pub(crate) struct Heard {
    text: Text,
    _listening: DefaultGuard,
}

/// Who hears nothing, and is there: with a single subscriber, tracing takes what the thread that first says something thinks of it for what
/// all think (`Rebuilder::JustOne`, tracing-core 0.1, callsite.rs).
static ANOTHER: LazyLock<Dispatch> =
    LazyLock::new(|| Dispatch::new(Registry::default().with(LevelFilter::OFF)));

#[derive(Clone, Default)]
struct Text(Arc<Mutex<String>>);

impl Heard {
    /// Listens from now on, to lines as a terminal without colours has them or to JSON.
    pub(crate) fn at(level: Level, format: Format) -> Self {
        LazyLock::force(&ANOTHER);
        let text = Text::default();
        let style = Style { format, is_coloured: false, has_time: false };
        let writer = text.clone();
        let subscriber = Registry::default().with(layer(own(level), style, move || writer.clone()));
        Self { text, _listening: tracing::subscriber::set_default(subscriber) }
    }

    /// What was said so far.
    pub(crate) fn text(&self) -> String {
        self.text.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
