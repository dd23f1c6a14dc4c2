//! The program, its neighbour, and who watches them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::{
    Agent, Client, Driven, Folder, Outcome, PodCgroup, Server, Span, lightfoot, text, wait_for, watching,
};

/// As much of what the program has in its strings as a file's name may hold on every file system.
pub(crate) const NASTY: &str =
    "\x1b[2J\x1b]0;owned\x07\r\nforged  line=1\u{7f}\u{9b}31m\u{202e}\u{2066}\u{200f}\u{61c}\u{feff}";
/// A cgroup's name may hold no line feed.
const NASTY_LINE: &str = "\x1b[2J\x07\r\u{7f}\u{9b}31m\u{202e}";
const ATTRIBUTES: &str =
    "a=%1b%5b2J,evil\x1b[2J=\u{202e}x,k=%ff%fe,deployment.environment.name=%0d%0a%00%07,%ff=1,=,b";
const CONFIG: &str = "rules:\n- headers: [x-asked]\n  forwarded: true\n";

/// So many cases run before the neighbour is asked.
const AT_ONCE: usize = 50;

static ALONE: Mutex<()> = Mutex::new(());

/// Keeps the other tests of this program waiting.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Scene {
    pub(crate) program: Driven,
    pub(crate) executable: PathBuf,
    pub(crate) cases: Vec<Case>,
    pub(crate) neighbour: Server,
    /// What the neighbour was asked.
    pub(crate) asked: usize,
    pub(crate) folder: Folder,
    client: Client,
    config: PathBuf,
    _cgroup: PodCgroup,
}

/// One of the program's requests or calls.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) number: usize,
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl Scene {
    pub(crate) fn set(hostile: Program, minor: u32) -> Self {
        let version = GoVersion::of_minor(minor).unwrap();
        let folder = Folder::new().unwrap();
        let config = folder.say("config.yaml", CONFIG).unwrap();
        let its_own = Folder::new().unwrap();
        let executable =
            its_own.copy(&Build::here(hostile, version, Mode::Plain).path().unwrap(), NASTY).unwrap();
        let mut command = Command::new(&executable);
        command.arg(NASTY).arg(OsStr::from_bytes(b"\xff\xfe\x1b]0;owned\x07"));
        command.env_clear().env("OTEL_SERVICE_NAME", format!("shop{NASTY}"));
        command.env("OTEL_RESOURCE_ATTRIBUTES", ATTRIBUTES).env("HOSTNAME", NASTY);
        let mut program = Driven::spawn(its_own, command).unwrap();
        let cgroup = PodCgroup::around(program.pid(), NASTY_LINE, NASTY_LINE).unwrap();
        let cases = program.ask("list").unwrap();
        let case = |line: &String| {
            let [number, kind, name] = line.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
            Case { number: number.parse().unwrap(), kind: kind.to_owned(), name: name.to_owned() }
        };
        let cases = cases.iter().map(case).collect();
        let neighbour =
            Server::start(&Build::here(Program::Truth, version, Mode::Plain).path().unwrap()).unwrap();
        let client = Client::tcp(neighbour.address);
        Self { program, executable, cases, neighbour, asked: 0, folder, client, config, _cgroup: cgroup }
    }

    /// An agent that watches both, on a host with a strange name; what it prints goes to a file.
    pub(crate) fn agent(&mut self, arguments: &[&str], variables: &[(&str, &str)]) -> Agent {
        self.asked = 0;
        let pids = [self.program.pid(), self.neighbour.pid()].map(|pid| pid.to_string());
        let mut command = Command::new("unshare");
        let script = "printf '%s' \"$STRANGE\" > /proc/sys/kernel/hostname; exec \"$0\" \"$@\"";
        command.args(["--uts", "sh", "-c", script]).arg(lightfoot()).args(arguments);
        command.args(["--config", text(&self.config)]);
        if arguments[0] == "run" {
            command.args(["--state-dir", text(self.folder.path())]);
        }
        command.args(["--pid", &pids[0], "--pid", &pids[1], "--callers-settle", "3600"]);
        let output = Stdio::from(File::create(self.page()).unwrap());
        let variables = [&[("STRANGE", NASTY)], variables].concat();
        let agent = Agent::spawn_into(output, command, &variables).unwrap();
        let is_json = arguments.contains(&"--log-format");
        for pid in &pids {
            let said = if is_json { format!("\"pid\":{pid},") } else { watching(pid.parse().unwrap()) };
            agent.says(&said).unwrap();
        }
        // It says so just before the kernel is told.
        if !is_json {
            agent.counts().unwrap();
        }
        agent
    }

    /// Runs all cases once, and the neighbour meanwhile.
    pub(crate) fn run_all(&mut self) {
        for start in (0..self.cases.len()).step_by(AT_ONCE) {
            let end = self.cases.len().min(start + AT_ONCE);
            self.program.ask(&format!("run {start} {end}")).unwrap();
            self.ask_neighbour();
        }
    }

    pub(crate) fn ask_neighbour(&mut self) {
        self.asked += 1;
        assert_eq!(self.client.status(&format!("/plain/{}", self.asked), "").unwrap(), 200);
    }

    /// What the agent's programs run while one case does.
    pub(crate) fn time(&mut self, agent: &Agent, case: usize) -> Duration {
        let before = run_time(agent.pid());
        self.program.ask(&format!("run {case} {}", case + 1)).unwrap();
        run_time(agent.pid()).checked_sub(before).unwrap()
    }

    /// What a command prints that succeeds.
    pub(crate) fn output(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = if arguments.contains(&"--watch") {
            // It ends with a signal only.
            let mut command = Command::new("timeout");
            command.args(["--signal", "INT", "3"]).arg(lightfoot());
            command
        } else {
            Command::new(lightfoot())
        };
        command.args(arguments);
        if arguments[0] == "status" {
            command.args(["--state-dir", text(self.folder.path())]);
        }
        let output = command.output().unwrap();
        let messages = String::from_utf8_lossy(&output.stderr);
        // What `timeout` says of whoever it ended.
        let expected = if arguments.contains(&"--watch") { Some(124) } else { Some(0) };
        assert_eq!(output.status.code(), expected, "{arguments:?}: {messages}");
        [output.stdout, output.stderr].concat()
    }

    /// Ends the agent: what it counted and said, and what it printed.
    pub(crate) fn end(&self, agent: Agent) -> (Outcome, Vec<u8>) {
        let length = || fs::metadata(self.page()).unwrap().len();
        wait_for("the last span", || {
            let before = length();
            thread::sleep(Duration::from_millis(500));
            (length() == before).then_some(())
        })
        .unwrap();
        let mut outcome = agent.stop().unwrap();
        let page = fs::read(self.page()).unwrap();
        let lines = String::from_utf8_lossy(&page).into_owned();
        outcome.spans = lines.lines().filter_map(|line| Span::parse(line).ok()).collect();
        (outcome, page)
    }

    fn page(&self) -> PathBuf {
        self.folder.path().join("page")
    }
}

/// What the kernel says of all programs that a process holds, in nanoseconds.
fn run_time(pid: u32) -> Duration {
    let files = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let of = |text: String| {
        Some(text.lines().find_map(|line| line.strip_prefix("run_time_ns:"))?.trim().parse::<u64>().unwrap())
    };
    // A file may be closed meanwhile.
    let times = files.filter_map(|file| of(fs::read_to_string(file.unwrap().path()).ok()?));
    Duration::from_nanos(times.sum())
}
