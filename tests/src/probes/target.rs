//! The Go programs of `probes/tests/`: each prints an address once it is ready, and obeys lines on its standard input.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::cache::{self, FileError};
use crate::go::toolchain::run;
use crate::go::{GoToolchain, GoVersion};

/// Where a program's source is.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What the binaries are called in the cache.
    pub name: &'a str,
    /// The folder.
    pub folder: &'a Path,
    /// The files of package `main` in it.
    pub files: &'a [&'a str],
}

/// A running program.
#[derive(Debug)]
pub struct Target {
    child: Child,
    output: BufReader<ChildStdout>,
    /// Its file.
    pub binary: PathBuf,
    /// Where it serves.
    pub address: SocketAddr,
}

impl Source<'_> {
    /// Builds the program with a Go version, or finds it in the cache.
    ///
    /// # Panics
    /// If it cannot be built.
    #[expect(clippy::expect_used, reason = "documented")]
    pub fn build(&self, version: GoVersion, position_independent: bool) -> PathBuf {
        let read = |name: &&str| fs::read_to_string(self.folder.join(name)).expect("the source");
        let texts: Vec<String> = self.files.iter().map(read).collect();
        let mut hasher = DefaultHasher::new();
        (&texts, position_independent).hash(&mut hasher);
        let file = format!("{}-{version}-{:016x}", self.name, hasher.finish());
        let path = cache::folder().join("targets").join(file);
        cache::file(&path, |to| {
            let folder = tempfile::tempdir().expect("a folder");
            for (name, text) in self.files.iter().zip(&texts) {
                fs::write(folder.path().join(name), text).expect("a copy of the source");
            }
            let module = format!("module example.test/target\n\ngo {}\n", version.language());
            fs::write(folder.path().join("go.mod"), module).expect("a module");
            let toolchain = GoToolchain::find(version).expect("the toolchain");
            let mode = if position_independent { "pie" } else { "exe" };
            let arguments = ["build", "-trimpath", "-buildmode", mode, "-o"];
            run(toolchain.command().current_dir(&folder).args(arguments).arg(to)).expect("a build");
            Ok::<_, FileError>(())
        })
        .expect("the program");
        path
    }
}

impl Target {
    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// If it does not come to that.
    #[expect(clippy::expect_used, reason = "documented")]
    pub fn start(binary: PathBuf) -> Self {
        let mut command = Command::new(&binary);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the target");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        Self { child, output, binary, address: line.trim().parse().expect("an address") }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it do something and returns what it says about that.
    ///
    /// # Panics
    /// If it has ended.
    #[expect(clippy::expect_used, reason = "documented")]
    pub fn ask(&mut self, command: &str) -> String {
        writeln!(self.child.stdin.as_mut().expect("its input"), "{command}").expect("to be heard");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("an answer");
        assert!(line.ends_with('\n'), "the target has ended");
        line.trim_end().to_owned()
    }

    /// Ends it and returns what it says then.
    ///
    /// # Panics
    /// If it fails.
    #[expect(clippy::expect_used, reason = "documented")]
    pub fn stop(mut self) -> String {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("its last words");
        assert!(self.child.wait().expect("its end").success(), "the target has failed");
        text
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // A failed assertion leaves it running; it is this process's own child.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
