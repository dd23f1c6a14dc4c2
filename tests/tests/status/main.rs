//! What a running agent says of itself to whoever asks (`lightfoot status`, `GET /status`).
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use lightfoot::state::sockets;
use lightfoot::status::server::{MAX_BODY, MAX_CONNECTIONS, MAX_HEAD, MAX_TIME};
use lightfoot::status::{Process, Status};
use lightfoot_tests::live::{
    self, Agent, Client, Folder, PATIENCE, Response, Target, lightfoot, slowness, text, wait_for,
};
use rustix::process::Signal;

mod fills;
mod metrics;
mod operations;
mod port;
mod processes;
mod watch;

/// An agent whose mark and socket are in a folder, and the socket.
fn start(state: &Path, arguments: &[&str]) -> (Agent, PathBuf) {
    let before = sockets(state).unwrap_or_default();
    let agent = Agent::start([&["--state-dir", text(state)], arguments].concat(), &[]).unwrap();
    // It has its name a moment before anybody listens.
    let answers = |socket: &PathBuf| !before.contains(socket) && UnixStream::connect(socket).is_ok();
    let new = || sockets(state).ok()?.into_iter().find(answers);
    let socket = wait_for("a socket", new).unwrap();
    (agent, socket)
}

fn get(socket: &Path, path: &str) -> Response {
    Client::unix(socket.to_owned()).get(path, "").unwrap().unwrap()
}

fn status(socket: &Path) -> Status {
    let response = get(socket, "/status");
    assert_eq!(response.status, 200);
    serde_json::from_slice(&response.body).unwrap()
}

/// What is said of a process, once it is as expected.
fn until(socket: &Path, pid: u32, what: &str, is_so: impl Fn(&Process) -> bool) -> Process {
    wait_for(what, || status(socket).processes.into_iter().find(|one| one.pid == pid && is_so(one))).unwrap()
}

/// `lightfoot status` with more words.
fn command(words: &[&str]) -> Output {
    Command::new(lightfoot()).arg("status").args(words).env_clear().env("NO_COLOR", "1").output().unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn what_is_said_of_processes_is_the_truth() {
    let Some(folder) = Folder::for_test("what an agent says of itself") else { return };
    let path = folder.server().unwrap();
    let target = Target::start(&path).unwrap();
    let sleeper = folder.copy(Path::new("/bin/sleep"), "sleeper").unwrap();
    let sleeper = live::process::Process::spawn(Command::new(sleeper).arg("600")).unwrap();
    let state = folder.path().join("state");
    let asked = sleeper.pid().to_string();
    let (agent, socket) = start(&state, &["--exe", text(&path), "--pid", &asked]);
    agent.watches(target.pid()).unwrap();

    let idle = until(&socket, target.pid(), "a process that is watched", |_| true);
    assert_eq!((idle.spans, idle.lost, idle.open), (0, 0, 0));
    assert_eq!(idle.because.as_ref().unwrap(), &format!("no request was seen since {}", idle.since));
    assert_eq!(idle.executable, text(&path));
    assert_eq!(idle.rule.as_deref(), Some("its path matches --exe"));
    let served = idle.operations.iter().find(|one| one.title == "HTTP/1 server request").unwrap();
    assert_eq!((served.state.as_str(), served.traps), ("watched", 2));
    assert!(idle.sites >= 2, "{idle:?}");
    let whole = status(&socket);
    assert_eq!((whole.pid, whole.paused.as_str()), (agent.pid(), "nothing"));
    assert!(whole.counts_age_seconds.unwrap() < PATIENCE.as_secs_f64());
    // One may be looked at a moment after the other.
    let of_sleeper = || status(&socket).refused.into_iter().find(|one| one.pid == sleeper.pid());
    let refused = wait_for("a process that is refused", of_sleeper).unwrap();
    assert!(refused.reason.contains("Go"), "{refused:?}");

    for _ in 0..7 {
        assert_eq!(target.get("/seven").unwrap(), 200);
    }
    let busy = until(&socket, target.pid(), "all spans", |one| one.spans == 7);
    assert_eq!((busy.because, busy.lost, busy.open), (None, 0, 0));
    assert_eq!((busy.counts.get("started"), busy.counts.get("ended")), (Some(&7), Some(&7)));
    // Two traps a span, at the price that is told.
    assert_eq!((idle.estimated_traps, busy.estimated_traps), (0, 2 * 7));
    let price = whole.trap_price;
    assert_eq!((price.source.as_str(), idle.estimated_trap_seconds), ("measured", 0.0));
    // From a fast machine to a slow one that others use, too.
    assert!((20.0..1e6).contains(&price.nanoseconds), "{price:?}");
    let seconds = 14.0 * price.nanoseconds / 1e9;
    assert!(
        (busy.estimated_trap_seconds / seconds - 1.0).abs() < 1e-9,
        "{} {seconds}",
        busy.estimated_trap_seconds
    );
    let service = busy.service.unwrap();
    let of_service = |counter| {
        let whole = status(&socket);
        let count = whole.delivery.services.get(&service)?.get(counter).copied();
        (count == Some(7) && whole.counts.get(counter) == Some(&7)).then_some(())
    };
    wait_for("all of them to be printed", || of_service("spans_printed")).unwrap();

    // The command shows the same.
    let words = ["--socket", text(&socket)];
    let json = command(&[&words[..], &["--json"]].concat());
    assert!(json.status.success(), "{}", said(&json));
    let shown: Status = serde_json::from_str(&printed(&json)).unwrap();
    assert!(0.0 < whole.uptime_seconds && whole.uptime_seconds < shown.uptime_seconds, "{shown:?}");
    assert_eq!(shown.processes.iter().find(|one| one.pid == target.pid()).unwrap().spans, 7);
    let page = printed(&command(&["--state-dir", text(&state)]));
    assert!(
        page.contains(&format!(
            "{} {}; its path matches --exe\n    {}\n    7 spans, 0 lost, 0 open",
            target.pid(),
            text(&path),
            idle.go.unwrap()
        )),
        "{page}"
    );
    assert!(page.contains("spans are printed: 7 so far") && page.contains("✗ "), "{page}");

    assert!(page.contains("\n    estimated: 14 traps, ") && page.contains(" ns each (measured)\n"), "{page}");

    drop(target);
    wait_for("the process to be left", || status(&socket).processes.is_empty().then_some(())).unwrap();
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.count("ended"), 7);
    assert!(!socket.exists());
    drop(sleeper);
}

#[test]
fn it_is_ready_once_all_processes_have_been_looked_at() {
    let Some(folder) = Folder::for_test("readiness") else { return };
    let path = folder.server().unwrap();
    let target = Target::start(&path).unwrap();
    target.address().unwrap();
    // The first answer may come late on a busy machine.
    let was_unready = (0..5).any(|_| {
        let (agent, socket) = start(&folder.path().join("state"), &["--exe", text(&path)]);
        let ready = || get(&socket, "/health/ready").status;
        let first = ready();
        assert!([200, 503].contains(&first), "{first}");
        wait_for("readiness", || (ready() == 200).then_some(())).unwrap();
        // What was there is watched by then.
        assert!(status(&socket).processes.iter().any(|one| one.pid == target.pid()));
        assert_eq!((status(&socket).ready, get(&socket, "/health/live").status), (true, 200));
        agent.stop().unwrap();
        first == 503
    });
    assert!(was_unready);
}

#[test]
fn whoever_asks_nonsense_slowly_or_too_often_harms_nobody() {
    let Some(folder) = Folder::for_test("nonsense at the socket") else { return };
    let path = folder.server().unwrap();
    let target = Target::start(&path).unwrap();
    let (agent, socket) = start(&folder.path().join("state"), &["--exe", text(&path)]);
    agent.watches(target.pid()).unwrap();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(get(&socket, "/nothing").status, 404);
    let exchange = |request: &[u8]| Client::unix(socket.clone()).exchange(request).unwrap().unwrap();
    let put = exchange(b"PUT /status HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab");
    assert_eq!(put.status, 405);
    assert!(put.headers.contains(&("allow".to_owned(), "GET, HEAD".to_owned())), "{put:?}");
    assert_eq!(exchange(b"\x16\x03\x01 no HTTP\r\n\r\n").status, 400);
    let long = format!("GET /status HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(2 * MAX_HEAD));
    assert_eq!(exchange(long.as_bytes()).status, 431);

    let mut slow: Vec<_> = (0..MAX_CONNECTIONS).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    for client in &mut slow {
        client.write_all(b"GET /sta").unwrap();
    }
    // Whoever comes now waits until these have had their time.
    let began = Instant::now();
    assert_eq!(status(&socket).pid, agent.pid());
    assert!(began.elapsed() > MAX_TIME / 2, "{:?}", began.elapsed());
    assert!(began.elapsed() < MAX_TIME + PATIENCE * slowness());
    for client in &mut slow {
        let mut rest = Vec::new();
        // Reset or closed: there was no request.
        let _ = client.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP/1.1 200"));
    }
    assert_eq!(target.get("/all-the-same").unwrap(), 200);
    agent.span("/all-the-same").unwrap();
    agent.stop().unwrap();
}

#[test]
fn it_listens_where_it_is_told_to_or_nowhere() {
    let Some(folder) = Folder::for_test("the path of a socket") else { return };
    let state = folder.path().join("state");
    let path = folder.path().join("socket");
    let agent = |value: &str| {
        let words = ["--exe", "nothing-of-that-name", "--state-dir", text(&state), "--status-socket", value];
        Agent::start(words, &[]).unwrap()
    };
    let first = agent(text(&path));
    wait_for("the socket", || UnixStream::connect(&path).ok()).unwrap();
    assert_eq!(sockets(&state).unwrap(), [""; 0].map(PathBuf::from));
    let second = agent(text(&path)).wait().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let expected = format!("lightfoot: --status-socket: {} is in use", text(&path));
    assert!(second.messages.contains(&expected), "{}", second.messages);
    // One that was killed leaves a socket that the next one replaces.
    first.signal(Signal::KILL);
    first.wait().unwrap();
    assert!(path.exists());
    let third = agent(text(&path));
    wait_for("the socket", || UnixStream::connect(&path).ok()).unwrap();
    assert_eq!(status(&path).pid, third.pid());
    third.stop().unwrap();
    assert!(!path.exists());
    let silent = agent("none");
    silent.says("nothing to watch yet").unwrap();
    assert_eq!(sockets(&state).unwrap(), [""; 0].map(PathBuf::from));
    silent.stop().unwrap();
}

#[test]
fn what_a_killed_agent_left_is_skipped_and_the_next_one_removes_it() {
    let Some(folder) = Folder::for_test("the socket of a killed agent") else { return };
    let state = folder.path().join("state");
    let nobody = command(&["--state-dir", text(&state)]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(
        said(&nobody).starts_with("lightfoot: no Lightfoot of this user is running: "),
        "{}",
        said(&nobody)
    );
    let (killed, left) = start(&state, &["--exe", "nothing-of-that-name"]);
    killed.signal(Signal::KILL);
    killed.wait().unwrap();
    assert!(left.exists());
    let nobody = command(&["--state-dir", text(&state)]);
    assert_eq!(nobody.status.code(), Some(1));
    assert_eq!(said(&nobody), "lightfoot: no Lightfoot of this user is running\n");
    let refused = command(&["--socket", text(&left)]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("cannot connect to "), "{}", said(&refused));
    let (agent, socket) = start(&state, &["--exe", "nothing-of-that-name"]);
    assert_eq!(sockets(&state).unwrap(), [socket]);
    let page = printed(&command(&["--state-dir", text(&state)]));
    assert!(page.contains(&format!(", process {}, since ", agent.pid())), "{page}");
    assert!(page.contains("no process is watched, because "), "{page}");
    agent.stop().unwrap();
}

/// Runs another command of `lightfoot` for the agents of a folder.
fn tell(state: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(lightfoot());
    command.args(words).args(["--state-dir", text(state)]).env_clear().env("NO_COLOR", "1");
    command.output().unwrap()
}

#[test]
fn the_log_level_can_be_changed_while_it_runs() {
    let Some(folder) = Folder::for_test("another log level") else { return };
    let path = folder.server().unwrap();
    let target = Target::start(&path).unwrap();
    let state = folder.path().join("state");
    let (agent, socket) = start(&state, &["--exe", text(&path)]);
    agent.watches(target.pid()).unwrap();
    assert_eq!(target.get("/quiet").unwrap(), 200);
    agent.span("/quiet").unwrap();
    assert!(!agent.messages().contains(" TRACE "), "{}", agent.messages());
    assert_eq!(printed(&tell(&state, &["log-level"])), format!("info  {}\n", text(&socket)));
    let changed = tell(&state, &["log-level", "trace"]);
    assert_eq!(printed(&changed), format!("trace  {}\n", text(&socket)), "{}", said(&changed));
    assert_eq!(
        (get(&socket, "/log-level").body, status(&socket).log_level),
        (b"trace\n".to_vec(), "trace".into())
    );
    assert_eq!(target.get("/loud").unwrap(), 200);
    agent.says(" TRACE span ").unwrap();
    let exchange = |body: &str| {
        let head = format!("PUT /log-level HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        Client::unix(socket.clone()).exchange(format!("{head}{body}").as_bytes()).unwrap().unwrap().status
    };
    assert_eq!([exchange("loud"), exchange(&"x".repeat(MAX_BODY + 1)), exchange("ERROR\n")], [400, 400, 200]);
    assert_eq!(status(&socket).log_level, "error");
    agent.stop().unwrap();
}

#[test]
fn a_file_with_mistakes_keeps_nobody_from_an_agent_that_runs() {
    let Some(folder) = Folder::for_test("a file with mistakes") else { return };
    let (state, file) = (folder.path().join("state"), folder.path().join("config.yaml"));
    fs::write(&file, "others: leave\n").unwrap();
    let (agent, socket) = start(&state, &["--config", text(&file)]);
    fs::write(&file, "others: leave\notherz: leave\n").unwrap();
    let check = |words: &[&str]| {
        let mut command = Command::new(lightfoot());
        command.args(["status", "--check", "live"]).args(words).env_clear().env("LIGHTFOOT_CONFIG", &file);
        command.output().unwrap()
    };
    for words in [["--socket", text(&socket)], ["--state-dir", text(&state)]] {
        let output = check(&words);
        assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {}", said(&output));
    }
    let noted = said(&check(&[]));
    let expected =
        [" cannot be followed:", "otherz", "are looked for by its state_dir and status_socket alone"];
    assert!(expected.iter().all(|part| noted.contains(part)), "{noted}");
    for place in [format!("status_socket: {}", text(&socket)), format!("state_dir: {}", text(&state))] {
        fs::write(&file, format!("{place}\notherz: leave\n")).unwrap();
        let output = check(&[]);
        assert!(output.status.success(), "{place}: {}", said(&output));
    }
    let named = check(&["--config", text(&file)]);
    assert_eq!(named.status.code(), Some(1), "{}", said(&named));
    assert!(!said(&named).contains(expected[2]), "{}", said(&named));
    agent.stop().unwrap();
}

#[test]
fn commands_pause_and_resume_by_the_file() {
    let Some(folder) = Folder::for_test("commands that pause") else { return };
    let path = folder.server().unwrap();
    let target = Target::start(&path).unwrap();
    let state = folder.path().join("state");
    let nobody = tell(&state, &["pause"]);
    assert_eq!(nobody.status.code(), Some(1), "{}", said(&nobody));
    let (agent, socket) = start(&state, &["--exe", text(&path)]);
    agent.watches(target.pid()).unwrap();
    let file = state.join("pause");
    let pauses = |words: &[&str], paused: &str, content: Option<&str>| {
        let output = tell(&state, words);
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        assert_eq!(printed(&output), format!("process {}: {paused} is paused\n", agent.pid()), "{words:?}");
        assert_eq!(fs::read_to_string(&file).ok().as_deref(), content, "{words:?}");
        // It has been obeyed by then.
        let said = status(&socket);
        assert_eq!((said.paused.as_str(), said.pause_file.as_ref()), (paused, Some(&file)));
        // As they are compared with paths.
        let patterns: Vec<_> = content.unwrap_or_default().lines().map(|one| format!("**/{one}")).collect();
        assert_eq!(said.paused_patterns, patterns);
        let is_watched = || status(&socket).processes.iter().any(|one| one.pid == target.pid());
        let expected = paused == "nothing" || content.is_some_and(|content| content == "other-*\n");
        wait_for("the target to be watched or left", || (is_watched() == expected).then_some(())).unwrap();
    };
    let name = path.file_name().unwrap().to_str().unwrap();
    pauses(&["pause", "other-*"], "some programs", Some("other-*\n"));
    pauses(&["pause", name], "some programs", Some(&format!("other-*\n{name}\n")));
    pauses(&["pause", name], "some programs", Some(&format!("other-*\n{name}\n")));
    pauses(&["resume", name], "some programs", Some("other-*\n"));
    pauses(&["resume", "other-*"], "nothing", None);
    pauses(&["pause"], "everything", Some(""));
    pauses(&["pause", name], "everything", Some(""));
    let unknown = tell(&state, &["resume", "unknown"]);
    assert!(said(&unknown).contains("pauses no \"unknown\""), "{}", said(&unknown));
    assert_eq!(unknown.status.code(), Some(1));
    pauses(&["resume"], "nothing", None);
    pauses(&["resume"], "nothing", None);
    let wrong = tell(&state, &["pause", "["]);
    assert_eq!((wrong.status.code(), file.exists()), (Some(1), false), "{}", said(&wrong));
    assert_eq!(target.get("/again").unwrap(), 200);
    agent.span("/again").unwrap();
    agent.stop().unwrap();
}
