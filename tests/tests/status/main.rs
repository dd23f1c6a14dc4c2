//! What a running agent says of itself to whoever asks (`lightfoot status`, `GET /status`).
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use lightfoot::state::sockets;
use lightfoot::status::metrics::{Kind, Metric, table};
use lightfoot::status::openmetrics;
use lightfoot::status::server::{MAX_BODY, MAX_CONNECTIONS, MAX_HEAD, MAX_TIME};
use lightfoot::status::{Process, Status};
use lightfoot_tests::live::{
    Agent, Client, Folder, PATIENCE, Response, Target, lightfoot, slowness, text, wait_for,
};
use rustix::process::Signal;
use serde_json::Value;

mod fills;
mod processes;

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
    let mut sleeper = Command::new(sleeper).arg("600").spawn().unwrap();
    let state = folder.path().join("state");
    let asked = sleeper.id().to_string();
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
    let of_sleeper = || status(&socket).refused.into_iter().find(|one| one.pid == sleeper.id());
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
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
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

/// The name of a metric in the text, and of its values there.
fn plain(metric: &Metric) -> (String, String) {
    let unit = match metric.unit {
        "s" => "_seconds",
        "By" => "_bytes",
        _ => "",
    };
    let name = metric.plain_name() + unit;
    let of_values = if metric.kind == Kind::Counter { format!("{name}_total") } else { name.clone() };
    (name, of_values)
}

fn row(metric: &Metric) -> String {
    let attributes: Vec<_> = metric.attributes.iter().map(|attribute| format!("`{attribute}`")).collect();
    let Metric { name, kind, unit, help, .. } = metric;
    format!("| `{name}` | `{}` | {kind} | `{unit}` | {} | {help} |", plain(metric).1, attributes.join(", "))
}

/// `UPDATE=1` writes the table.
#[test]
fn each_metric_is_in_the_document() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = fs::read_to_string(&path).unwrap();
    let head =
        "| name | in OpenMetrics | kind | unit | attributes | what it says |\n|---|---|---|---|---|---|\n";
    let (before, rest) = page.split_once(head).unwrap();
    let (rows, after) = rest.split_once("\n\n").unwrap_or(("", rest));
    let expected = table().iter().map(row).collect::<Vec<_>>().join("\n");
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{before}{head}{expected}\n\n{}", after.trim_start())).unwrap();
    } else {
        assert_eq!(rows, expected, "UPDATE=1 writes it");
    }
}

#[test]
fn a_running_agent_tells_each_metric_and_no_other() {
    let Some(folder) = Folder::for_test("metrics") else { return };
    let path = folder.server().unwrap();
    let target = Target::start(&path).unwrap();
    // An endpoint that is not there: only then there is something to say of it.
    let endpoint = ["--endpoint", "http://127.0.0.1:9", "--flush-timeout", "0"];
    let (agent, socket) =
        start(&folder.path().join("state"), &[&["--exe", text(&path)], &endpoint[..]].concat());
    agent.watches(target.pid()).unwrap();
    for _ in 0..3 {
        assert_eq!(target.get("/three").unwrap(), 200);
    }
    let scrape = || {
        let response = get(&socket, "/metrics");
        assert_eq!(response.status, 200);
        assert!(response.headers.contains(&("content-type".to_owned(), openmetrics::KIND.to_owned())));
        String::from_utf8(response.body).unwrap()
    };
    let value = |text: &str, series: &str| -> Option<f64> {
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    };
    let text = wait_for("all spans to wait for the endpoint, which is down", || {
        let text = scrape();
        let waits = value(&text, "lightfoot_queue_spans") == Some(3.0);
        (waits && value(&text, "lightfoot_endpoint_up") == Some(0.0)).then_some(text)
    })
    .unwrap();
    assert_eq!(value(&text, "lightfoot_spans_recorded_total"), Some(3.0));
    assert_eq!(value(&text, "lightfoot_processes_watched"), Some(1.0));
    assert_eq!(value(&text, "lightfoot_spans_lost_total{cause=\"ring_full\"}"), Some(0.0));
    let of_service = "lightfoot_service_spans_total{service_name=\"server\",outcome=\"pushed\"}";
    let service = &status(&socket).processes[0].service.clone().unwrap();
    assert_eq!(value(&text, &of_service.replace("server", service)), Some(3.0), "{text}");

    // The same in the page.
    let delivery = status(&socket).delivery;
    assert_eq!(delivery.endpoint.as_deref(), Some("http://127.0.0.1:9/v1/traces"));
    assert!(delivery.down && delivery.printed && delivery.because.is_none(), "{delivery:?}");
    assert!(delivery.last_error.as_ref().is_some_and(|error| error.contains("refused")), "{delivery:?}");
    assert_eq!(delivery.waiting_spans, 3, "{delivery:?}");
    assert!(0 < delivery.waiting_bytes && delivery.waiting_bytes < delivery.max_bytes, "{delivery:?}");

    let mut told = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert!(told.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} is told twice");
    }
    let expected: BTreeMap<_, _> =
        table().iter().map(|metric| (plain(metric).0, metric.kind.to_string())).collect();
    assert_eq!(told, expected);
    for metric in table() {
        let name = plain(&metric).1;
        let has_value =
            |line: &str| line.starts_with(&format!("{name} ")) || line.starts_with(&format!("{name}{{"));
        assert!(text.lines().any(has_value), "{name} has no value");
    }
    assert!(text.ends_with("# EOF\n"));

    // Nothing goes back when a process ends.
    drop(target);
    wait_for("the process to be left", || {
        let text = scrape();
        assert_eq!(value(&text, "lightfoot_spans_recorded_total"), Some(3.0), "{text}");
        (value(&text, "lightfoot_processes_watched") == Some(0.0)).then_some(())
    })
    .unwrap();
    agent.stop().unwrap();
}

/// The bodies of the requests that are posted to a path of an endpoint of its own.
fn endpoint() -> (SocketAddr, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (tell, mut stream) = (tell.clone(), BufReader::new(stream.unwrap()));
            thread::spawn(move || {
                loop {
                    let (mut path, mut length) = (String::new(), 0);
                    for line in
                        stream.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty())
                    {
                        if let Some(rest) = line.strip_prefix("POST ") {
                            rest.split(' ').next().unwrap().clone_into(&mut path);
                        } else if let Some(rest) = line.to_lowercase().strip_prefix("content-length: ") {
                            length = rest.parse().unwrap();
                        }
                    }
                    if path.is_empty() {
                        return;
                    }
                    let mut body = vec![0; length];
                    stream.read_exact(&mut body).unwrap();
                    stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
                    if tell.send((path, serde_json::from_slice(&body).unwrap())).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, told)
}

#[test]
fn metrics_are_sent_where_that_is_asked_for_and_a_last_time_at_the_end() {
    let Some(folder) = Folder::for_test("metrics by OTLP") else { return };
    let path = folder.server().unwrap();
    let target = Target::start(&path).unwrap();
    let (address, told) = endpoint();
    let base = format!("http://{address}/base");
    let variables = [
        ("OTEL_METRICS_EXPORTER", "otlp"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &base),
    ];
    let agent = Agent::start(["--exe", text(&path), "--status-socket", "none"], &variables).unwrap();
    agent.watches(target.pid()).unwrap();
    let value = |(path, request): (String, Value), name: &str| {
        assert_eq!(path, "/base");
        let metrics = request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap().clone();
        let metric = metrics.into_iter().find(|one| one["name"] == name)?;
        let data = metric.get("sum").or_else(|| metric.get("gauge"))?;
        let point = &data["dataPoints"][0];
        point["asDouble"].as_f64().or_else(|| point["asInt"].as_str()?.parse().ok())
    };
    let watched = |request| value(request, "lightfoot.processes.watched");
    while watched(told.recv_timeout(PATIENCE * slowness()).unwrap()) != Some(1.0) {}
    for _ in 0..3 {
        assert_eq!(target.get("/three").unwrap(), 200);
    }
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.count("ended"), 3);
    let last = told.try_iter().last().unwrap();
    assert_eq!(value(last.clone(), "lightfoot.spans.printed"), Some(3.0), "{last:?}");
    assert_eq!(value(last, "lightfoot.endpoint.up"), None);
}

#[test]
fn an_exporter_of_metrics_that_is_not_known_is_refused() {
    let variables = [("OTEL_METRICS_EXPORTER", "prometheus")];
    let outcome = Agent::start(["--exe", "nothing"], &variables).unwrap().wait().unwrap();
    assert_eq!(outcome.status.code(), Some(1));
    let expected =
        "OTEL_METRICS_EXPORTER: \"prometheus\" is neither otlp nor none; /metrics at the status socket";
    assert!(outcome.messages.contains(expected), "{}", outcome.messages);
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

#[test]
fn at_a_tcp_port_health_is_for_anybody_and_the_rest_for_who_knows_the_token() {
    let Some(folder) = Folder::for_test("a TCP port that is asked") else { return };
    let token = folder.path().join("token");
    fs::write(&token, "a-token-of-this-test\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    // Somebody else may take it meanwhile, which fails and is seen.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = address.to_string();
    let start = |more: &[&str]| {
        let words = ["--exe", "nothing-of-that-name", "--status-socket", "none", "--status-listen", &listen];
        Agent::start([&words[..], more].concat(), &[]).unwrap()
    };
    let get = |path: &str, token: &str| {
        let header =
            if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        Client::tcp(address).get(path, &header).ok().flatten()
    };
    let agent = start(&["--status-token", text(&token)]);
    wait_for("the port", || get("/health/live", "")).unwrap();
    assert_eq!(get("/health/live", "").unwrap().status, 200);
    for path in ["/status", "/metrics", "/log-level", "/nothing"] {
        for wrong in ["", "a-token-of-this-tes", "another-token-0123456"] {
            let refused = get(path, wrong).unwrap();
            assert_eq!(refused.status, 401, "{path}");
            assert!(refused.headers.contains(&("www-authenticate".to_owned(), "Bearer".to_owned())));
        }
    }
    let told = get("/status", "a-token-of-this-test").unwrap();
    assert_eq!(serde_json::from_slice::<Status>(&told.body).unwrap().pid, agent.pid());
    assert_eq!(get("/metrics", "a-token-of-this-test").unwrap().status, 200);
    assert_eq!(get("/nothing", "a-token-of-this-test").unwrap().status, 404);
    let put = b"PUT /log-level HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a-token-of-this-test\r\nContent-Length: 5\r\n\r\ntrace";
    assert_eq!(Client::tcp(address).exchange(put).unwrap().unwrap().status, 405);
    let mut slow: Vec<_> = (0..MAX_CONNECTIONS).map(|_| TcpStream::connect(address).unwrap()).collect();
    for client in &mut slow {
        client.write_all(b"GET /hea").unwrap();
    }
    // As at the socket, whoever comes now waits until these have had their time.
    let began = Instant::now();
    wait_for("an answer", || get("/health/live", "")).unwrap();
    assert!(began.elapsed() > MAX_TIME / 2, "{:?}", began.elapsed());
    agent.stop().unwrap();

    let without = start(&[]);
    wait_for("the port", || get("/health/ready", "")).unwrap();
    assert_eq!(get("/metrics", "a-token-of-this-test").unwrap().status, 401);
    without.stop().unwrap();
    let anywhere = ["--exe", "nothing", "--status-listen", "0.0.0.0:0"];
    let refused = Agent::start(anywhere, &[]).unwrap().wait().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let expected = "--status-listen: 0.0.0.0:0 is not on loopback, so it takes a token (--status-token)";
    assert!(refused.messages.contains(expected), "{}", refused.messages);
}
