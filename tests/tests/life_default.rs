//! What is watched with nothing said. Alone in its binary: this agent watches every Go server of the host.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lightfoot_tests::go::toolchain::GoToolchain;
use lightfoot_tests::go::{GoVersion, Program};
use lightfoot_tests::live::{Agent, Folder, Target, get, lightfoot, unused_addresses};

#[test]
fn go_servers_are_found_and_neither_other_programs_nor_backends_nor_whoever_gets_the_spans() {
    let Some(folder) = Folder::for_test("the default selection") else { return };
    let copy = |program, name: &str| folder.copy_of(program, name).unwrap();
    let (server, endpoint) = (copy(Program::Lifecycle, "server"), copy(Program::Lifecycle, "endpoint"));
    let backend = copy(Program::Backend, "backend");
    // It reads standard input, and waits for it.
    let go = GoToolchain::find(GoVersion::of_minor(26).unwrap()).unwrap();
    let gofmt = String::from_utf8(go.command().args(["env", "GOROOT"]).output().unwrap().stdout).unwrap();
    let mut other = Command::new(format!("{}/bin/gofmt", gofmt.trim()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let endpoint = Target::start(&endpoint).unwrap();
    let before = Target::start(&server).unwrap();
    let backend = Target::start(&backend).unwrap();

    let mut command = Command::new(lightfoot());
    let url = format!("http://{}", endpoint.address().unwrap());
    command.args(["run", "--format", "otlp-json", "--endpoint", &url, "--protocol", "http/protobuf"]);
    let agent = Agent::spawn(command, &[("OTEL_BSP_SCHEDULE_DELAY", "100")]).unwrap();
    agent.watches(before.pid()).unwrap();
    let started = Instant::now();
    let after = Target::start(&server).unwrap();
    agent.watches(after.pid()).unwrap();
    let found = started.elapsed();
    println!("a server was found {found:?} after its start");
    assert!(found < Duration::from_secs(10), "{found:?}, where 2 s are meant");
    for (target, path) in
        [(&before, "/before"), (&after, "/after"), (&backend, "/backend"), (&endpoint, "/endpoint")]
    {
        assert_eq!(target.get(path).unwrap(), 200);
    }
    for path in ["/before", "/after"] {
        agent.span(path).unwrap();
    }
    agent.counts_to("spans_exported", 2).unwrap();
    // Were the endpoint watched, each export would make a span, and that an export.
    thread::sleep(Duration::from_secs(1));
    let own = agent.pid();
    let outcome = agent.stop().unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    let of = |pid: u32| outcome.spans.iter().filter(|span| span.pid() == u64::from(pid)).count();
    assert_eq!((of(before.pid()), of(after.pid())), (1, 1));
    assert_eq!((of(backend.pid()), of(endpoint.pid()), of(own)), (0, 0, 0), "{}", outcome.messages);
    assert!(!outcome.spans.iter().any(|span| span.path() == "/v1/traces"));
    for pid in [other.id(), backend.pid(), endpoint.pid(), own] {
        assert!(!outcome.messages.contains(&format!(" pid={pid}")), "{pid} is in {}", outcome.messages);
    }
}

#[test]
fn a_port_selects_whoever_opens_it_and_patterns_select_by_path() {
    let Some(folder) = Folder::for_test("selection by port and path") else { return };
    let path = folder.copy_of(Program::Lifecycle, "port-server").unwrap();
    let [address] = unused_addresses();
    let agent = Agent::start(["--port", &address.port().to_string()], &[]).unwrap();
    let neighbour = Target::start(&path).unwrap();
    // Two sweeps see it before it listens.
    let mut command = Command::new(&path);
    let target = Target::spawn(command.args(["-listen", &address.to_string(), "-delay", "2500ms"])).unwrap();
    agent.watches(target.pid()).unwrap();
    assert_eq!(get(address, "/port").unwrap(), 200);
    assert_eq!(neighbour.get("/neighbour").unwrap(), 200);
    agent.span("/port").unwrap();
    assert_eq!(agent.stop().unwrap().paths(), ["/port"]);

    for pattern in ["port-s*", "port-server", &format!("{}/*", folder.path().display()), "**/port-?erver"] {
        let agent = Agent::start(["--exe", "nothing-else", "--exe", pattern], &[]).unwrap();
        agent.watches(target.pid()).unwrap();
        assert_eq!(get(address, "/path").unwrap(), 200);
        agent.span("/path").unwrap();
        assert_eq!(agent.stop().unwrap().paths(), ["/path"], "{pattern}");
    }
}

#[test]
fn whoever_gets_the_spans_is_left_alone_even_if_asked_for_and_told_so() {
    let Some(folder) = Folder::for_test("asking for the endpoint") else { return };
    let path = folder.copy_of(Program::Lifecycle, "endpoint").unwrap();
    let target = Target::start(&path).unwrap();
    let url = format!("http://{}", target.address().unwrap());
    let mut command = Command::new(lightfoot());
    command.args(["run", "--pid", &target.pid().to_string(), "--endpoint", &url]);
    let agent = Agent::spawn(command, &[]).unwrap();
    agent.says(&format!(" pid={} reason=\"it listens where spans are sent to", target.pid())).unwrap();
    agent.stop().unwrap();

    // Another address of this host with the same port is not where it listens.
    let elsewhere = url.replace("127.0.0.1", "127.0.0.2");
    let mut command = Command::new(lightfoot());
    command.args(["run", "--pid", &target.pid().to_string(), "--endpoint", &elsewhere]);
    let agent = Agent::spawn(command, &[]).unwrap();
    agent.watches(target.pid()).unwrap();
    agent.stop().unwrap();
}
