//! Rules say to whose requests something is added.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::{Agent, Driven, Folder, text, wait_for};

use super::refusal::is_refused;
use super::wire::Wire;

/// Also without `--propagate`; and what a rule says no longer is done no longer.
#[test]
fn nothing_is_written_to_a_process_for_which_no_rule_asks() {
    let Some(folder) = Folder::for_test("trace contexts by rules") else { return };
    let build = Build::here(Program::Propagation, GoVersion::of_minor(26).unwrap(), Mode::Plain);
    let binary = build.path().unwrap();
    let [mut asked, mut other] = [(); 2].map(|()| Driven::start(&binary).unwrap());
    let wire = Wire::start();
    let program = fs::read_link(format!("/proc/{}/exe", asked.pid())).unwrap();
    let say = |propagate: bool| {
        let rule = format!("rules:\n- match: {{exe: {}}}\n  propagate: {propagate}\n", text(&program));
        folder.say("config.yaml", &rule).unwrap()
    };
    let config = say(true);
    let pids = [asked.pid().to_string(), other.pid().to_string()];
    let agent = Agent::start(["--config", text(&config), "--pid", &pids[0], "--pid", &pids[1]], &[]).unwrap();
    agent.watches(asked.pid()).unwrap();
    agent.watches(other.pid()).unwrap();
    let had = [&mut asked, &mut other].map(|program| has_header(program, &wire));
    say(false);
    wait_for("a request as it is", || (!has_header(&mut asked, &wire)).then_some(())).unwrap();
    let counted = agent.counts().unwrap();
    assert!(!has_header(&mut asked, &wire));
    let outcome = agent.stop().unwrap();
    assert_eq!(had, [!is_refused(&outcome), false], "{}", outcome.messages);
    let of_propagation = |name: &str| name.starts_with("propagat");
    let before = counted.iter().filter(|(name, _)| of_propagation(name));
    let after = outcome.counts.iter().filter(|(name, _)| of_propagation(name));
    assert!(before.eq(after), "{counted:?}");
    assert!(outcome.counts.keys().all(|name| !name.starts_with("propagation_")), "{:?}", outcome.counts);
}

/// Whoever is called would have a parent that nobody gets.
#[test]
fn nothing_is_written_where_spans_of_clients_are_left_out() {
    let Some(folder) = Folder::for_test("trace contexts without spans") else { return };
    let build = Build::here(Program::Propagation, GoVersion::of_minor(26).unwrap(), Mode::Plain);
    let mut program = Driven::start(&build.path().unwrap()).unwrap();
    let wire = Wire::start();
    let exe = fs::read_link(format!("/proc/{}/exe", program.pid())).unwrap();
    let mut had = Vec::new();
    let mut is_refused_here = false;
    for spans in ["[http-server, http-client]", "[http-client, grpc-client]"] {
        let rule = format!("rules:\n- match: {{exe: {}}}\n  propagate: true\n  spans: {spans}\n", text(&exe));
        let config = folder.say("config.yaml", &rule).unwrap();
        let words = ["--config", text(&config), "--pid", &program.pid().to_string()];
        let agent = Agent::start(words, &[]).unwrap();
        agent.watches(program.pid()).unwrap();
        had.push(has_header(&mut program, &wire));
        is_refused_here = is_refused(&agent.stop().unwrap());
    }
    assert_eq!(had, [false, !is_refused_here]);
}

/// Probes stand in a file, so both pass them; whose request is written to is decided by process.
#[test]
fn of_two_processes_of_a_file_one_is_written_to() {
    let Some(folder) = Folder::for_test("trace contexts by rules, of two processes of a file") else {
        return;
    };
    let build = Build::here(Program::Propagation, GoVersion::of_minor(26).unwrap(), Mode::Plain);
    let mut asked = Driven::start(&build.path().unwrap()).unwrap();
    let mut other = asked.twin().unwrap();
    let file = |program: &Driven| fs::metadata(format!("/proc/{}/exe", program.pid())).unwrap().ino();
    assert_eq!(file(&asked), file(&other));
    let wire = Wire::start();
    let arguments = fs::read_to_string(format!("/proc/{}/cmdline", asked.pid())).unwrap();
    let arguments = arguments.trim_end_matches('\0').replace('\0', " ");
    let rule = format!("rules:\n- match: {{command_line: {arguments:?}}}\n  propagate: true\n");
    let config = folder.say("config.yaml", &rule).unwrap();
    let pids = [asked.pid().to_string(), other.pid().to_string()];
    let agent = Agent::start(["--config", text(&config), "--pid", &pids[0], "--pid", &pids[1]], &[]).unwrap();
    agent.watches(asked.pid()).unwrap();
    agent.watches(other.pid()).unwrap();
    let had = [(); 3].map(|()| [&mut other, &mut asked].map(|program| has_header(program, &wire)));
    let outcome = agent.stop().unwrap();
    assert_eq!(had, [[false, !is_refused(&outcome)]; 3], "{}", outcome.messages);
    assert_eq!(outcome.spans.len(), 6, "{}", outcome.messages);
}

/// Whether a request of that program carries a trace context.
fn has_header(program: &mut Driven, wire: &Wire) -> bool {
    program.ask(&format!("run get {}", wire.address)).unwrap();
    String::from_utf8_lossy(&wire.take()[0]).contains("traceparent")
}
