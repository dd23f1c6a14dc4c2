//! The flags that say how much is said, and how.

use crate::config::file::Log;
use crate::logs::{self, Format, Level};
use crate::variables::Variables;

#[derive(clap::Args)]
pub(super) struct LogArguments {
    /// Say on standard error what is of this level or above; info, if OTEL_LOG_LEVEL says nothing else
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<Level>,
    /// As --log-level debug: say also how the ends of client calls are found
    #[arg(short, long, conflicts_with = "log_level")]
    verbose: bool,
    /// How what is said looks; text if nothing else is said
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<Format>,
}

impl LogArguments {
    /// The level that flags and environment ask for.
    pub(super) fn level(&self, variables: &mut Variables<'_>) -> Level {
        let verbose = self.verbose.then_some(Level::Debug);
        // What is wrong with the variable is refused even if a flag overrules it, as everywhere.
        let variable = logs::level(variables);
        self.log_level.or(verbose).or(variable).unwrap_or_default()
    }

    /// Begins to say things.
    pub(super) fn start(&self, file: &Log, level: Level) -> std::io::Result<()> {
        logs::start(level, self.log_format.or(file.format).unwrap_or_default())
    }
}
