//! What is left when an agent is killed, and what the next one says of it (`--state-dir`).
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use lightfoot::state::{REFRESH, shown};
use lightfoot_tests::live::{Agent, Folder, Outcome, Said, Target, lightfoot, text, wait_for};
use rustix::process::Signal;

const KILLED: &str = "cause=\"it was killed or failed\" since=2";

/// An agent that watches nothing and has left its mark.
fn start(state: &Path, what: &str) -> Agent {
    let before = marks(state);
    let agent = Agent::start(["--exe", what, "--state-dir", text(state)], &[]).unwrap();
    wait_for("the mark", || marks(state).iter().any(|mark| !before.contains(mark)).then_some(())).unwrap();
    // By then it has told of all that it found.
    agent.counts().unwrap();
    agent
}

fn marks(state: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(state) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with("agent-") && !name.contains(".sock")).collect()
}

#[test]
fn a_killed_agent_is_told_of_by_the_next_one() {
    let Some(folder) = Folder::for_test("killing the agent") else { return };
    let state = folder.path().join("state");
    let first = start(&state, "nothing-of-that-name");
    let pid = first.pid();
    assert!(!first.messages().contains("earlier Lightfoot"));
    // Another one that runs along is no killed one.
    let beside = start(&state, "nothing-else");
    assert!(!beside.messages().contains("earlier Lightfoot"), "{}", beside.messages());
    first.signal(Signal::KILL);
    first.wait().unwrap();
    assert_eq!(marks(&state).len(), 2);
    let second = start(&state, "nothing-of-that-name");
    let expected = format!(
        "ERROR an earlier Lightfoot did not end as it should: spans are missing  pid={pid} watched=\"--exe **/nothing-of-that-name\" {KILLED}"
    );
    second.says(&expected).unwrap();
    assert_eq!(second.messages().matches("earlier Lightfoot").count(), 1, "{}", second.messages());
    assert_eq!(second.counts().unwrap().get("unclean_stops"), Some(&1));
    assert_eq!(second.stop().unwrap().count("unclean_stops"), 1);
    beside.stop().unwrap();
    assert_eq!(marks(&state), [""; 0]);
    let third = start(&state, "nothing-of-that-name");
    assert!(!third.messages().contains("earlier Lightfoot"), "{}", third.messages());
    assert_eq!(third.stop().unwrap().count("unclean_stops"), 0);
}

#[test]
fn the_time_in_which_spans_may_be_missing_begins_when_the_agent_was_last_alive() {
    let Some(folder) = Folder::for_test("when an agent was last alive") else { return };
    let first = start(folder.path(), "nothing-of-that-name");
    let [mark] = &marks(folder.path())[..] else { panic!("{}", first.messages()) };
    let modified = || fs::metadata(folder.path().join(mark)).unwrap().modified().unwrap();
    let left = modified();
    wait_for("a sign of life", || (modified() > left + REFRESH / 2).then_some(())).unwrap();
    first.signal(Signal::KILL);
    first.wait().unwrap();
    let since = shown(modified()).to_string();
    let before = shown(SystemTime::now()).to_string();
    let second = start(folder.path(), "nothing-of-that-name").stop().unwrap();
    let after = shown(SystemTime::now()).to_string();
    let (_, times) = second.messages.split_once(" since=").unwrap();
    let (told, until) = times.lines().next().unwrap().split_once(" until=").unwrap();
    assert_eq!(told, since);
    // As texts they are in the order of time.
    assert!((&*before..=&*after).contains(&until), "{before} {until} {after}");
}

#[test]
fn a_mark_that_was_cut_off_is_ignored_with_one_sentence() {
    let Some(folder) = Folder::for_test("a garbled mark") else { return };
    let path = folder.path().join("agent-0.json");
    fs::write(&path, "{\"version\":1,\"pid\":").unwrap();
    let agent = start(folder.path(), "nothing");
    agent.says("WARN a mark that cannot be read was removed: spans may be missing  path=").unwrap();
    agent.says(text(&path)).unwrap();
    let outcome = agent.stop().unwrap();
    assert!(!outcome.messages.contains("earlier Lightfoot"));
    assert!(!path.exists());
}

#[test]
fn a_folder_that_was_asked_for_and_cannot_be_had_is_refused_by_its_flag() {
    let Some(folder) = Folder::for_test("a state folder that cannot be made") else { return };
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let agent = Agent::start(["--exe", "nothing", "--state-dir", text(&file.join("below"))], &[]).unwrap();
    let outcome = agent.wait().unwrap();
    assert_eq!(outcome.status.code(), Some(1));
    assert!(outcome.messages.starts_with("lightfoot: --state-dir: the folder "), "{}", outcome.messages);
}

#[test]
fn an_agent_that_fails_before_it_watches_is_no_killed_one() {
    let Some(folder) = Folder::for_test("a start that fails") else { return };
    let state = folder.path().join("state");
    let nowhere = folder.path().join("none/socket");
    let words = ["--exe", "nothing", "--state-dir", text(&state), "--status-socket", text(&nowhere)];
    let failed = Agent::start(words, &[]).unwrap().wait().unwrap();
    assert_eq!(failed.status.code(), Some(1), "{}", failed.messages);
    assert!(failed.messages.contains("--status-socket"), "{}", failed.messages);
    assert_eq!(marks(&state), [""; 0]);
    let next = start(&state, "nothing");
    assert!(!next.messages().contains("earlier Lightfoot"), "{}", next.messages());
    assert_eq!(next.stop().unwrap().count("unclean_stops"), 0);
}

/// Whether a kill is told by the next start where nothing but `place` can be written, as in a container whose root is
/// read-only. `words` start what becomes the agent, which watches nothing.
fn is_told_by_way_of(place: &str, folder: &Folder, words: &[&str]) -> bool {
    folder.copy(&lightfoot(), "lightfoot").unwrap();
    let state = folder.path().join("place");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o1777)).unwrap();
    let closed = ["/run", "/dev/shm", "/tmp"].map(|path| format!("mount -t tmpfs -o ro none {path}"));
    let script = format!(
        "set -e; mount --bind {} /mnt; {}; mount --bind /mnt/place {place}; exec \"$@\"",
        text(folder.path()),
        closed.join("; ")
    );
    let start = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh"]).args(words).arg("/mnt/lightfoot");
        command.args(["run", "--format", "otlp-json", "--exe", "nothing", "-v"]);
        let agent = Agent::spawn(command, &[]).unwrap();
        agent.says(" mark").unwrap();
        agent
    };
    let first = start();
    assert!(!first.messages().contains("earlier Lightfoot"), "{}", first.messages());
    assert!(first.messages().contains(&format!(" folder={place}/lightfoot-")), "{}", first.messages());
    first.signal(Signal::KILL);
    let pid = first.pid();
    first.wait().unwrap();
    let (second, third) = (start().stop().unwrap(), start().stop().unwrap());
    let is_told = |outcome: &Outcome| outcome.messages.contains(&format!(" pid={pid} watched="));
    assert_eq!((second.count("unclean_stops"), third.count("unclean_stops")), (1, 0), "{}", second.messages);
    is_told(&second) && !is_told(&third)
}

#[test]
fn a_kill_is_told_where_only_memory_or_temporary_files_can_be_written() {
    for place in ["/dev/shm", "/tmp"] {
        let Some(folder) = Folder::for_test("a container with a read-only root") else { return };
        assert!(is_told_by_way_of(place, &folder, &[]), "{place}");
    }
}

#[test]
fn a_kill_is_told_to_a_user_who_is_not_root() {
    let Some(folder) = Folder::for_test("an agent that is not root") else { return };
    let capabilities = "-all,+bpf,+perfmon,+sys_ptrace,+dac_read_search";
    let user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let rights = ["--inh-caps", capabilities, "--ambient-caps", capabilities];
    assert!(is_told_by_way_of("/dev/shm", &folder, &[&user[..], &rights].concat()));
    let names: Vec<_> =
        fs::read_dir(folder.path().join("place")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["lightfoot-65534"]);
}

#[test]
fn without_any_place_for_it_that_is_said_once() {
    let Some(folder) = Folder::for_test("a system where nothing can be written") else { return };
    let path = folder.server().unwrap();
    let target = Target::start(&path).unwrap();
    let mut command = Command::new("unshare");
    let script = "for f in /run /dev/shm; do mount -t tmpfs -o ro none $f; done; mount --bind -o ro /tmp /tmp && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(lightfoot());
    command.args(["run", "--format", "otlp-json", "--exe", text(&path)]);
    let agent = Agent::spawn(command, &[]).unwrap();
    agent.watches(target.pid()).unwrap();
    let messages = agent.stop().unwrap().messages;
    let said = Said::lines(&messages).filter(|said| said.message.starts_with("no folder for a mark: "));
    let [said] = &said.collect::<Vec<_>>()[..] else { panic!("{messages}") };
    assert_eq!(said.level, "WARN");
    for place in ["/run/lightfoot", "/dev/shm/lightfoot-0", "/tmp/lightfoot-0"] {
        assert!(said.fields.contains(place), "{messages}");
    }
}
