//! What is said on standard error: levels, forms, hostile names, and a reader who does not read.
//!
//! Most needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI`
//! is `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::BTreeMap;
use std::io::{PipeReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use lightfoot_tests::live::process::Process;
use lightfoot_tests::live::{Agent, Client, Folder, Said, Target, lightfoot, slowness, text, wait_for};
use rustix::process::Signal;
use serde_json::Value;

/// An agent of that level that watches a server.
fn watching(target: &Target, level: &str) -> Agent {
    let pid = target.pid().to_string();
    let agent = Agent::start(["--pid", &pid, "--log-level", level], &[]).unwrap();
    agent.watches(target.pid()).unwrap();
    agent
}

fn requests(target: &Target, count: usize) {
    let mut client = Client::tcp(target.address().unwrap());
    for number in 0..count {
        assert_eq!(client.status(&format!("/{number}"), "").unwrap(), 200);
    }
}

#[test]
fn above_trace_nothing_is_said_of_requests() {
    let Some(folder) = Folder::for_test("requests at each level") else { return };
    let target = Target::start(&folder.server().unwrap()).unwrap();
    for (level, few, many) in [("debug", 0, 0), ("trace", 10, 1_010)] {
        let agent = watching(&target, level);
        let lines =
            |message: &str| Said::lines(&agent.messages()).filter(|said| said.message == message).count();
        let all = || Said::lines(&agent.messages()).count();
        requests(&target, 10);
        agent.wait_for_spans(10, |_| true).unwrap();
        agent.counts().unwrap();
        assert_eq!(lines("span"), few, "{level}: {}", agent.messages());
        let before = all();
        requests(&target, 1_000);
        agent.wait_for_spans(1_010, |_| true).unwrap();
        agent.counts().unwrap();
        assert_eq!((lines("span"), all() - before), (many, many - few), "{level}");
        agent.stop().unwrap();
    }
}

/// What `lightfoot run -- true` says where telemetry is switched off, which takes no rights.
fn switched_off(words: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(lightfoot());
    command.arg("run").args(words).args(["--", "true"]).env_clear().env("OTEL_SDK_DISABLED", "true");
    let output = command.envs(variables.iter().copied()).env("PATH", "/usr/bin:/bin").output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn flags_overrule_the_variable_and_the_variable_the_default() {
    let says = |words: &[&str], variable| {
        let variables = [("OTEL_LOG_LEVEL", variable)];
        let messages = switched_off(words, &variables);
        let said: Vec<_> = Said::lines(&messages).map(|said| (said.level, said.message)).collect();
        assert_eq!(said.len(), messages.lines().count(), "{messages}");
        assert!(said.is_empty() || said == [("INFO", "watching is switched off")], "{messages}");
        !said.is_empty()
    };
    assert!(says(&[], ""));
    assert!(!says(&[], "warn"));
    assert!(says(&[], "DEBUG"));
    assert!(says(&["--log-level", "info"], "error"));
    assert!(says(&["-v"], "error"));
    assert!(!says(&["--log-level", "warn"], "trace"));
}

#[test]
fn on_a_terminal_lines_are_short_and_coloured_unless_that_is_unwanted() {
    // util-linux; it gives its command a terminal and copies what comes.
    let on_terminal = |variables: &[(&str, &str)]| {
        let mut command = Command::new("script");
        command.args(["-qec", &format!("{} run -- true", text(&lightfoot())), "/dev/null"]);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("OTEL_SDK_DISABLED", "true")
            .env("TERM", "xterm");
        let output = command.envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let plain = "watching is switched off  variable=OTEL_SDK_DISABLED\r\n";
    assert_eq!(on_terminal(&[("NO_COLOR", "1")]), plain);
    let coloured = "watching is switched off  \u{1b}[2mvariable=\u{1b}[0mOTEL_SDK_DISABLED\r\n";
    assert_eq!(on_terminal(&[]), coloured);
}

#[test]
fn json_is_an_object_a_line_counts_included() {
    let Some(folder) = Folder::for_test("logs in JSON") else { return };
    let target = Target::start(&folder.server().unwrap()).unwrap();
    let pid = target.pid().to_string();
    let words = ["--pid", &pid, "--log-format", "json", "--log-level", "trace"];
    let agent = Agent::start(words, &[]).unwrap();
    agent.says("\"message\":\"watching\"").unwrap();
    wait_for("a span", || {
        target.get("/any").unwrap();
        (agent.count_spans(|_| true) > 0).then_some(())
    })
    .unwrap();
    agent.signal(Signal::USR1);
    agent.says("\"message\":\"counts\"").unwrap();
    let own = agent.pid();
    let outcome = agent.stop().unwrap();
    let lines: Vec<Value> =
        outcome.messages.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |message: &str| lines.iter().filter(|line| line["message"] == message).collect::<Vec<_>>();
    for line in &lines {
        let keys: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["fields", "level", "message", "target", "time"], "{line}");
    }
    let [watching] = of("watching")[..] else { panic!("{}", outcome.messages) };
    assert_eq!((&watching["level"], &watching["fields"]["pid"]), (&"INFO".into(), &target.pid().into()));
    let spans = of("span").len();
    assert_eq!(spans, outcome.spans.len());
    let [asked, last] = of("counts")[..] else { panic!("{}", outcome.messages) };
    assert_eq!((&asked["fields"]["watched"], &asked["fields"]["pid"]), (&1.into(), &own.into()));
    assert_eq!(last["fields"]["counts"]["ended"], spans);
}

#[test]
fn a_failure_is_an_object_too_where_that_was_asked_for() {
    let Some(folder) = Folder::for_test("a failure in JSON") else { return };
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let words = ["--exe", "nothing", "--log-format", "json", "--state-dir", text(&file)];
    let outcome = Agent::start(words, &[]).unwrap().wait().unwrap();
    assert_eq!(outcome.status.code(), Some(1));
    let last: Value = serde_json::from_str(outcome.messages.lines().last().unwrap()).unwrap();
    assert_eq!((&last["level"], &last["message"]), (&"ERROR".into(), &"failed".into()));
    assert!(last["fields"]["reason"].as_str().unwrap().starts_with("--state-dir: "), "{last}");
}

#[test]
fn hostile_names_forge_no_line_and_steer_no_terminal() {
    let Some(folder) = Folder::for_test("hostile names") else { return };
    let name = "x\u{1b}[2J\u{9b}1m\u{202e}\nERROR forged  pid=1";
    let path = folder.copy(&folder.server().unwrap(), name).unwrap();
    let service = format!("shop\u{1b}]0;owned\u{7}\n{}", "2026-01-01T00:00:00.000Z ERROR forged  pid=1");
    let target = Target::spawn(Command::new(&path).env("OTEL_SERVICE_NAME", service)).unwrap();
    let agent = watching(&target, "trace");
    wait_for("a span", || {
        target.get("/any").unwrap();
        (agent.count_spans(|_| true) > 0).then_some(())
    })
    .unwrap();
    let messages = agent.stop().unwrap().messages;
    let is_unsafe = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!messages.contains(is_unsafe), "{messages:?}");
    assert!(messages.contains("\\u{1b}[2J\\u{9b}1m\\u{202e}\\u{a}ERROR forged"), "{messages}");
    assert!(!Said::lines(&messages).any(|said| said.message == "forged"), "{messages}");
}

/// An agent that says a line of some 2,000 bytes for each span, into a pipe that nobody reads.
fn stalled(target: &Target) -> (Process, PipeReader) {
    let (reader, writer) = io::pipe().unwrap();
    let mut command = Command::new(lightfoot());
    command.args(["run", "--format", "json", "--log-level", "trace", "--pid", &target.pid().to_string()]);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(writer);
    (Process::spawn(&mut command).unwrap(), reader)
}

#[test]
fn a_standard_error_that_nobody_reads_holds_up_nothing_and_is_counted() {
    let Some(folder) = Folder::for_test("a standard error that nobody reads") else { return };
    let mut command = Command::new(folder.server().unwrap());
    let target = Target::spawn(command.env("OTEL_SERVICE_NAME", "x".repeat(2_000))).unwrap();
    let (mut agent, mut errors) = stalled(&target);
    let spans = agent.output(|_| ());
    let count = || spans.with(<[()]>::len);
    wait_for("the first span", || {
        target.get("/first").unwrap();
        (count() > 0).then_some(())
    })
    .unwrap();
    // The pipe takes 64 KiB and the queue 1 MiB.
    let (before, sent) = (count(), 1_000);
    requests(&target, sent);
    wait_for("all spans", || (count() >= before + sent).then_some(())).unwrap();
    // It also answers signals: with counts that nobody sees, and in the end.
    agent.signal(Signal::USR1);
    requests(&target, 1);
    wait_for("one more", || (count() > before + sent).then_some(())).unwrap();
    // There is room for the last counts then.
    let mut first = vec![0; 128 << 10];
    errors.read_exact(&mut first).unwrap();
    let text = thread::spawn(move || {
        let mut text = String::from_utf8(first).unwrap();
        errors.read_to_string(&mut text).map(|_| text)
    });
    agent.signal(Signal::TERM);
    assert!(agent.wait().unwrap().success());
    let text = text.join().unwrap().unwrap();
    // The last one: counts are shorter than a line of a span, so those that were asked for may have found room too.
    let line = text.lines().rfind(|line| line.starts_with("log_lines_dropped ")).unwrap();
    let dropped: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    let said = Said::lines(&text).filter(|said| said.message == "span").count();
    assert!(dropped > 200, "{line}");
    // Each span had its line: it was shown or dropped. The counts that were asked for may have been dropped too.
    let spans = count();
    assert!((spans..spans + 100).contains(&(said + dropped)), "{said} {dropped} {spans}");
    assert_eq!(line.split_whitespace().next(), Some("log_lines_dropped"));
}

#[test]
fn an_agent_whose_standard_error_is_stalled_ends_when_told() {
    let Some(folder) = Folder::for_test("ending with a stalled standard error") else { return };
    let mut command = Command::new(folder.server().unwrap());
    let target = Target::spawn(command.env("OTEL_SERVICE_NAME", "x".repeat(2_000))).unwrap();
    let (mut agent, _errors) = stalled(&target);
    let spans = agent.output(|_| ());
    // More than pipe and queue take.
    wait_for("spans", || {
        requests(&target, 100);
        (spans.with(<[()]>::len) >= 1_000).then_some(())
    })
    .unwrap();
    let told = Instant::now();
    agent.signal(Signal::TERM);
    assert!(agent.wait().unwrap().success());
    assert!(told.elapsed() < Duration::from_secs(10) * slowness(), "{:?}", told.elapsed());
}

/// The source of the agent, file by file.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            sources(&path, found);
        } else if name != "tests.rs" {
            found.push((text(&path).to_owned(), fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The level and the message of each call of a macro of `tracing`.
fn messages_in_source() -> Vec<(String, String)> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/src"), &mut files);
    let mut messages = Vec::new();
    for (file, source) in files {
        for level in ["error", "warn", "info", "debug", "trace"] {
            for (at, _) in source.match_indices(&format!("{level}!(")) {
                let after = source.get(at..).unwrap();
                // The message is the last argument, and a literal: it ends right before the call does.
                let end = ["\")", "\"\n"].map(|end| {
                    after
                        .match_indices(end)
                        .map(|(at, _)| at)
                        .find(|at| after.get(at + 1..).unwrap().trim_start().starts_with(')'))
                });
                let end = end.into_iter().flatten().min().unwrap();
                let call = after.get(..end).unwrap();
                let (_, message) = call.rsplit_once('"').unwrap();
                assert!(!message.contains('{') && call.matches("!(").count() == 1, "{file}: {call}");
                messages.push((level.to_owned(), message.to_owned()));
            }
        }
    }
    messages.sort();
    messages.dedup();
    messages
}

#[test]
fn each_message_is_constant_and_in_the_document_with_its_level() {
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/logs.md")).unwrap();
    let row = |line: &str| {
        let cells: Vec<_> = line.strip_prefix("| ")?.split(" | ").collect();
        let [level, message, ..] = cells[..] else { return None };
        let message = message.strip_prefix('`')?.strip_suffix('`')?;
        let is_level = ["error", "warn", "info", "debug", "trace"].contains(&level);
        is_level.then(|| (level.to_owned(), message.to_owned()))
    };
    let mut documented: Vec<_> = document.lines().filter_map(row).collect();
    documented.sort();
    let said = messages_in_source();
    let of = |pairs: &[(String, String)]| {
        let mut levels: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (level, message) in pairs {
            levels.entry(level.clone()).or_default().push(message.clone());
        }
        levels
    };
    assert_eq!(of(&said), of(&documented));
    let mut messages: Vec<_> = said.iter().map(|(_, message)| message).collect();
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), said.len(), "a message has two levels");
}
