//! Agents that are killed, one after the other, at moments that nobody chose, while a server is under load. Whoever asks what is
//! missing has what the next one says: outside the times that it names each request has its span, and nothing has two.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::Program;
use lightfoot_tests::live::{
    Agent, Folder, Said, Server, binary, boot_time, lightfoot, text, wait_for, wall_offset, watching,
};
use rustix::process::Signal;

use crate::endpoint::Endpoint;
use crate::load::{Load, numbers};
use crate::scene::accepted;

/// In milliseconds from its start: while it starts, and soon after; from when it watches: when it has said twice what it has delivered,
/// on a machine that is busy, too.
const MOMENTS: [Range<u64>; 3] = [0..400, 400..1_500, 13_000..15_000];
/// How many of each; all there is time for has ten times as many.
const KILLS: [u64; 3] = [3, 3, 1];
/// Spans wait so long for their batch, and no batch is full before: what is lost by a kill had ended up to that long before.
const WAITING: [(&str, &str); 2] =
    [("OTEL_BSP_SCHEDULE_DELAY", "2000"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096")];
/// By how much the times of a handler and of its span may be off, in nanoseconds; a handler returns before its span ends.
const CLOCK: u64 = 5_000_000;

/// A life of an agent; times are those of `CLOCK_BOOTTIME`.
struct Life {
    pid: u32,
    endpoint: Endpoint,
    started: u64,
    /// From then on it has certainly watched.
    watched: Option<u64>,
    ended: u64,
    was_killed: bool,
    /// What it had counted as delivered before it was killed.
    exported: u64,
    messages: String,
}

#[test]
fn what_killed_agents_have_not_delivered_lies_in_the_times_that_the_next_ones_tell() {
    let Some(state) = Folder::for_test("agents that are killed") else { return };
    let server = Server::start(&binary(Program::Truth).unwrap()).unwrap();
    // Some 400 requests a second.
    let load = Load::start(server.address, 0, 1 << 32, |number| format!("/plain/{number}?wait=15"));
    let mut lives = Vec::new();
    for (moments, times) in MOMENTS.iter().zip(KILLS) {
        for _ in 0..times * Extent::of_environment().pick(1, 10) {
            let moment = Duration::from_micros(fastrand::u64(moments.start * 1_000..moments.end * 1_000));
            lives.push(killed(state.path(), server.pid(), moment));
            wait_for("the code to be as in its file", || is_as_in_its_file(server.pid()).then_some(()))
                .unwrap();
            thread::sleep(Duration::from_millis(fastrand::u64(0..100)));
        }
    }
    let (agent, endpoint, started) = start(state.path(), server.pid());
    agent.watches(server.pid()).unwrap();
    let (pid, watched) = (agent.pid(), Some(boot_time()));
    thread::sleep(Duration::from_millis(500));
    let sent = load.stop();
    assert!(sent.unanswered.is_empty(), "failed: {:?}", sent.unanswered);
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.losses(), [], "{}", outcome.messages);
    let (exported, ended) = (outcome.count("spans_exported"), boot_time());
    let messages = outcome.messages;
    lives.push(Life { pid, endpoint, started, watched, ended, was_killed: false, exported, messages });
    assert!(is_as_in_its_file(server.pid()));
    let server_pid = server.pid();
    let requests = server.stop().unwrap();

    let all = numbers(&requests);
    let (mut delivered, mut certain) = (BTreeSet::new(), 0);
    for (order, life) in lives.iter().enumerate() {
        let of_life = accepted(&life.endpoint, |_| true);
        assert!(of_life.len() as u64 >= life.exported, "{} of {}", of_life.len(), life.exported);
        for number in &of_life {
            assert!(all.contains(number), "{number} was never asked");
            assert!(delivered.insert(*number), "{number} was delivered twice");
        }
        let of_life: BTreeSet<u64> = of_life.into_iter().collect();
        // Nothing of the times when nobody watched.
        for request in requests.iter().filter(|request| of_life.contains(&request.number)) {
            let is_within = request.start + CLOCK >= life.started && request.end <= life.ended + CLOCK;
            assert!(is_within, "{} {} {request:?}", life.started, life.ended);
        }
        let has_watched = life.messages.contains(&watching(server_pid));
        let until = (life.was_killed && has_watched).then(|| told(life, &lives[order + 1..]));
        let (Some(watched), until) = (life.watched, until.unwrap_or(life.ended)) else { continue };
        let seen = requests.iter().filter(|request| request.start >= watched && request.end + CLOCK <= until);
        let seen: Vec<u64> = seen.map(|request| request.number).collect();
        assert!(!seen.is_empty(), "life {order}: {watched} {until}");
        certain += seen.len();
        let astray: Vec<_> = seen.iter().filter(|number| !of_life.contains(number)).collect();
        assert!(astray.is_empty(), "life {order}: outside the times that are told of: {astray:?}");
        println!(
            "life {order}: {} ms, {} delivered, {} of them certain",
            (life.ended - life.started) / 1_000_000,
            of_life.len(),
            seen.len()
        );
    }
    println!("{} requests, {} delivered, {certain} of them certain", all.len(), delivered.len());
}

fn start(state: &Path, server: u32) -> (Agent, Endpoint, u64) {
    let endpoint = Endpoint::start(|_| Some("200 OK"));
    let mut command = Command::new(lightfoot());
    command.args(["run", "--pid", &server.to_string(), "--state-dir", text(state)]);
    command.args(["--protocol", "http/protobuf", "--endpoint", &endpoint.address]);
    let started = boot_time();
    (Agent::spawn(command, &WAITING).unwrap(), endpoint, started)
}

/// An agent that is killed so long after its start, or after it watches.
fn killed(state: &Path, server: u32, moment: Duration) -> Life {
    let (agent, endpoint, started) = start(state, server);
    let (pid, mut until) = (agent.pid(), Instant::now() + moment);
    let (mut watched, mut exported) = (None, 0);
    if moment > Duration::from_millis(MOMENTS[2].start) {
        agent.watches(server).unwrap();
        watched = Some(boot_time());
        until = Instant::now() + moment;
        thread::sleep(
            until.saturating_duration_since(Instant::now()).saturating_sub(Duration::from_millis(50)),
        );
        exported = agent.counts().unwrap().get("spans_exported").copied().unwrap_or(0);
    }
    thread::sleep(until.saturating_duration_since(Instant::now()));
    agent.signal(Signal::KILL);
    let outcome = agent.wait().unwrap();
    let (ended, messages) = (boot_time(), outcome.messages);
    Life { pid, endpoint, started, watched, ended, was_killed: true, exported, messages }
}

/// Until when nothing is missing of a life, as one of the later ones says.
fn told(life: &Life, later: &[Life]) -> u64 {
    let own = format!("pid={} ", life.pid);
    let told: Vec<_> = later
        .iter()
        .flat_map(|later| Said::lines(&later.messages))
        .filter(|said| said.message.starts_with("an earlier Lightfoot") && said.fields.starts_with(&own))
        .collect();
    // Whoever was killed when it had just said it leaves it to the next one.
    let since: BTreeSet<&str> = told
        .iter()
        .map(|said| said.fields.split_once(" since=").unwrap().1.split(' ').next().unwrap())
        .collect();
    let [since] = Vec::from_iter(since)[..] else { panic!("{} is told of as {told:?}", life.pid) };
    let since = humantime::parse_rfc3339(since).unwrap().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap() - wall_offset().0
}

/// Whether there is no breakpoint in the code of a process.
fn is_as_in_its_file(pid: u32) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let file = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    let line = maps.lines().find(|line| line.contains(" r-xp ") && line.ends_with(text(&file))).unwrap();
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let hex = |text| u64::from_str_radix(text, 16).unwrap();
    let (first, end) = fields[0].split_once('-').unwrap();
    let (first, end, offset) = (hex(first), hex(end), hex(fields[2]));
    let read = |path: &str, at| {
        let mut bytes = vec![0; usize::try_from(end - first).unwrap()];
        let length = fs::File::open(path).unwrap().read_at(&mut bytes, at).unwrap();
        bytes.truncate(length);
        bytes
    };
    let (now, original) = (read(&format!("/proc/{pid}/mem"), first), read(text(&file), offset));
    // The last page of a mapping may go beyond what is read of the file in one piece.
    let length = now.len().min(original.len());
    assert!(length as u64 > (end - first) / 2, "{length} bytes");
    now[..length] == original[..length]
}
