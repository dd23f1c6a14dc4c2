//! The `go` command of a version.

use super::version::GoVersion;
use crate::cache;
use std::collections::HashMap;
use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

/// An installed Go toolchain.
#[derive(Clone, Debug)]
pub struct GoToolchain {
    /// What was asked for.
    pub version: GoVersion,
    /// What `go env GOVERSION` says, for example `go1.26.6`.
    pub exact: String,
    /// The `go` command.
    pub go: PathBuf,
}

impl GoToolchain {
    /// Finds the toolchain of `version`: `$LIGHTFOOT_GO_1_MINOR` names a `go` command, else
    /// `$LIGHTFOOT_GO_ROOT/VERSION/go/bin/go` is used if it exists, else `scripts/go-toolchain.sh VERSION` installs
    /// one and prints its path.
    ///
    /// The first way may give another patch version; a different minor version is an error.
    pub fn find(version: GoVersion) -> Result<Self, ToolchainError> {
        static FOUND: Mutex<Option<HashMap<GoVersion, GoToolchain>>> = Mutex::new(None);
        // Held while the script installs: threads that want the same version wait instead of installing it twice.
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        let found = found.get_or_insert_default();
        if let Some(toolchain) = found.get(&version) {
            return Ok(toolchain.clone());
        }
        let go = locate(version)?;
        let mut toolchain = Self { version, exact: String::new(), go };
        let exact = run(toolchain.command().args(["env", "GOVERSION"]))?;
        exact.trim().clone_into(&mut toolchain.exact);
        let release = format!("go{}", version.language());
        if !toolchain
            .exact
            .strip_prefix(&release)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        {
            return Err(ToolchainError::WrongVersion { go: toolchain.go, version, exact: toolchain.exact });
        }
        found.insert(version, toolchain.clone());
        Ok(toolchain)
    }

    /// A `go` command whose caches lie in the [cache folder](cache::folder) and that nothing in the caller's
    /// environment can make build something else. cgo and the network are off.
    pub fn command(&self) -> Command {
        let caches = cache::folder().join("go");
        let mut command = Command::new(&self.go);
        command
            .env("GOTOOLCHAIN", "local")
            // Module files stay as they are committed; the module cache stays removable by its owner.
            .env("GOFLAGS", "-mod=readonly -modcacherw -buildvcs=false")
            .env("GOCACHE", caches.join("build"))
            .env("GOMODCACHE", caches.join("mod"))
            .env("GOPATH", caches.join("path"))
            .env("GOWORK", "off")
            .env("GOPROXY", "off")
            .env("GOAMD64", "v1")
            .env("GOARM64", "v8.0")
            .env("CGO_ENABLED", "0");
        for variable in
            ["GOROOT", "GOEXPERIMENT", "GODEBUG", "GOFIPS140", "GOOS", "GOARCH", "GOARM", "GO111MODULE"]
        {
            command.env_remove(variable);
        }
        command
    }
}

fn locate(version: GoVersion) -> Result<PathBuf, ToolchainError> {
    let minor = version.minor;
    if let Some(go) = env::var_os(format!("LIGHTFOOT_GO_1_{minor}")) {
        return Ok(go.into());
    }
    if let Some(root) = env::var_os("LIGHTFOOT_GO_ROOT") {
        let go = Path::new(&root).join(format!("{version}/go/bin/go"));
        if go.exists() {
            return Ok(go);
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/go-toolchain.sh");
    Ok(run(Command::new(script).arg(version.to_string()))?.trim().into())
}

/// What `command` prints; anything but success is an error that shows what it wrote to both streams.
pub fn run(command: &mut Command) -> Result<String, ToolchainError> {
    let shown = format!("{command:?}");
    let output =
        command.output().map_err(|source| ToolchainError::Spawn { command: shown.clone(), source })?;
    let Output { status, stdout, stderr } = output;
    let stdout = String::from_utf8_lossy(&stdout);
    if status.success() {
        return Ok(stdout.into_owned());
    }
    let output = format!("{stdout}{}", String::from_utf8_lossy(&stderr));
    Err(ToolchainError::Failed { command: shown, status: status.to_string(), output })
}

/// Why a toolchain was not found or a command of it failed.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// The command could not be started.
    #[error("starting {command}")]
    Spawn {
        /// The command line.
        command: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The command failed.
    #[error("{command}: {status}\n{output}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// Standard output and standard error.
        output: String,
    },
    /// The command is another version's.
    #[error("{go:?} is {exact}, wanted go{version} or another patch of it")]
    WrongVersion {
        /// The command.
        go: PathBuf,
        /// What was asked for.
        version: GoVersion,
        /// What the command says it is.
        exact: String,
    },
}
