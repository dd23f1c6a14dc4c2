//! How much memory an agent takes that watches many processes, BPF maps included: 500 of fifty programs with `make test-all`. It is the
//! static build, as it is given out, which `make test` makes first.
//! Alone in its binary: nothing else starts an agent meanwhile.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::Program;
use lightfoot_tests::live::{
    Agent, Client, Folder, Sink, Target, map_bytes, resident, skip, slowness, text, wait_within,
};

/// How many processes there are of each program.
const OF_A_BINARY: usize = 10;
/// Requests to each process.
const REQUESTS: u64 = 20;
/// What is promised of the most that there is at any time, in KiB: 80 MB.
const PEAK: u64 = 78_125;

/// Settings, and what an agent with them takes when all are watched and have been asked, in KiB.
const SETTINGS: [(&[&str], u64); 2] = [
    // 40 MB were the aim: docs/limits.md says what is missing, and what it takes.
    (&[], 43_945),
    (&["--max-open-spans", "2048", "--ring-size", "1024"], 34_000),
];

#[test]
fn many_watched_processes_take_less_than_is_said() {
    let Some(folder) = Folder::for_test("the memory of an agent that watches many") else { return };
    let name = format!("lightfoot-{}", std::env::consts::ARCH);
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist").join(&name);
    if !program.exists() {
        return skip(
            "the memory of an agent that watches many",
            &format!("dist/{name} is not made (`make dist` does it)"),
        );
    }
    // Programs are analysed with the least priority: many take long beside whatever else keeps the processors busy.
    let binaries = Extent::of_environment().pick(10, 50);
    let processes = binaries * OF_A_BINARY;
    // Each with a content of its own, or one analysis would serve all.
    let copy = |number: usize| {
        let path = folder.copy_of(Program::Lifecycle, &format!("server-{number:02}")).unwrap();
        File::options().append(true).open(&path).unwrap().write_all(&number.to_le_bytes()).unwrap();
        path
    };
    let binaries: Vec<_> = (0..binaries).map(copy).collect();
    let targets: Vec<_> =
        binaries.iter().cycle().take(processes).map(|path| Target::start(path).unwrap()).collect();
    let clients = targets.iter().map(|target| Client::tcp(target.address().unwrap()));
    let mut clients: Vec<_> = clients.collect();
    for (settings, promised) in SETTINGS {
        let sink = Sink::start().unwrap();
        let mut command = Command::new(&program);
        command.args(["run", "--protocol", "http/protobuf", "--endpoint", &sink.endpoint]).args(settings);
        command.args(["--exe", &format!("{}/*", text(folder.path()))]);
        let agent = Agent::spawn(command, &[]).unwrap();
        let are_watched =
            || (agent.messages().matches(" INFO watching  service=").count() >= processes).then_some(());
        wait_within(Duration::from_mins(3) * slowness(), "all to be watched", are_watched).unwrap();
        // Until the kernel has been told of the last one.
        agent.counts().unwrap();
        for client in &mut clients {
            for _ in 0..REQUESTS {
                assert_eq!(client.status("/asked", "").unwrap(), 200);
            }
        }
        agent.counts_to("spans_exported", REQUESTS * processes as u64).unwrap();

        let parts = resident(agent.pid()).unwrap();
        let (now, peak) = (parts.values().sum::<u64>(), peak(agent.pid()));
        let maps = map_bytes(agent.pid()).unwrap().values().sum::<u64>() / 1024;
        // The ring's data are resident, and among the maps.
        let all = |resident: u64| resident + maps - parts["anon_inode:bpf-map"];
        println!(
            "{processes} processes, {settings:?}: {} KiB, {} at most, {maps} of maps; {parts:?}",
            all(now),
            all(peak)
        );
        assert!(all(now) < promised, "{parts:?}");
        assert!(all(peak) < PEAK, "{parts:?}");
        let outcome = agent.stop().unwrap();
        assert_eq!(outcome.losses(), [], "{}", outcome.messages);
    }
}

/// The KiB that were resident at most.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim_end_matches(" kB").trim().parse().unwrap()
}
