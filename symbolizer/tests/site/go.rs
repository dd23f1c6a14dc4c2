//! Compiles Go programs for the tests and reads what the Go tools say about them.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use lightfoot_symbolizer::Architecture;

/// A `go` command.
pub(crate) struct Go {
    pub(crate) command: OsString,
    /// Such as `go1.26.8`.
    pub(crate) version: String,
}

impl Go {
    /// The commands that `LIGHTFOOT_GO_VERSIONS` lists (separated by colons), else the one that `LIGHTFOOT_GO` names,
    /// else `go`. Commands that do not run are reported and left out.
    pub(crate) fn all() -> Vec<Self> {
        let listed =
            std::env::var_os("LIGHTFOOT_GO_VERSIONS").map(|list| std::env::split_paths(&list).collect());
        let commands: Vec<PathBuf> = listed.unwrap_or_else(|| {
            vec![std::env::var_os("LIGHTFOOT_GO").map_or_else(|| PathBuf::from("go"), PathBuf::from)]
        });
        commands.into_iter().filter_map(|command| Self::new(command.into_os_string())).collect()
    }

    fn new(command: OsString) -> Option<Self> {
        match Command::new(&command).args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").output() {
            Ok(output) if output.status.success() => {
                let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                Some(Self { command, version })
            }
            Ok(output) => {
                println!(
                    "skipped: {} failed: {}",
                    command.display(),
                    String::from_utf8_lossy(&output.stderr)
                );
                None
            }
            Err(error) => {
                println!("skipped: there is no Go command {}: {error}", command.display());
                None
            }
        }
    }

    /// Compiles one source file with plain DWARF; `own` flags and those of `LIGHTFOOT_GO_BUILD_FLAGS` (separated by
    /// semicolons), go to `go build`.
    pub(crate) fn build(
        &self,
        name: &str,
        source: &str,
        architecture: Architecture,
        own: &[&str],
    ) -> PathBuf {
        let flags = std::env::var("LIGHTFOOT_GO_BUILD_FLAGS").unwrap_or_default();
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "{name}-{}-{}",
            self.version,
            architecture.goarch()
        ));
        fs::create_dir_all(&folder).unwrap();
        let (main, program) = (folder.join("main.go"), folder.join("program"));
        fs::write(&main, source).unwrap();
        let race = flags.contains("-race");
        let status = Command::new(&self.command)
            .args(["build", "-p", "2", "-ldflags=-compressdwarf=false"])
            .args(own)
            .args(flags.split(';').filter(|flag| !flag.is_empty()))
            .arg("-o")
            .args([&program, &main])
            .envs([("GOTOOLCHAIN", "local"), ("GOOS", "linux"), ("GOARCH", architecture.goarch())])
            .envs([("CGO_ENABLED", if race { "1" } else { "0" }), ("GO111MODULE", "off")])
            .status()
            .unwrap();
        assert!(status.success(), "go build of {name} for {architecture}");
        program
    }
}
