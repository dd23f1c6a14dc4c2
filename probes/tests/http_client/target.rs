//! The Go program that is watched.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use lightfoot_tests::cache::{self, FileError};
use lightfoot_tests::go::toolchain::run;
use lightfoot_tests::go::{GoToolchain, GoVersion};
use object::{Object as _, ObjectSegment as _};

/// A running program.
pub(crate) struct Target {
    child: Child,
    output: BufReader<ChildStdout>,
    pub(crate) binary: PathBuf,
    pub(crate) address: SocketAddr,
}

/// Builds the program, or finds it in the cache.
pub(crate) fn build(version: GoVersion, position_independent: bool) -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http_client/target");
    let names = ["main.go", "parents.go", "transports.go"];
    let texts = names.map(|name| fs::read_to_string(sources.join(name)).unwrap());
    let key = {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        (&texts, position_independent).hash(&mut hasher);
        hasher.finish()
    };
    let path = cache::folder().join("targets").join(format!("probes-client-{version}-{key:016x}"));
    cache::file(&path, |to| {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in names.iter().zip(&texts) {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let module = format!("module example.test/target\n\ngo {}\n", version.language());
        fs::write(folder.path().join("go.mod"), module).unwrap();
        let toolchain = GoToolchain::find(version).unwrap();
        let mode = if position_independent { "pie" } else { "exe" };
        let arguments = ["build", "-trimpath", "-buildmode", mode, "-o"];
        run(toolchain.command().current_dir(&folder).args(arguments).arg(to)).unwrap();
        Ok::<_, FileError>(())
    })
    .unwrap();
    path
}

impl Target {
    pub(crate) fn start(binary: PathBuf) -> Self {
        let mut child =
            Command::new(&binary).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the target");
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        Self { child, output, binary, address: line.trim().parse().expect("an address") }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// By how much its addresses exceed those in its file.
    pub(crate) fn bias(&self, position_independent: bool) -> u64 {
        if !position_independent {
            return 0;
        }
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid())).unwrap();
        let line = maps.lines().find(|line| line.ends_with(self.binary.to_str().unwrap())).unwrap();
        let lowest = u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
        let bytes = fs::read(&self.binary).unwrap();
        let file = object::File::parse(&bytes[..]).unwrap();
        lowest - file.segments().map(|segment| segment.address()).min().unwrap()
    }

    /// Has it do something and returns what it says about that.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{command}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the target has ended");
        line.trim_end().to_owned()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // It is this process's own child.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
