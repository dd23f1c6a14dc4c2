//! The command line of `lightfoot run`: what it refuses and how, and `run -- COMMAND`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use lightfoot_tests::go::Program;
use lightfoot_tests::live::code::{code_at, probes};
use lightfoot_tests::live::target::addresses;
use lightfoot_tests::live::{
    Agent, Folder, PATIENCE, Said, Target, binary, get, is_privileged, lightfoot, text, unused_addresses,
    wait_for,
};
use rustix::process::{Pid, Signal, kill_process};

/// Runs `lightfoot` with these words, and nothing of the environment but PATH and `variables`.
fn run(words: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(lightfoot());
    command.args(words).env_clear().envs(env::var_os("PATH").map(|path| ("PATH", path)));
    command.envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_one_sentence(text: &str) -> bool {
    text.starts_with("lightfoot: ") && text.lines().count() == 1
}

#[test]
fn help_names_every_flag_and_no_hidden_one() {
    let output = run(&["run", "--help"], &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    for flag in ["--pid", "--exe", "--port", "--endpoint", "--protocol", "--format", "--ring-size", "SIGUSR1"]
    {
        assert!(text.contains(flag), "{flag} is not in\n{text}");
    }
    assert!(!text.contains("--max-contexts"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let commands = run(&["--help"], &[]).stdout;
    assert!(!String::from_utf8(commands).unwrap().contains("exec"));
}

/// As its help says.
#[test]
fn the_exit_code_says_what_can_be_inspected() {
    let code = |file: &Path| run(&["inspect", text(file)], &[]).status.code();
    assert_eq!(code(&binary(Program::Lifecycle).unwrap()), Some(0));
    assert_eq!(code(Path::new("/bin/sh")), Some(1));
    // It serves nothing and calls nobody.
    assert_eq!(code(&binary(Program::Untold).unwrap()), Some(3));
}

#[test]
fn wrong_usage_names_the_flag() {
    let cases: [(&[&str], &str); 14] = [
        (&["--pid", "0"], "--pid <PID>"),
        (&["--pid", "x"], "--pid <PID>"),
        (&["--port", "0"], "--port <PORT>"),
        (&["--port", "65536"], "--port <PORT>"),
        (&["--exe", "[a"], "--exe <GLOB>"),
        (&["--ring-size", "1000"], "--ring-size <KIB>"),
        (&["--ring-size", "2"], "--ring-size <KIB>"),
        (&["--format", "xml"], "--format <FORMAT>"),
        (&["--queue-size", "0"], "--queue-size <MIB>"),
        (&["--flush-timeout", "soon"], "--flush-timeout <SECONDS>"),
        (&["--attach-method", "ptrace"], "--attach-method <METHOD>"),
        (&["--log-level", "loud"], "--log-level <LEVEL>"),
        (&["--log-format", "xml"], "--log-format <FORMAT>"),
        (&["-v", "--log-level", "info"], "--log-level <LEVEL>"),
    ];
    for (words, named) in cases {
        let output = run(&[&["run"], words].concat(), &[]);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(errors(&output).contains(named), "{words:?}: {}", errors(&output));
    }
}

#[test]
fn all_settings_that_are_refused_are_named_at_once() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
        ("OTEL_TRACES_EXPORTER", "otlp,zipkin"),
        ("OTEL_TRACES_SAMPLER", "xray"),
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_LOG_LEVEL", "loud"),
    ];
    let output = run(&["run", "--endpoint", "nowhere", "--protocol", "smoke"], &variables);
    assert_eq!(output.status.code(), Some(1));
    let text = errors(&output);
    let named = variables.map(|(name, _)| name);
    for name in named.into_iter().chain(["--endpoint", "--protocol"]) {
        assert!(text.contains(name), "{name} is not in\n{text}");
    }
}

#[test]
fn a_command_runs_where_telemetry_is_switched_off() {
    let output = run(&["run", "--", "sh", "-c", "echo ran; exit 7"], &[("OTEL_SDK_DISABLED", "True")]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(7), b"ran\n".as_slice()));
    assert!(errors(&output).contains("OTEL_SDK_DISABLED"), "{}", errors(&output));
}

#[test]
fn a_command_that_is_not_there_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::write(&data, "").unwrap();
    let cases = [("no-such-command", 127), ("/no/such/command", 127), (data.to_str().unwrap(), 126)];
    for (command, code) in cases {
        let output = run(&["run", "--", command], &[]);
        assert_eq!(output.status.code(), Some(code), "{command}");
        assert!(
            is_one_sentence(&errors(&output)) && errors(&output).contains(command),
            "{}",
            errors(&output)
        );
    }
}

#[test]
fn a_process_that_is_not_there_is_one_sentence() {
    if !is_privileged("a process that is not there") {
        return;
    }
    let output = run(&["run", "--pid", "4194999"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(is_one_sentence(&errors(&output)) && errors(&output).contains("4194999"), "{}", errors(&output));
}

#[test]
fn a_process_that_cannot_be_watched_is_named_with_the_reason() {
    if !is_privileged("a process that cannot be watched") {
        return;
    }
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let agent = Agent::start(["--pid", &other.id().to_string()], &[]).unwrap();
    let said = agent.says("not a Go program");
    other.kill().unwrap();
    other.wait().unwrap();
    said.unwrap();
    let messages = agent.stop().unwrap().messages;
    assert!(
        messages.contains(&format!(" pid={} ", other.id())) && !messages.contains("/proc/"),
        "{messages}"
    );
}

#[test]
fn without_privileges_it_says_what_is_missing() {
    let Some(folder) = Folder::for_test("giving privileges up") else { return };
    // Where another user can execute it.
    let program = folder.copy(&lightfoot(), "lightfoot").unwrap();
    let with_less = |words: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(words).arg(&program).args(["run", "--", "true"]).env("RUST_BACKTRACE", "0");
        command.output().unwrap()
    };
    let nobody = with_less(&["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    assert_eq!(nobody.status.code(), Some(1));
    let text = errors(&nobody);
    for capability in ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "sudo"] {
        assert!(text.contains(capability), "{text}");
    }
    assert!(is_one_sentence(&text), "{text}");
    // All but one; SYS_ADMIN would stand for it.
    let text = errors(&with_less(&["--bounding-set", "-bpf,-sys_admin", "--inh-caps", "-bpf,-sys_admin"]));
    assert!(is_one_sentence(&text) && text.contains("without CAP_BPF:"), "{text}");
}

/// `run -- COMMAND …`
fn under_watch(words: &[&str], variables: &[(&str, &str)]) -> Agent {
    Agent::start([&["--"], words].concat(), variables).unwrap()
}

/// Where the server that the agent started listens.
fn address(agent: &Agent) -> SocketAddr {
    wait_for("the server", || addresses(&agent.other_output()).first().copied()).unwrap()
}

/// The process that the agent started and says to watch.
fn child(agent: &Agent) -> Pid {
    let number = wait_for("the command to be watched", || {
        let messages = agent.messages();
        let said = Said::lines(&messages).find(|said| said.message == "watching")?;
        said.fields.split(' ').find_map(|field| field.strip_prefix("pid=")?.parse().ok())
    });
    Pid::from_raw(number.unwrap()).unwrap()
}

#[test]
fn a_command_is_watched_from_its_first_request() {
    let Some(folder) = Folder::for_test("a command under watch") else { return };
    let path = folder.server().unwrap();
    // Of agents that others kill it knows nothing there.
    let state = folder.path().join("state");
    for _ in 0..5 {
        let [address] = unused_addresses();
        let command = [text(&path), "-listen", &address.to_string()];
        let agent =
            Agent::start(["--state-dir", text(&state), "--"].into_iter().chain(command), &[]).unwrap();
        // The first connection that is taken at all is the first request that is served.
        let deadline = Instant::now() + PATIENCE;
        while get(address, "/first").is_err() {
            assert!(Instant::now() < deadline, "{}", agent.messages());
        }
        assert_eq!(get(address, "/second").unwrap(), 200);
        agent.span("/first").unwrap();
        agent.span("/second").unwrap();
        assert!(agent.other_output().starts_with("listening "), "{}", agent.other_output());
        let outcome = agent.stop().unwrap();
        assert_eq!(outcome.paths(), ["/first", "/second"]);
        assert_eq!(outcome.count("records_without_process"), 0, "{}", outcome.messages);
        let first = Said::lines(&outcome.messages).next().unwrap();
        assert_eq!((first.level, first.message), ("INFO", "watching"), "{}", outcome.messages);
        assert!(first.fields.starts_with("service=lifecycle pid="), "{}", outcome.messages);
    }
}

#[test]
fn exit_codes_and_signals_are_passed_on() {
    if !is_privileged("exit codes") {
        return;
    }
    let server = binary(Program::Lifecycle).unwrap();
    // By itself, by the signal that the agent got, and by one that nobody handles.
    for (words, signal, code) in [
        (vec!["true"], None, 0),
        (vec!["sh", "-c", "exit 7"], None, 7),
        (vec!["sh", "-c", "kill -KILL $$"], None, 128 + 9),
        (vec![text(&server), "-exit-code", "5"], Some(Signal::TERM), 5),
        (vec![text(&server)], Some(Signal::QUIT), 2),
        (vec!["sleep", "60"], Some(Signal::INT), 128 + 2),
    ] {
        let agent = under_watch(&words, &[]);
        if let Some(signal) = signal {
            if words.first() == Some(&"sleep") {
                agent.says("not a Go program").unwrap();
            } else {
                wait_for("the server", || agent.other_output().contains("user ").then_some(())).unwrap();
            }
            agent.signal(signal);
        }
        let outcome = agent.wait().unwrap();
        assert_eq!(outcome.status.code(), Some(code), "{words:?}: {}", outcome.messages);
    }
}

#[test]
fn a_command_that_ignores_requests_to_end_can_be_killed() {
    if !is_privileged("a command that ignores signals") {
        return;
    }
    let server = binary(Program::Lifecycle).unwrap();
    let agent = under_watch(&[text(&server), "-deaf"], &[]);
    let heard = |count: usize, number: i32| {
        let line = format!("signal {number}\n");
        wait_for(&line, || (agent.other_output().matches(&line).count() == count).then_some(())).unwrap();
    };
    wait_for("the server", || agent.other_output().contains("user ").then_some(())).unwrap();
    for (signal, number) in [(Signal::HUP, 1), (Signal::USR2, 12)] {
        agent.signal(signal);
        heard(1, number);
    }
    agent.signal(Signal::INT);
    heard(1, 2);
    agent.signal(Signal::INT);
    heard(2, 2);
    agent.says("once more kills it").unwrap();
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait().unwrap().status.code(), Some(128 + 9));
}

#[test]
fn the_command_runs_as_the_user_who_called_sudo() {
    let Some(folder) = Folder::for_test("sudo") else { return };
    let path = folder.server().unwrap();
    let variables = [("SUDO_UID", "65534"), ("SUDO_GID", "65534"), ("HOME", "/root"), ("USER", "root")];
    let agent = under_watch(&[text(&path)], &variables);
    let line = wait_for("the server", || {
        agent.other_output().lines().find(|line| line.starts_with("user ")).map(ToOwned::to_owned)
    })
    .unwrap();
    assert!(line.starts_with("user 65534 group 65534 name nobody home /"), "{line:?}");
    assert!(!line.contains("/root"));
    let address = address(&agent);
    assert_eq!(get(address, "/sudo").unwrap(), 200);
    agent.span("/sudo").unwrap();
    // Our own descriptors are none of its business.
    let own = fs::read_dir(format!("/proc/{}/fd", child(&agent).as_raw_nonzero())).unwrap();
    let targets: Vec<_> = own.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).collect();
    assert!(!targets.iter().any(|target| text(target).contains("bpf")), "{targets:?}");
    agent.stop().unwrap();
}

#[test]
fn the_command_has_the_groups_of_whoever_called_sudo() {
    let Some(folder) = Folder::for_test("groups") else { return };
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    // Accounts that this test alone sees; a process that nobody watches needs no server.
    let users = file("passwd", "root:x:0:0::/root:/bin/sh\nann:x:41234:41235::/home/ann:/bin/sh\n");
    let groups = file("group", "root:x:0:\nann:x:41235:\nwheel:x:41236:bob,ann\nothers:x:41237:bob\n");
    let script = format!(
        "mount --bind {} /etc/passwd && mount --bind {} /etc/group && exec {} run -- id -G",
        text(&users),
        text(&groups),
        text(&lightfoot())
    );
    for (user, group, expected) in [(41234, 41235, "41235 41236\n"), (49999, 49998, "49998\n")] {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]);
        let variables = [("SUDO_UID", user.to_string()), ("SUDO_GID", group.to_string())];
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        let outcome = Agent::spawn(command, &variables).unwrap().wait().unwrap();
        assert!(outcome.status.success(), "{}", outcome.messages);
        assert_eq!(outcome.other_output, expected, "{}", outcome.messages);
    }
}

#[test]
fn a_server_that_a_wrapper_starts_is_watched_and_no_other() {
    let Some(folder) = Folder::for_test("a wrapper that stays") else { return };
    let path = folder.server().unwrap();
    let neighbour = Target::start(&path).unwrap();
    // As `make run` does: a shell in a shell, and each waits for what it has started.
    let script = format!("sh -c '{}; true'; true", text(&path));
    let agent = under_watch(&["sh", "-c", &script], &[]);
    let address = address(&agent);
    agent.says(&format!(" path={}\n", text(&path))).unwrap();
    agent.counts().unwrap();
    assert_eq!(get(address, "/wrapped").unwrap(), 200);
    assert_eq!(neighbour.get("/neighbour").unwrap(), 200);
    let pid = agent.span("/wrapped").unwrap().pid();
    let server = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(server, Signal::TERM).unwrap();
    let outcome = agent.wait().unwrap();
    assert!(outcome.status.success());
    assert_eq!(outcome.paths(), ["/wrapped"]);
}

#[test]
fn a_wrapper_that_executes_the_server_is_followed() {
    let Some(folder) = Folder::for_test("a wrapper") else { return };
    let path = folder.server().unwrap();
    let agent = under_watch(&["sh", "-c", &format!("sleep 0.1; exec {}", text(&path))], &[]);
    child(&agent);
    agent.counts().unwrap();
    assert_eq!(get(address(&agent), "/wrapped").unwrap(), 200);
    agent.span("/wrapped").unwrap();
    agent.stop().unwrap();
}

#[test]
fn an_agent_that_is_killed_leaves_the_command_alone_and_unprobed() {
    let Some(folder) = Folder::for_test("a killed agent") else { return };
    let path = folder.server().unwrap();
    let offsets = probes(&path).unwrap();
    let agent = under_watch(&[text(&path)], &[]);
    let child = child(&agent);
    let pid = child.as_raw_nonzero().get().cast_unsigned();
    let address = address(&agent);
    let other = Target::start(&folder.copy_of(Program::Lifecycle, "other").unwrap()).unwrap();
    other.address().unwrap();
    let original = code_at(other.pid(), &offsets).unwrap();
    assert_ne!(code_at(pid, &offsets).unwrap(), original);
    // Kills it.
    drop(agent);
    wait_for("the original code", || (code_at(pid, &offsets).unwrap() == original).then_some(())).unwrap();
    assert_eq!(get(address, "/orphan").unwrap(), 200);
    kill_process(child, Signal::KILL).unwrap();
}

#[test]
fn nothing_is_started_where_nothing_can_be_watched() {
    let Some(folder) = Folder::for_test("an object that is refused") else { return };
    let trace = folder.path().join("trace");
    let script = format!("touch {}", text(&trace));
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set", "-perfmon,-sys_admin", "--inh-caps", "-perfmon,-sys_admin"])
        .arg(lightfoot());
    let output = command.args(["run", "--", "sh", "-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    thread::sleep(Duration::from_millis(200));
    assert!(!trace.exists(), "{}", errors(&output));
}

/// What an agent prints of one request, `/one`.
fn printed(folder: &Folder, target: &Target, flags: &[&str], variables: &[(&str, &str)]) -> String {
    let path = folder.path().join("printed");
    let mut command = Command::new(lightfoot());
    command.args(["run", "--pid", &target.pid().to_string()]).args(flags);
    let agent = Agent::spawn_into(fs::File::create(&path).unwrap().into(), command, variables).unwrap();
    agent.watches(target.pid()).unwrap();
    assert_eq!(target.get("/one").unwrap(), 200);
    agent.counts_to("spans_printed", 1).unwrap();
    agent.stop().unwrap();
    fs::read_to_string(&path).unwrap()
}

#[test]
fn the_other_formats_have_a_line_for_each_span() {
    let Some(folder) = Folder::for_test("formats") else { return };
    let target = Target::start(&folder.server().unwrap()).unwrap();
    for (format, wanted) in [
        ("json", vec![r#""url.path":"/one""#.to_owned(), format!(r#""process.pid":{}"#, target.pid())]),
        ("tree", vec!["GET /  200".to_owned(), "url.path=/one".to_owned()]),
    ] {
        let printed = printed(&folder, &target, &["--format", format], &[]);
        assert_eq!(printed.lines().count(), 1, "{printed}");
        for part in wanted {
            assert!(printed.contains(&part), "{part} is not in {printed}");
        }
    }
}

#[test]
fn the_printer_of_another_agent_is_above_the_file_and_below_the_flag() {
    let Some(folder) = Folder::for_test("formats of another agent") else { return };
    let target = Target::start(&folder.server().unwrap()).unwrap();
    let (json, tree) = (r#""url.path":"/one""#, "url.path=/one");
    for (of_file, printer, flag, wanted) in [
        ("json", "text", None, tree),
        ("tree", "json", None, json),
        ("tree", "json_indent", None, json),
        ("json", "disabled", None, json),
        ("json", "json", Some("tree"), tree),
    ] {
        let file = folder.say("config.yaml", &format!("export: {{format: {of_file}}}\n")).unwrap();
        let mut flags = vec!["--config", text(&file)];
        flags.extend(flag.iter().flat_map(|format| ["--format", format]));
        let printed = printed(&folder, &target, &flags, &[("OTEL_EBPF_TRACE_PRINTER", printer)]);
        assert!(printed.contains(wanted), "{of_file} {printer} {flag:?}: {printed}");
    }
}
