//! `lightfoot config`: what the configuration file may say, whether one can be followed, and what holds.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ArgMatches;
use serde_json::json;

use super::{FAILURE, SUCCESS, page, run};
use crate::config::{self, Config, ConfigError, Mistake, import, peers, schema};
use crate::variables::Variables;

mod show;

/// Check a configuration file, print an example, or show what holds
#[derive(clap::Args)]
#[command(after_help = "Exit codes: 0 all can be followed, 1 something cannot, 2 wrong usage.\n\n\
                        Examples:\n  lightfoot config example > config.yaml\n  \
                        lightfoot config check config.yaml\n  \
                        lightfoot config show --config config.yaml --endpoint http://127.0.0.1:4318")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Say all that is wrong with a configuration file, with the lines
    ///
    /// The environment is left out: it is the file alone that is checked, and the files of certificates that it names.
    #[command(after_help = "Examples:\n  lightfoot config check config.yaml\n  \
                            lightfoot config check --json config.yaml | jq '.mistakes[].line'\n\n\
                            Exit codes: 0 it can be followed, 1 it cannot, 2 wrong usage.")]
    Check {
        /// The file; without it the one that `run` would read
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Print everything as JSON, for machines
        #[arg(long)]
        json: bool,
    },
    /// Print a configuration file with every setting and its default, as comments
    Example,
    /// Print the JSON schema of the configuration file
    ///
    /// For an editor that knows the YAML language server: put `# yaml-language-server: $schema=FILE` into the first line.
    Schema,
    /// Make a configuration file of one of OBI or Beyla, or of the variables of another agent
    ///
    /// It is printed, with a comment for each thing that is not carried over and why. A file may be YAML, also an
    /// Instrumentation of the OpenTelemetry Operator, or have a variable a line, as NAME=VALUE. Nothing of it is read by the other commands.
    #[command(after_help = "Examples:\n  lightfoot config import obi.yaml > config.yaml\n  \
                            lightfoot config import - > config.yaml\n\n\
                            Exit codes: 0 it was understood, 1 it cannot be read, 2 wrong usage.")]
    Import {
        /// The file, or - for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Show the value of each setting, and where it comes from
    ///
    /// It takes the flags of `run`: they win over the environment, which wins over the file. What chooses processes stands in the
    /// order in which it is asked.
    #[command(
        after_help = "Example:\n  lightfoot config show --config config.yaml --endpoint http://127.0.0.1:4318\n\n\
                            Exit codes: 0 all can be followed, 1 something cannot, 2 wrong usage."
    )]
    Show {
        /// Print everything as JSON, for machines
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        run: Box<run::Arguments>,
    },
}

/// The flag that names the file.
#[derive(clap::Args)]
pub(super) struct ConfigArguments {
    /// The configuration file; without it $LIGHTFOOT_CONFIG or, if that is there, /etc/lightfoot/config.yaml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArguments {
    /// Whether the flag is given.
    pub(super) fn is_named(&self) -> bool {
        self.config.is_some()
    }

    /// What the file says; nothing if there is none.
    pub(super) fn load(&self) -> Result<Config, ConfigError> {
        let place = Config::place(self.config.as_deref(), |name| std::env::var_os(name));
        place.as_deref().map_or_else(|| Ok(Config::default()), Config::load)
    }
}

/// The environment above the file.
pub(super) fn variables(config: &Config) -> Variables<'static> {
    Variables::new(|name| std::env::var_os(name)).with_file(config.in_place_of_variables())
}

pub(super) fn run(arguments: &Arguments, matches: &ArgMatches) -> anyhow::Result<u8> {
    let mut page = page();
    match &arguments.command {
        Command::Check { file, json } => {
            let place = Config::place(file.as_deref(), |name| std::env::var_os(name));
            let Some(place) = place else { anyhow::bail!("there is no configuration file; name one") };
            let config = match Config::load(&place) {
                Err(ConfigError::Mistakes { path, mistakes }) if *json => {
                    write_json(&mut page, &path, 0, &mistakes)?;
                    return Ok(FAILURE);
                }
                loaded => loaded?,
            };
            run::check(&config)?;
            if *json {
                write_json(&mut page, &place, config.said.len(), &[])?;
                return Ok(SUCCESS);
            }
            writeln!(page, "{} can be followed: it says {} settings", place.display(), config.said.len())?;
        }
        Command::Example => write!(page, "{}", schema::example())?,
        Command::Import { file } => write!(page, "{}", import(file)?)?,
        Command::Schema => {
            serde_json::to_writer_pretty(&mut page, &schema::schema())?;
            writeln!(page)?;
        }
        Command::Show { json, run } => {
            let config = run.config.load()?;
            let given = matches.subcommand_matches("config").and_then(|of| of.subcommand_matches("show"));
            let peers = peers::read(&mut variables(&config));
            let rows = show::rows(&config, &peers, given, |name| std::env::var_os(name));
            show::write(&rows, *json, &mut page)?;
            // What is shown may be what is refused.
            run.read(&config)?;
        }
    }
    Ok(SUCCESS)
}

/// What `check --json` says.
fn write_json(
    page: &mut impl Write,
    path: &Path,
    settings: usize,
    mistakes: &[Mistake],
) -> anyhow::Result<()> {
    let mistake = |mistake: &Mistake| json!({"line": mistake.line, "reason": mistake.reason});
    let mistakes: Vec<_> = mistakes.iter().map(mistake).collect();
    let said = json!({"path": path.to_string_lossy(), "settings": settings, "mistakes": mistakes});
    Ok(writeln!(page, "{said:#}")?)
}

/// The file of ours that another agent's comes to.
fn import(path: &Path) -> anyhow::Result<String> {
    let name = path.display();
    let of_input = Path::new("/dev/stdin");
    let bytes = config::read(if path == Path::new("-") { of_input } else { path })?;
    let text = String::from_utf8(bytes).with_context(|| format!("{name} is no text"))?;
    match import::read(&text) {
        Ok(imported) => Ok(imported.text()),
        Err(mistake) => anyhow::bail!("{name}:{}: {}", mistake.line, mistake.reason),
    }
}
