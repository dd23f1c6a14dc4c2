//! The files of a virtual machine: the agent as it is given out, tests, what these read, and Go programs, at the same paths as
//! here, so that tests need not know where they run.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lightfoot_tests::cache;
use lightfoot_tests::go::VERSIONS;
use lightfoot_tests::trace_context;

use crate::trials::{AGENT, Boot, CONFIDENTIALITY, Trial};
use crate::{executables, programs, suite};

/// Where the tests and the agent are.
const PROGRAMS: &str = "/vm";

/// Runs as the first process. Each trial is announced and its end is told, by lines that begin with `VM`.
const INIT: &str = include_str!("init.sh");

/// Writes the initial file system for a kernel's trials; `kernel` is what `scripts/kernel.sh` made.
pub(crate) fn write(boot: &Boot, kernel: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    for name in ["bin", "dev", "proc", "sys", "tmp", "run", "root", "etc", "go", "vm"] {
        fs::create_dir_all(root.join(name))?;
    }
    copy(root, &kernel.join("busybox"), Path::new("/bin/busybox"))?;
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n")?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let agent = sources.join("dist").join(format!("lightfoot-{}", boot.machine.name()));
    let in_guest = Path::new(PROGRAMS);
    // Where tests look for it.
    copy(root, &agent, &in_guest.join("agent-under-test"))?;

    let mut script = String::new();
    let names: Vec<&str> = boot.trials.iter().filter_map(Trial::program).collect();
    let tests = if names.is_empty() { Vec::new() } else { executables::of(boot.machine, &names)? };
    let mut tests = tests.iter();
    for trial in &boot.trials {
        let command = match trial {
            // It is empty then, and to unmount it was the end of Linux 6.12 (a BUG below `tracefs_destroy_inode`).
            Trial::Doctor if boot.parameters == CONFIDENTIALITY => {
                format!("{PROGRAMS}/agent-under-test doctor")
            }
            Trial::Doctor => format!("with_tracefs {PROGRAMS}/agent-under-test doctor"),
            Trial::Tests { program, filters } => {
                let test = tests.next().ok_or("a test is missing")?;
                let inside = root.join("vm").join(program);
                if boot.machine.is_here() {
                    strip(test, &inside)?;
                } else {
                    fs::copy(test, inside)?;
                }
                add_libraries(root, test)?;
                // What ends up in a test program's own process does not mount it.
                let before = if program == AGENT { "with_tracefs " } else { "" };
                format!("{before}{PROGRAMS}/{program} --test-threads=1 {}", filters.join(" "))
            }
        };
        let _ = writeln!(script, "trial {trial} {command}");
    }
    if !names.is_empty() {
        if boot.machine.is_here() {
            // busybox's own knows neither users nor bounding sets; scripts are written for bash.
            for program in ["/usr/bin/setpriv", "/bin/bash"].map(Path::new) {
                copy(root, program, program)?;
                add_libraries(root, program)?;
            }
        }
        add_programs(root, boot)?;
        if suite::is_wanted(boot) {
            suite::add(root)?;
        }
        for read in ["tests/targets", "docs", "scripts"] {
            copy_folder(root, &sources.join(read))?;
        }
        let toolchain = sources.join("rust-toolchain.toml");
        copy(root, &toolchain, &toolchain)?;
    }
    let of_here = [
        ("@CACHE@", cache::folder()),
        // The empty path, where there is none, is as good as none.
        ("@SUITE@", trace_context::suite().unwrap_or_default()),
    ];
    let put = |init: String, (name, path): &(&str, PathBuf)| init.replace(name, &path.to_string_lossy());
    executable(&root.join("init"), &of_here.iter().fold(INIT.to_owned(), put))?;
    fs::write(root.join("trials.sh"), script)?;
    pack(root, to)?;
    Ok(())
}

/// Adds the Go programs where the tests' cache has them, and in place of each Go a command that says its version, which is part of
/// their names. It can build nothing: a test that wants another program fails.
fn add_programs(root: &Path, boot: &Boot) -> Result<(), Box<dyn Error>> {
    let mut paths = BTreeSet::new();
    for build in boot.trials.iter().flat_map(|trial| programs::of(trial, boot.machine.architecture())) {
        if build.unsupported().is_none() {
            paths.insert(build.path()?);
        }
    }
    for path in paths {
        copy(root, &path, &path)?;
    }
    for version in VERSIONS {
        let text = format!("#!/bin/sh\n[ \"$*\" = 'env GOVERSION' ] && echo go{version}\n");
        executable(&root.join("go").join(version.minor.to_string()), &text)?;
    }
    Ok(())
}

/// Adds the libraries that an executable is linked with.
pub(crate) fn add_libraries(root: &Path, executable: &Path) -> Result<(), Box<dyn Error>> {
    for library in executables::libraries(executable)? {
        copy(root, &library, &library)?;
    }
    Ok(())
}

/// Copies a file to a path of the virtual machine.
pub(crate) fn copy(root: &Path, from: &Path, to: &Path) -> io::Result<()> {
    let inside = root.join(to.strip_prefix("/").unwrap_or(to));
    if let Some(parent) = inside.parent() {
        fs::create_dir_all(parent)?;
    }
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", from.display()));
    fs::copy(from, inside).map_err(named)?;
    Ok(())
}

fn copy_folder(root: &Path, folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { copy_folder(root, &path)? } else { copy(root, &path, &path)? }
    }
    Ok(())
}

/// Copies an executable without its debug information: a virtual machine has all its files in memory.
fn strip(from: &Path, to: &Path) -> io::Result<()> {
    let status = Command::new("strip").arg("--strip-debug").arg("-o").args([to, from]).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("strip failed")) }
}

fn executable(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// An archive that the kernel unpacks into memory. Not compressed: that would take longer than it saves.
fn pack(root: &Path, to: &Path) -> io::Result<()> {
    symlink("busybox", root.join("bin/sh"))?;
    let mut find = Command::new("find").arg(".").current_dir(root).stdout(Stdio::piped()).spawn()?;
    let names = find.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut cpio = Command::new("cpio");
    cpio.args(["-o", "-H", "newc", "--quiet", "-R", "0:0"]).current_dir(root);
    let status = cpio.stdin(names).stdout(File::create(to)?).status()?;
    let listed = find.wait()?;
    if status.success() && listed.success() { Ok(()) } else { Err(io::Error::other("cpio failed")) }
}

/// The folder of the kernel and of its machine's busybox.
pub(crate) fn kernel(boot: &Boot) -> Result<PathBuf, Box<dyn Error>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/kernel.sh");
    let output =
        Command::new(script).args([boot.machine.name(), &boot.version]).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("the kernel cannot be fetched".into());
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}
