//! `lightfoot replay`: a recording to spans.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, IsTerminal as _, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tracing::{debug, info, warn};

use super::counts::Counts;
use super::logging::LogArguments;
use super::spans::{Known, Spans};
use super::{SUCCESS, events};
use crate::clock::{Clock, Reading};
use crate::config::file::Log;
use crate::deliver::{Flags, Format, Settings};
use crate::describe;
use crate::discover::{FileIdentity, ProcessKey};
use crate::logs::Level;
use crate::recording::{Fact, Frame, Process, Reader, TypeName};
use crate::type_names::TypeNames;
use crate::variables::{LONGEST, Variables};

/// At most so many processes of a recording are known at once; `record` watches 511.
const MAX_PROCESSES: usize = 4_096;
/// So many frames are taken before it is waited for what was sent; fewer where the queue holds fewer spans.
const CHUNK: usize = 256;

/// Print or send the spans of a recording
///
/// It needs no privileges, and nothing of what was recorded. All that `lightfoot run` does after the kernel's programs is
/// done here too, by this version of Lightfoot and with its settings. At the end the counts of the recording are printed
/// with those of the replay.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  lightfoot replay shop.lfrec\n  \
                        lightfoot replay shop.lfrec --to json | jq .name\n  \
                        lightfoot replay shop.lfrec --to otlp --endpoint http://127.0.0.1:4318\n\n\
                        Exit codes: 0 success, 1 failure, or the recording was cut off and is replayed up to there, 2 wrong usage.")]
pub(super) struct Arguments {
    /// What `lightfoot record` has written
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to; trees on a terminal and json elsewhere if not given, or otlp if there is an --endpoint
    #[arg(long, value_name = "TO")]
    to: Option<To>,
    /// The OTLP endpoint, as OTEL_EXPORTER_OTLP_ENDPOINT
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// How to speak to it: grpc, http/protobuf or http/json, as OTEL_EXPORTER_OTLP_PROTOCOL
    #[arg(long, value_name = "PROTOCOL")]
    protocol: Option<String>,
    /// How long the endpoint may take for some spans before replaying is given up, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(0..=3600))]
    flush_timeout: Option<u16>,
    /// Show also the queries of URLs, with the values of keys that are known to be secret redacted
    #[arg(long)]
    queries: bool,
    #[command(flatten)]
    logs: LogArguments,
}

/// Where spans go.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum To {
    /// To an OTLP endpoint
    Otlp,
    /// To the terminal, a tree for each trace
    Tree,
    /// To standard output, a flat JSON object for each span, one a line
    Json,
    /// To standard output, an OTLP/JSON ExportTraceServiceRequest for each span, one a line
    OtlpJson,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let to = arguments.to.unwrap_or(match () {
        () if arguments.endpoint.is_some() => To::Otlp,
        () if io::stdout().is_terminal() => To::Tree,
        () => To::Json,
    });
    let (settings, level) = settings(arguments, to)?;
    arguments.logs.start(&Log::default(), level)?;
    let of_file = || arguments.file.display().to_string();
    let file = File::open(&arguments.file).with_context(of_file)?;
    let reader = Reader::new(BufReader::new(file)).with_context(of_file)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let counts = Arc::new(Counts::default());
        let mut describing = describe::Settings::from_env(|name| std::env::var_os(name));
        describing.http.query = arguments.queries;
        // What is recorded starts with the clock; one that was changed starts in 1970.
        let clock = Clock::from_reading(Reading { before: 0, wall: 0, after: 0 });
        let mut spans = Spans::start(&settings, describing, clock, true, &counts)?;
        spans.pipeline.wait_for_output();
        let mut replay = Replay { spans, has_clock: false, processes: HashMap::new() };
        let result = replay.take(reader, &settings).await;
        // Whoever reads what is printed may take as long as they like.
        let within = if settings.otlp.is_some() { settings.flush_timeout } else { LONGEST };
        replay.spans.finish(within).await;
        result.with_context(of_file)?;
        Ok(SUCCESS)
    });
    // It would wait for a resolver that does not answer.
    runtime.shutdown_background();
    result
}

fn settings(arguments: &Arguments, to: To) -> anyhow::Result<(Settings, Level)> {
    let (exporter, format) = match to {
        To::Otlp => ("otlp", None),
        To::Tree => ("none", Some(Format::Tree)),
        To::Json => ("none", Some(Format::Json)),
        To::OtlpJson => ("none", Some(Format::OtlpJson)),
    };
    if to != To::Otlp && (arguments.endpoint.is_some() || arguments.protocol.is_some()) {
        anyhow::bail!("--endpoint and --protocol go with --to otlp only");
    }
    // What the command line says is what is meant, whatever the environment says to services.
    let mut variables = Variables::new(|name| match name {
        "OTEL_TRACES_EXPORTER" => Some(exporter.into()),
        "OTEL_SDK_DISABLED" => None,
        name => std::env::var_os(name),
    });
    let flags = Flags {
        endpoint: arguments.endpoint.clone(),
        protocol: arguments.protocol.clone(),
        format,
        queue_size: None,
        flush_timeout: arguments.flush_timeout.map(|seconds| Duration::from_secs(seconds.into())),
    };
    let settings = Settings::read(&mut variables, &flags);
    let level = arguments.logs.level(&mut variables);
    Ok(variables.finish((settings, level))?)
}

/// A recording that is replayed.
struct Replay {
    spans: Spans,
    has_clock: bool,
    /// By what they are called in the recording.
    processes: HashMap<u32, Recorded>,
}

/// A process of the recording.
struct Recorded {
    /// `None` until it is announced.
    key: Option<ProcessKey>,
    type_names: Arc<TypeNames>,
}

impl Replay {
    /// Takes all frames.
    async fn take(&mut self, reader: Reader<impl Read>, settings: &Settings) -> anyhow::Result<()> {
        let (chunk, patience) = (CHUNK.min(settings.queue_spans), settings.flush_timeout);
        for (number, frame) in reader.enumerate() {
            match frame? {
                Frame::Record(bytes) => self.spans.record(&bytes),
                Frame::Fact(fact) => self.fact(fact)?,
            }
            if self.spans.pipeline.is_output_closed() {
                break;
            }
            if number % chunk == chunk - 1 {
                self.catch_up(patience).await?;
            }
        }
        self.catch_up(patience).await
    }

    /// The queue holds what is sent late, but not a whole recording.
    async fn catch_up(&self, patience: Duration) -> anyhow::Result<()> {
        match self.spans.pipeline.flush(patience).await {
            0 => Ok(()),
            left => anyhow::bail!("the endpoint has not taken {left} spans in {} s", patience.as_secs()),
        }
    }

    fn fact(&mut self, fact: Fact) -> anyhow::Result<()> {
        match fact {
            Fact::Recorder(_) => {}
            Fact::Clock(reading) if self.has_clock => _ = self.spans.clock.observe(reading),
            Fact::Clock(reading) => {
                self.spans.clock = Clock::from_reading(reading);
                self.has_clock = true;
            }
            Fact::Process(process) => self.announce(&process)?,
            Fact::TypeName(TypeName { process, descriptor, name }) => {
                self.process(process)?.type_names.learn(descriptor, name);
            }
            Fact::Ended { process } => {
                if let Some(Recorded { key: Some(key), .. }) = self.processes.remove(&process) {
                    self.spans.ended(key);
                }
            }
            Fact::Notice { what, text } if what == events::CALLS => debug!(what, text, "was said of calls"),
            Fact::Notice { what, text } => info!(what, text, "was said while it was recorded"),
            Fact::End { counts } => {
                for name in self.spans.counts.add_by_name(&counts) {
                    warn!(name, "a count that this Lightfoot does not know");
                }
            }
        }
        Ok(())
    }

    fn announce(&mut self, process: &Process) -> anyhow::Result<()> {
        let identity = Arc::new(process.identity());
        events::say_watching(&identity, process.executable.as_ref());
        // Only what tells it from the others counts.
        let file = FileIdentity { device: 0, inode: 0, size: 0, modified: (0, 0) };
        let key =
            ProcessKey { pid: process.pid, started: process.start_time, stack: process.id.into(), file };
        let recorded = self.process(process.id)?;
        if recorded.key.replace(key).is_some() {
            anyhow::bail!("process {} of the recording is announced twice", process.id);
        }
        let type_names = Some(Arc::clone(&recorded.type_names));
        self.spans.announce(Known {
            key,
            since: process.since,
            identity,
            type_names,
            treatment: Arc::default(),
            parents: Arc::default(),
        });
        Ok(())
    }

    /// A process of which something is told, perhaps for the first time.
    fn process(&mut self, id: u32) -> anyhow::Result<&mut Recorded> {
        if self.processes.len() >= MAX_PROCESSES && !self.processes.contains_key(&id) {
            anyhow::bail!("more than {MAX_PROCESSES} processes at once are too many");
        }
        let new = || Recorded { key: None, type_names: Arc::new(TypeNames::recorded()) };
        Ok(self.processes.entry(id).or_insert_with(new))
    }
}

#[cfg(test)]
mod tests;
