//! `lightfoot record`: what comes out of the ring buffer, into a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::unix::fs::{OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::config::{ConfigArguments, variables};
use super::counts::Counts;
use super::logging::LogArguments;
use super::run::{Appearance, Delivering, Program, WatchingArguments, complain, hint, watch};
use crate::config::peers;
use crate::recording::{Recorder, Writer};
use crate::resource::Host;
use crate::sampler;

mod output;
mod written;

use output::Recording;
use written::Counted;

/// Watch Go services and write what the kernel's programs saw of them into a file
///
/// The file replays anywhere, without privileges and without the services: `lightfoot replay FILE`. It is what to attach to
/// a report of a bug. Services are chosen as by `lightfoot run`; nothing is printed or sent.
///
/// A recording holds the paths, queries, hosts, user agents and addresses of requests, and names, paths and resource
/// attributes of the services, but no other headers and no bodies. Look at it before you give it away (`lightfoot replay
/// --queries --to otlp-json FILE`); only you and root can read the file.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  sudo lightfoot record shop.lfrec --exe 'shop-*'\n  \
                        sudo lightfoot record shop.lfrec -- ./server --port 8080\n\n\
                        Ctrl-C or SIGTERM detaches everything and ends the recording.\n\n\
                        Exit codes: as of `run`.")]
pub(super) struct Arguments {
    /// Where to; a file that is there already is left alone
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    /// Size of the file at most, in MiB: then recording ends, or, if a command was started, what follows is left out and
    /// counted
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    limit: u32,
    #[command(flatten)]
    watching: WatchingArguments,
    #[command(flatten)]
    logs: LogArguments,
    #[command(flatten)]
    config: ConfigArguments,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let config = arguments.config.load()?;
    let mut variables = variables(&config);
    let peers = peers::read(&mut variables);
    let sampler = sampler::read(&mut variables);
    let level = arguments.logs.level(&mut variables);
    let (sampler, level) = variables.finish((sampler, level))?;
    let program = match Program::find(&arguments.watching.command) {
        Ok(program) => program,
        Err(error) => return Ok(complain(&error)),
    };
    arguments.logs.start(&config.file.log, level)?;
    hint(&peers);
    // Whoever looks for spans that are missing does not look for those of a recording.
    let nothing = |_: &Counts, _: &Recording<_>| Ok(Appearance::default());
    watch(
        &arguments.watching,
        (&config, &peers),
        program.as_ref(),
        sampler,
        Delivering::default(),
        nothing,
        |counts| {
            let file = create(&arguments.file, arguments.force)?;
            let host = Host::detect(Path::new("/proc"));
            let limit = u64::from(arguments.limit) << 20;
            let (file, written) = Counted::new(file);
            let writer = Writer::new(BufWriter::new(file), limit, Recorder::here(host.architecture))
                .with_context(|| format!("cannot write {}", arguments.file.display()))?;
            Ok(Recording::new((writer, written), arguments.file.clone(), host, counts, program.is_none()))
        },
    )
}

/// For its owner alone, who is whoever called sudo.
fn create(path: &Path, replace: bool) -> anyhow::Result<File> {
    let context = || format!("cannot create {}", path.display());
    if replace {
        // Not truncated: whoever could read what was there could read this.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(context),
            _ => {}
        }
    }
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    if created.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
        anyhow::bail!("{} is there already; --force replaces it", path.display());
    }
    let file = created.with_context(context)?;
    let id = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let (Some(user), Some(group)) = (id("SUDO_UID"), id("SUDO_GID")) {
        // Where that is not allowed, it stays with whoever runs this.
        let _ = fchown(&file, Some(user), Some(group));
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
