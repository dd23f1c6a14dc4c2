//! The Go server that is watched, and its own truth.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use lightfoot_tests::cache::{self, FileError};
use lightfoot_tests::go::toolchain::run;
use lightfoot_tests::go::{GoToolchain, GoVersion};
use serde::Deserialize;

/// What the server knows of one request.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Truth {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) host: String,
    pub(crate) peer: String,
    pub(crate) user_agent: String,
    pub(crate) traceparent: Option<Vec<String>>,
    pub(crate) tracestate: Option<Vec<String>>,
    pub(crate) minor: u16,
    pub(crate) status: u16,
    pub(crate) written: i64,
    pub(crate) route: String,
    pub(crate) copied: bool,
    pub(crate) panicked: bool,
    pub(crate) hijacked: bool,
    pub(crate) nanoseconds: u64,
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    pub(crate) binary: PathBuf,
    pub(crate) address: SocketAddr,
}

/// Builds the server with a Go version, or finds it in the cache.
pub(crate) fn build(version: GoVersion) -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http_server/target");
    let names = ["main.go", "patterns.go", "patterns_go121.go"];
    let texts = names.map(|name| fs::read_to_string(sources.join(name)).unwrap());
    let key = {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        texts.hash(&mut hasher);
        hasher.finish()
    };
    let path = cache::folder().join("targets").join(format!("probes-target-{version}-{key:016x}"));
    cache::file(&path, |to| {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in names.iter().zip(&texts) {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let module = format!("module example.test/target\n\ngo {}\n", version.language());
        fs::write(folder.path().join("go.mod"), module).unwrap();
        let toolchain = GoToolchain::find(version).unwrap();
        run(toolchain.command().current_dir(&folder).args(["build", "-trimpath", "-o"]).arg(to)).unwrap();
        Ok::<_, FileError>(())
    })
    .unwrap();
    path
}

impl Server {
    pub(crate) fn start(binary: PathBuf) -> Self {
        let mut child =
            Command::new(&binary).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the server");
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        Self { child, output, binary, address: line.trim().parse().expect("an address") }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processor time that it has used, to a hundredth of a second.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split(' ').collect();
        // proc_pid_stat(5): utime is field 14 and stime 15, counted from 1; ")" ends field 2. Both in USER_HZ.
        let ticks: u64 = [12, 13].iter().map(|field| fields[*field].parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Has the server send itself requests over TLS: `http1` or `http2`.
    pub(crate) fn over_tls(&mut self, protocol: &str, requests: usize) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{protocol} {requests}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n");
    }

    /// Ends the server and returns its truth.
    pub(crate) fn stop(mut self) -> Vec<Truth> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A failed assertion leaves it running; it is this process's own child.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
