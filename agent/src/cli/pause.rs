//! `lightfoot pause` and `lightfoot resume`: the pause file, by the agents that look at it.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::fs::OFlags;
use rustix::process::geteuid;

use super::agents::{AgentsArguments, status_of};
use super::run::pausing::{MAX_FILE, MAX_PATTERNS};
use super::{SUCCESS, page};
use crate::discover::rules::executable;
use crate::escape::printable;
use crate::status::Status;

/// How long agents are waited for: perf events of many programs take a while to go.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often they are asked meanwhile.
const LOOK: Duration = Duration::from_millis(200);

/// Take all probes of running agents away, until `resume`
///
/// It writes the pause file that they look at, so a pause outlives them. It ends when the probes have gone.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 all do as they are told, 1 nobody is there or somebody does not, 2 wrong usage.\n\n\
                        Examples:\n  sudo lightfoot pause\n  sudo lightfoot pause 'shop-*'"
)]
pub(super) struct PauseArguments {
    /// Only in programs whose path matches; without a slash, the last part of it
    #[arg(value_name = "PATTERN")]
    pattern: Option<String>,
    #[command(flatten)]
    agents: AgentsArguments,
}

/// Have running agents go on after `pause`
///
/// It removes the pause file, or a pattern from it. What a signal has paused goes on by SIGCONT alone.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 all do as they are told, 1 nobody is there or somebody does not, 2 wrong usage.\n\n\
                        Examples:\n  sudo lightfoot resume\n  sudo lightfoot resume 'shop-*'"
)]
pub(super) struct ResumeArguments {
    /// Only in programs that were paused by this pattern
    #[arg(value_name = "PATTERN")]
    pattern: Option<String>,
    #[command(flatten)]
    agents: AgentsArguments,
}

pub(super) fn pause(arguments: &PauseArguments) -> anyhow::Result<u8> {
    let pattern = arguments.pattern.as_deref();
    if let Some(pattern) = pattern {
        executable(pattern).map_err(|error| anyhow::anyhow!("{pattern:?}: {error}"))?;
    }
    change(&arguments.agents, |file| {
        let mut patterns = patterns(file)?;
        match (pattern, &mut patterns) {
            // All is paused already, and stays so.
            (Some(_), Some(patterns)) if patterns.is_empty() => return Ok(()),
            (Some(pattern), Some(patterns)) if patterns.iter().any(|one| one == pattern) => return Ok(()),
            (Some(pattern), Some(patterns)) => patterns.push(pattern.to_owned()),
            (Some(pattern), None) => patterns = Some(vec![pattern.to_owned()]),
            (None, _) => patterns = Some(Vec::new()),
        }
        write(file, &patterns.unwrap_or_default())
    })
}

pub(super) fn resume(arguments: &ResumeArguments) -> anyhow::Result<u8> {
    change(&arguments.agents, |file| {
        let Some(mut patterns) = patterns(file)? else { return Ok(()) };
        if let Some(pattern) = &arguments.pattern {
            let before = patterns.len();
            patterns.retain(|one| one != pattern);
            if patterns.len() == before {
                bail!("{} pauses no {pattern:?}; `lightfoot resume` takes all of it back", file.display());
            }
            if !patterns.is_empty() {
                return write(file, &patterns);
            }
        }
        fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))
    })
}

/// Changes the file of each agent, and waits until they do as it says.
fn change(agents: &AgentsArguments, change: impl Fn(&Path) -> anyhow::Result<()>) -> anyhow::Result<u8> {
    let mut files = BTreeSet::new();
    let code = agents.each(|socket| {
        let (status, _) = status_of(socket)?;
        let Some(file) = status.pause_file else { bail!("process {} has no pause file", status.pid) };
        check(socket, &file)?;
        files.insert(file);
        Ok(())
    })?;
    if code != SUCCESS {
        return Ok(code);
    }
    files.iter().try_for_each(|file| change(file))?;
    agents.each(|socket| {
        let asked = Instant::now();
        loop {
            let (status, _) = status_of(socket)?;
            let follows = follows(&status)?;
            // A signal may pause more than the file does.
            if follows || asked.elapsed() >= PATIENCE {
                writeln!(page(), "process {}: {} is paused", status.pid, printable(&status.paused))?;
                if !follows {
                    let pid = status.pid;
                    bail!(
                        "process {pid} does not follow its pause file: a signal has paused it, or it is busy"
                    );
                }
                return Ok(());
            }
            thread::sleep(LOOK);
        }
    })
}

/// Whether all that an agent has paused is what its file says.
fn follows(status: &Status) -> anyhow::Result<bool> {
    let patterns = status.pause_file.as_deref().map(patterns).transpose()?.flatten();
    Ok(match patterns {
        None => status.paused == "nothing",
        Some(patterns) if patterns.is_empty() => status.paused == "everything",
        Some(patterns) => {
            let whole = patterns.iter().map(|pattern| Some(executable(pattern).ok()?.glob().to_string()));
            whole.collect::<Option<Vec<_>>>().as_ref() == Some(&status.paused_patterns)
        }
    })
}

/// Whoever is not trusted with everything must not have others' files changed: it is the agent that says where the file is.
fn check(socket: &Path, file: &Path) -> anyhow::Result<()> {
    let owner = |path: &Path| Some(fs::metadata(path).ok()?.uid());
    let (of_socket, of_folder) = (owner(socket), file.parent().and_then(owner));
    let is_trusted = [Some(0), Some(geteuid().as_raw())].contains(&of_socket);
    if !is_trusted && of_socket != of_folder {
        bail!("{} is not in a folder of the agent's user; change it by hand", file.display());
    }
    Ok(())
}

/// What is in the file; `None` if there is none.
fn patterns(file: &Path) -> anyhow::Result<Option<Vec<String>>> {
    // Neither what a link leads to, which whoever owns the folder may not read himself, nor a pipe that nobody writes to.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut text = String::new();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(file);
    match opened.and_then(|opened| opened.take(MAX_FILE + 1).read_to_string(&mut text)) {
        Ok(length) if length as u64 > MAX_FILE => {
            bail!("{} has more than the {MAX_FILE} bytes that a pause file may have", file.display());
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
    Ok(Some(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()))
}

/// Agents see the file before or after, nothing between.
fn write(file: &Path, patterns: &[String]) -> anyhow::Result<()> {
    let text: String = patterns.iter().flat_map(|pattern| [pattern, "\n"]).collect();
    if patterns.len() > MAX_PATTERNS || text.len() as u64 > MAX_FILE {
        bail!("{} has as many patterns as it may: {MAX_PATTERNS}, in {MAX_FILE} bytes", file.display());
    }
    let draft = PathBuf::from(format!("{}.{:016x}", file.display(), fastrand::u64(..)));
    // Not into what somebody else has put there. An agent of another user reads it, too.
    let created = OpenOptions::new().write(true).create_new(true).open(&draft);
    let written = created
        .and_then(|mut created| {
            created.write_all(text.as_bytes())?;
            // By what is open: whoever owns the folder may have put something else there.
            created.set_permissions(fs::Permissions::from_mode(0o644))
        })
        .and_then(|()| fs::rename(&draft, file));
    written
        .inspect_err(|_| drop(fs::remove_file(&draft)))
        .with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_come_and_go_as_whole_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pause");
        assert_eq!(patterns(&file).unwrap(), None);
        write(&file, &["a".to_owned(), "b*".to_owned()]).unwrap();
        assert_eq!(patterns(&file).unwrap().unwrap(), ["a", "b*"]);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
        let most = vec!["x".to_owned(); MAX_PATTERNS];
        write(&file, &most).unwrap();
        let error = write(&file, &[most, vec!["y".to_owned()]].concat()).unwrap_err();
        assert!(error.to_string().contains("as many patterns as it may"), "{error}");
        assert_eq!(patterns(&file).unwrap().unwrap().len(), MAX_PATTERNS);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
        let error = write(&folder.path().join("nowhere/pause"), &[]).unwrap_err();
        assert!(error.to_string().starts_with("cannot write "), "{error}");
    }

    #[test]
    fn a_link_is_not_followed_and_a_file_that_is_longer_than_agents_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link] = ["pause", "link"].map(|name| folder.path().join(name));
        let most = usize::try_from(MAX_FILE).unwrap();
        fs::write(&file, "x".repeat(most)).unwrap();
        assert_eq!(patterns(&file).unwrap(), Some(vec!["x".repeat(most)]));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(patterns(&link).unwrap_err().to_string().starts_with("cannot read "));
        fs::write(&file, "x".repeat(most + 1)).unwrap();
        assert!(patterns(&file).unwrap_err().to_string().contains("has more than the "));
    }

    #[test]
    fn an_agent_follows_when_it_says_what_the_file_does() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pause");
        let says = |paused: &str, patterns: &[&str]| {
            let paused_patterns = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
            let status = Status {
                pause_file: Some(file.clone()),
                paused: paused.to_owned(),
                paused_patterns,
                ..Status::default()
            };
            follows(&status).unwrap()
        };
        assert!(says("nothing", &[]) && !says("everything", &[]));
        write(&file, &["a".to_owned(), "/b".to_owned()]).unwrap();
        assert!(says("some programs", &["**/a", "/b"]));
        assert!(!says("some programs", &["**/a"]) && !says("nothing", &[]));
        write(&file, &[]).unwrap();
        assert!(says("everything", &[]) && !says("some programs", &["**/a"]));
    }

    #[test]
    fn the_agent_of_another_user_cannot_have_files_of_others_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (own, other) = (folder.path().join("own"), folder.path().join("other"));
        fs::write(&own, "").unwrap();
        assert!(check(&own, Path::new("/etc/pause")).is_ok());
        if geteuid().is_root() {
            fs::write(&other, "").unwrap();
            std::os::unix::fs::chown(&other, Some(65_534), None).unwrap();
            assert!(check(&other, Path::new("/etc/pause")).is_err());
            std::os::unix::fs::chown(folder.path(), Some(65_534), None).unwrap();
            assert!(check(&other, &folder.path().join("pause")).is_ok());
        }
    }
}
