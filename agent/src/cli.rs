//! The command line: one file per command.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::{logs, sys};

mod agents;
mod config;
mod counts;
mod doctor;
mod events;
mod inspect;
mod log_level;
mod logging;
mod pause;
mod privileges;
mod record;
mod replay;
mod report;
mod run;
mod spans;
mod status;
mod targets;
#[cfg(test)]
mod testing;

/// Everything went well.
const SUCCESS: u8 = 0;
/// The command failed; the reason is on standard error.
const FAILURE: u8 = 1;
/// Nothing can be watched: of the program that was inspected, or on this host. (2 is wrong usage, as clap has it.)
const NOTHING_TO_WATCH: u8 = 3;
/// Services can be watched on this host, but something is lost.
const WITH_LOSSES: u8 = 4;

/// OpenTelemetry traces from running Go services: no code change, no rebuild, no restart.
#[derive(Parser)]
#[command(
    name = "lightfoot",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 success, 1 failure, 2 wrong usage, 3 nothing to watch (inspect, \
                  doctor), 4 something is lost (doctor)."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Arguments),
    Inspect(inspect::Arguments),
    Record(record::Arguments),
    Replay(replay::Arguments),
    Status(status::Arguments),
    LogLevel(log_level::Arguments),
    Pause(pause::PauseArguments),
    Resume(pause::ResumeArguments),
    Doctor(doctor::Arguments),
    Privileges(privileges::Arguments),
    Targets(targets::Arguments),
    Config(config::Arguments),
    /// Become a program when told, as `run -- COMMAND` starts it
    #[command(hide = true)]
    Exec(run::ExecArguments),
    /// Print a completion script for a shell
    ///
    /// For bash: lightfoot completions bash > /etc/bash_completion.d/lightfoot
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    ///
    /// To read it: lightfoot man | man -l -
    Man,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    sys::share_arena();
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let result = match arguments.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Record(arguments) => record::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Pause(arguments) => pause::pause(&arguments),
        Command::Resume(arguments) => pause::resume(&arguments),
        Command::LogLevel(arguments) => log_level::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Privileges(arguments) => privileges::run(&arguments),
        Command::Targets(arguments) => targets::run(&arguments),
        Command::Config(arguments) => config::run(&arguments, &matches),
        Command::Exec(arguments) => Ok(run::exec(&arguments)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut shown(), "lightfoot", &mut script);
            print(&script)
        }
        Command::Man => manual().and_then(|page| print(&page)),
    };
    let code = match result {
        Ok(code) => ExitCode::from(code),
        // Whoever reads our output has seen enough, as in `lightfoot inspect … | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::from(SUCCESS),
        Err(error) => {
            report::fail(&format!("{error:#}"));
            ExitCode::from(FAILURE)
        }
    };
    logs::finish();
    code
}

/// The command line without the commands that are hidden, which would be among the words that the scripts for shells offer.
fn shown() -> clap::Command {
    let all = Arguments::command();
    let shown = all.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
    clap::Command::new("lightfoot").version(env!("CARGO_PKG_VERSION")).subcommands(shown)
}

fn print(bytes: &[u8]) -> anyhow::Result<u8> {
    io::stdout().lock().write_all(bytes)?;
    Ok(SUCCESS)
}

/// The manual page, with one section for each command.
fn manual() -> anyhow::Result<Vec<u8>> {
    let command = Arguments::command();
    let mut page = Vec::new();
    // Not its list of commands, which refers to a page for each.
    let man = clap_mangen::Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    sections(&command, "lightfoot", &mut page)?;
    man.render_version_section(&mut page)?;
    Ok(page)
}

fn sections(command: &clap::Command, name: &str, page: &mut Vec<u8>) -> io::Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        let name = format!("{name} {}", subcommand.get_name());
        let section = subcommand.clone().bin_name(name.clone()).display_name(name.clone());
        let section = clap_mangen::Man::new(section);
        section.render_name_section(page)?;
        section.render_synopsis_section(page)?;
        section.render_description_section(page)?;
        section.render_options_section(page)?;
        section.render_extra_section(page)?;
        sections(subcommand, &name, page)?;
    }
    Ok(())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Standard output that drops colours where nobody would see them (no terminal, `NO_COLOR`).
fn page() -> impl io::Write {
    let choice =
        if io::stdout().is_terminal() { anstream::ColorChoice::Auto } else { anstream::ColorChoice::Never };
    anstream::AutoStream::new(io::stdout().lock(), choice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_shell_offers_a_command_that_is_hidden() {
        use clap_complete::Shell::{Bash, Elvish, Fish, PowerShell, Zsh};
        for shell in [Bash, Elvish, Fish, PowerShell, Zsh] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut shown(), "lightfoot", &mut script);
            let script = String::from_utf8(script).unwrap();
            let has = |word| script.split(|letter: char| !letter.is_alphanumeric()).any(|one| one == word);
            assert!(has("record") && has("doctor") && !has("exec"), "{shell}");
        }
    }

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_manual_tells_of_every_command() {
        let page = String::from_utf8(manual().unwrap()).unwrap();
        for command in Arguments::command().get_subcommands() {
            if command.is_hide_set() {
                continue;
            }
            let name = command.get_name().replace('-', "\\-");
            assert!(page.contains(&format!("lightfoot {name}")), "{name} is not in\n{page}");
        }
        assert!(page.contains("lightfoot config show"), "{page}");
        assert!(page.contains("jq ") && page.contains("Exit codes"), "{page}");
        assert!(!page.contains("(1)"), "it refers to another page: {page}");
    }

    /// Those whose exit code somebody may ask for, with what their help says at the end.
    fn helps(command: &clap::Command, name: &str, found: &mut Vec<(String, String)>) {
        for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
            let name = format!("{name} {}", subcommand.get_name());
            let help = subcommand.get_after_help().map(ToString::to_string).unwrap_or_default();
            helps(subcommand, &name, found);
            found.push((name, help));
        }
    }

    #[test]
    fn each_help_says_what_exit_codes_mean_and_gives_examples_that_are_understood() {
        let mut found = Vec::new();
        helps(&Arguments::command(), "lightfoot", &mut found);
        let prints = ["completions", "man", "config example", "config schema"];
        let is_print = |name: &str| prints.iter().any(|print| name.ends_with(print));
        let mut examples = 0;
        for (name, help) in found.iter().filter(|(name, _)| !is_print(name)) {
            assert!(help.contains("Exit codes: "), "{name}: {help}");
            for line in help.lines().filter_map(|line| line.strip_prefix("  ")) {
                let line = line.split(" | ").next().and_then(|line| line.split(" > ").next()).unwrap();
                let words =
                    line.trim_start_matches("sudo ").split_whitespace().map(|word| word.trim_matches('\''));
                let parsed = Arguments::try_parse_from(words);
                assert!(parsed.is_ok(), "{name}: {line}: {}", parsed.err().unwrap());
                examples += 1;
            }
        }
        assert!(examples >= 15, "{examples}");
    }
}
