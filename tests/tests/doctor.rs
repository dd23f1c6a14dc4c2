//! `lightfoot doctor`: what it finds with all rights, with some, and with none.
//!
//! Those that need root and a kernel that attaches probes say elsewhere why they do nothing, and fail where `CI` is `true`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test"
)]

use std::env;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Folder, binary, is_privileged, lightfoot, with_tracefs};
use serde_json::Value;

const ALL: [&str; 4] = ["bpf", "perfmon", "sys_ptrace", "dac_read_search"];
/// What does not come from our own rights: the machine of the test may be a container without /run.
const OF_THE_HOST: [&str; 3] = ["pid_namespace", "open_files", "state_dir"];

/// What it prints for machines, and its exit code.
struct Report {
    json: Value,
    code: i32,
}

impl Report {
    fn of(mut command: Command, variables: &[(&str, &str)]) -> Self {
        command
            .env_clear()
            .envs(env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(variables.iter().copied());
        let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
        let json = serde_json::from_slice(&stdout);
        let json = json.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&stderr)));
        Self { json, code: status.code().unwrap() }
    }

    fn check(&self, id: &str) -> &Value {
        let checks = self.json["checks"].as_array().unwrap();
        let found = checks.iter().find(|check| check["id"] == id);
        found.unwrap_or_else(|| panic!("no {id} in {:#}", self.json))
    }

    fn status(&self, id: &str) -> &str {
        self.check(id)["status"].as_str().unwrap()
    }

    fn found(&self, id: &str) -> &str {
        self.check(id)["found"].as_str().unwrap()
    }

    /// All that is not as it should be, the host's own matters left out.
    fn wrong(&self) -> Vec<&str> {
        let checks = self.json["checks"].as_array().unwrap().iter();
        let wrong = checks.filter(|check| check["status"] == "lost" || check["status"] == "missing");
        wrong.map(|check| check["id"].as_str().unwrap()).filter(|id| !OF_THE_HOST.contains(id)).collect()
    }
}

fn doctor(words: &[&str]) -> Command {
    let mut command = Command::new(lightfoot());
    command.args(["doctor", "--json"]).args(words);
    command
}

/// As a user of no name with these capabilities only.
fn with_capabilities(program: &Path, capabilities: &[&str]) -> Report {
    let set = capabilities.iter().fold("-all".to_owned(), |set, name| format!("{set},+{name}"));
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.args(["--inh-caps", &set, "--ambient-caps", &set]).arg(program).args(["doctor", "--json"]);
    Report::of(command, &[])
}

#[test]
fn with_all_rights_all_is_well_and_both_traps_have_a_price() {
    if !is_privileged("a doctor with all rights") {
        return;
    }
    let began = Instant::now();
    let mut command = with_tracefs(lightfoot());
    command.args(["doctor", "--json"]);
    let report = Report::of(command, &[]);
    let took = began.elapsed();
    assert_eq!(report.wrong(), [""; 0], "{:#}", report.json);
    assert_eq!(report.json["schema"], 1);
    assert_eq!(report.json["exit_code"], report.code);
    let is_whole = OF_THE_HOST.iter().all(|id| report.status(id) == "good");
    let (verdict, code) = if is_whole { ("ready", 0) } else { ("with_losses", 4) };
    assert_eq!((report.json["verdict"].as_str(), report.code), (Some(verdict), code), "{:#}", report.json);
    let methods = ["uprobe_multi", "perf_event", "perf_event_by_address", "tracefs", "tracefs_by_address"];
    for id in methods.into_iter().chain(["attach", "events", "price", "kernel"]) {
        assert_eq!(report.status(id), "good", "{:#}", report.check(id));
    }
    // A kernel in lockdown permits no writing, which nothing but `--propagate` needs.
    let locked = !fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default().contains("[none]");
    let status = report.status("propagation");
    assert!(status == "good" || status == "note" && locked, "{:#}", report.check("propagation"));
    let price = &report.json["price"];
    let nanoseconds = |kind: &str| price[kind]["nanoseconds"].as_f64().unwrap();
    let (emulated, stepped) = (nanoseconds("emulated"), nanoseconds("stepped"));
    println!("{price:#}\nin {took:?}");
    // An exception takes longer than a call, and two longer than one, on any machine.
    assert!(emulated > 20.0 && emulated * 1.3 < stepped, "{price:#}");
    assert!(price["bare_nanoseconds"].as_f64().unwrap() < emulated, "{price:#}");
    for kind in ["emulated", "stepped"] {
        assert!(price[kind]["hits"].as_u64().unwrap() >= 100, "{price:#}");
    }
    assert!(took < Duration::from_secs(60), "{took:?}");
}

#[test]
fn where_nobody_tells_what_processes_do_that_is_a_loss() {
    if !is_privileged("a doctor whom nobody tells of processes") {
        return;
    }
    let mut command = Command::new(binary(Program::Untold).unwrap());
    command.arg(lightfoot()).args(["doctor", "--json"]);
    let report = Report::of(command, &[]);
    assert_eq!(report.code, 4);
    assert_eq!(report.status("events"), "lost", "{:#}", report.json);
    assert!(report.check("events")["lost"].as_str().unwrap().contains("each second"));
    assert_eq!(report.status("attach"), "good", "{:#}", report.json);
}

#[test]
fn nothing_stays_attached() {
    if !is_privileged("what a doctor leaves behind") {
        return;
    }
    Report::of(doctor(&[]), &[]);
    // A breakpoint that stayed would be counted by the next one as a hit too many, and refuse its own code as changed.
    assert_eq!(Report::of(doctor(&[]), &[]).status("price"), "good");
}

#[test]
fn each_missing_capability_is_reported_and_nothing_else() {
    let Some(folder) = Folder::for_test("a doctor with fewer rights") else { return };
    let program = folder.copy(&lightfoot(), "lightfoot").unwrap();
    let four = with_capabilities(&program, &ALL);
    assert_eq!(four.wrong().iter().filter(|id| id.starts_with("cap_")).count(), 0, "{:#}", four.json);
    for id in ["uprobe_multi", "attach", "price"] {
        assert_eq!(four.status(id), "good", "{:#}", four.check(id));
    }
    assert!(four.found("cap_sys_admin").contains("is not there"));
    for (missing, id) in [
        ("bpf", "cap_bpf"),
        ("perfmon", "cap_perfmon"),
        ("sys_ptrace", "cap_sys_ptrace"),
        ("dac_read_search", "cap_dac_read_search"),
    ] {
        let others: Vec<_> = ALL.into_iter().filter(|name| *name != missing).collect();
        let report = with_capabilities(&program, &others);
        let named: Vec<_> = report.wrong().into_iter().filter(|id| id.starts_with("cap_")).collect();
        assert_eq!(named, [id], "{:#}", report.json);
        assert!(report.check(id)["advice"].as_str().unwrap().contains(&missing.to_uppercase()));
        let is_fatal = missing == "bpf" || missing == "perfmon";
        assert_eq!(report.code, if is_fatal { 3 } else { 4 }, "{:#}", report.json);
        assert_eq!(report.status("attach"), if is_fatal { "missing" } else { "good" }, "{:#}", report.json);
        assert_eq!(report.json["price"].is_null(), is_fatal);
        // The processes of other users take both of the others.
        let takes_it = !is_fatal;
        assert_eq!(report.status("processes") == "lost", takes_it, "{missing}: {:#}", report.json);
    }
}

#[test]
fn without_any_rights_it_says_what_is_missing() {
    let Some(folder) = Folder::for_test("a doctor without rights") else { return };
    let program = folder.copy(&lightfoot(), "lightfoot").unwrap();
    let report = with_capabilities(&program, &[]);
    assert_eq!(report.code, 3);
    assert_eq!(report.json["verdict"], "impossible");
    for id in ["cap_bpf", "cap_perfmon", "attach"] {
        assert_eq!(report.status(id), "missing");
    }
    for id in ["cap_sys_ptrace", "cap_dac_read_search", "processes", "uprobe_multi"] {
        assert_eq!(report.status(id), "lost", "{:#}", report.check(id));
    }
    // Memory that outlives the process is everybody's.
    assert!(report.found("state_dir").starts_with("/dev/shm/lightfoot-65534 "), "{:#}", report.json);
    for id in ["perf_event", "perf_event_by_address", "tracefs", "tracefs_by_address", "price"] {
        assert_eq!(report.status(id), "note", "{:#}", report.check(id));
    }
}

#[test]
fn a_small_limit_of_files_and_a_namespace_of_its_own_are_losses() {
    if !is_privileged("a doctor in a namespace") {
        return;
    }
    let mut command = Command::new("unshare");
    // What is there stays there: this may be where the agent is.
    let script = "ulimit -n 200 && for f in /run /dev/shm /tmp; do mount --bind $f $f && \
                  mount -o remount,bind,ro $f; done && exec \"$@\"";
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh"]);
    command.arg(lightfoot()).args(["doctor", "--json"]);
    let report = Report::of(command, &[]);
    assert_eq!(report.code, 4);
    for id in OF_THE_HOST {
        assert_eq!(report.status(id), "lost", "{:#}", report.check(id));
    }
    // Probes work there all the same: hits are told by the numbers of that namespace.
    assert_eq!(report.status("uprobe_multi"), "good", "{:#}", report.json);
}

#[test]
fn settings_are_refused_by_name_and_endpoints_are_asked() {
    let refused =
        Report::of(doctor(&[]), &[("OTEL_TRACES_SAMPLER", "sometimes"), ("OTEL_PROPAGATORS", "b3")]);
    assert_eq!(refused.code, 3);
    for name in ["OTEL_TRACES_SAMPLER", "OTEL_PROPAGATORS"] {
        assert!(refused.found("settings").contains(name), "{:#}", refused.json);
    }
    let none = Report::of(doctor(&[]), &[]);
    assert_eq!((none.status("settings"), none.status("endpoint")), ("good", "note"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let answers = ["HTTP/1.1 200 OK", "HTTP/1.1 401 Unauthorized"];
    let server = thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"POST /v1/traces "));
            write!(stream, "{answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        }
    });
    let taken = Report::of(doctor(&["--endpoint", &endpoint]), &[]);
    assert_eq!(taken.status("endpoint"), "good", "{:#}", taken.check("endpoint"));
    let unauthorized = Report::of(doctor(&[]), &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    assert_eq!(unauthorized.status("endpoint"), "lost");
    assert!(unauthorized.found("endpoint").contains("401"), "{:#}", unauthorized.check("endpoint"));
    server.join().unwrap();
    let closed = Report::of(doctor(&["--endpoint", &endpoint]), &[]);
    assert_eq!(closed.status("endpoint"), "lost");
    assert_ne!(closed.code, 0);
    let disabled = Report::of(doctor(&[]), &[("OTEL_SDK_DISABLED", "true")]);
    assert_eq!(disabled.status("settings"), "lost");
}

#[test]
fn an_endpoint_that_never_answers_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let began = Instant::now();
    let report = Report::of(doctor(&["--endpoint", &endpoint]), &[]);
    assert!(report.found("endpoint").contains("no answer within"), "{:#}", report.check("endpoint"));
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn for_people_there_is_a_line_a_check_without_colours_in_a_pipe() {
    let mut command = Command::new(lightfoot());
    let output = command.arg("doctor").env_clear().output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(!page.contains('\u{1b}'), "{page}");
    let json = Report::of(doctor(&[]), &[]).json;
    let checks = json["checks"].as_array().unwrap().len();
    assert_eq!(page.lines().count(), checks + 1, "{page}");
    let last = page.lines().last().unwrap();
    for line in page.lines().filter(|line| *line != last) {
        assert!(["✓ ", "✗ ", "– "].iter().any(|sign| line.starts_with(sign)), "{line}");
        assert_eq!(line.starts_with('✗'), line.contains("; lost: ") && line.contains("; advice: "), "{line}");
    }
    let usage = Command::new(lightfoot()).args(["doctor", "now"]).output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
    let documented = concat!(include_str!("../../docs/doctor.md"), include_str!("../../docs/kernels.md"));
    for check in json["checks"].as_array().unwrap() {
        let id = check["id"].as_str().unwrap();
        assert!(documented.contains(&format!("`{id}`")), "nothing in docs tells of {id}");
    }
}
