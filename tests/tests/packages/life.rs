//! Packages that are installed, used, upgraded and removed, in a Debian of their own: the deb with systemd booted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::Program;
use lightfoot_tests::live::{binary, is_privileged};
use tempfile::TempDir;

use crate::{has, package, printed, root};

const NEXT: &str = "99.0.0";
/// The four of the unit, in the effective set and the bounding set: numbers 2, 19, 38 and 39 of linux/capability.h.
const CAPABILITIES: &str = "000000c000080004 000000c000080004";

/// A Debian to spoil.
struct Debian {
    folder: TempDir,
}

impl Debian {
    /// `None` where there is none, or not the time for it.
    fn new(test: &str) -> Option<Self> {
        if Extent::of_environment() != Extent::All {
            println!("skipped: {test}: only `make test-all` makes a Debian for it");
            return None;
        }
        if !is_privileged(test) || !["debootstrap", "systemd-nspawn", "rpm"].into_iter().all(has) {
            return None;
        }
        let made = printed(&mut Command::new(root().join("scripts/debian-root.sh")));
        let folder = tempfile::tempdir().unwrap();
        let own = Self { folder };
        printed(Command::new("cp").args(["--archive", made.trim()]).arg(own.root()));
        fs::create_dir(own.trial()).unwrap();
        Some(own)
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("debian")
    }

    fn trial(&self) -> PathBuf {
        self.root().join("trial")
    }

    /// The packages of this version and of one that comes after it.
    fn packages(&self, kind: &str) -> Option<[PathBuf; 2]> {
        let machine = std::env::consts::ARCH;
        let first = package(machine, kind)?;
        let folder = self.folder.path().join("next");
        fs::create_dir(&folder).unwrap();
        printed(Command::new(root().join("scripts/packages.sh")).arg(&folder).arg(NEXT));
        Some([first, folder.join(format!("lightfoot-{NEXT}-{machine}.{kind}"))])
    }
}

/// The value of each line of the form `name: value`.
fn found<'a>(text: &'a str, name: &str) -> &'a str {
    let of_name = |line: &'a str| line.strip_prefix(name)?.strip_prefix(": ");
    let line = text.lines().find_map(of_name);
    assert!(line.is_some(), "{name} is not in\n{text}");
    line.unwrap_or_default()
}

#[test]
fn a_deb_is_installed_used_upgraded_and_removed_in_a_booted_debian() {
    let Some(debian) = Debian::new("a deb in a booted Debian") else { return };
    let Some([first, second]) = debian.packages("deb") else { return };
    fs::copy(first, debian.trial().join("first.deb")).unwrap();
    fs::copy(second, debian.trial().join("second.deb")).unwrap();
    fs::copy(binary(Program::Lifecycle).unwrap(), debian.root().join("home/server")).unwrap();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packages");
    fs::copy(own.join("trial.sh"), debian.trial().join("trial.sh")).unwrap();
    let units = debian.root().join("etc/systemd/system");
    fs::copy(own.join("trial.service"), units.join("trial.service")).unwrap();
    let wanted = units.join("multi-user.target.wants");
    fs::create_dir_all(&wanted).unwrap();
    std::os::unix::fs::symlink("../trial.service", wanted.join("trial.service")).unwrap();
    let mut machine = Command::new("timeout");
    machine.args(["--kill-after=10", "300", "systemd-nspawn", "--quiet", "--register=no", "--keep-unit"]);
    machine.args(["--capability=CAP_BPF,CAP_PERFMON,CAP_SYS_PTRACE,CAP_DAC_READ_SEARCH"]);
    machine.args(["--system-call-filter=bpf perf_event_open", "--console=pipe", "--boot", "--directory"]);
    let output = machine.arg(debian.root()).output().unwrap();
    let text = fs::read_to_string(debian.trial().join("found")).unwrap_or_default();
    let journal = fs::read_to_string(debian.trial().join("journal")).unwrap_or_default();
    let all = format!("{text}\n{journal}\n{output:?}");
    println!("{text}");
    assert!(!text.contains("never: "), "{all}");
    for (name, value) in [
        ("installed", env!("CARGO_PKG_VERSION")),
        ("enabled", "disabled"),
        ("active", "inactive"),
        ("verified", "yes"),
        ("completed", "1"),
        ("capabilities", CAPABILITIES),
        ("user", "lightfoot"),
        ("memory", "167772160"),
        ("reloaded", "the same process"),
        ("killed", "1"),
        ("upgraded", &format!("{NEXT}, kept 1")),
        ("removed", "inactive, 0 files, 0 processes, kept config.yaml environment"),
        ("purged", "yes"),
    ] {
        assert_eq!(found(&text, name), value, "{name}: {all}");
    }
    for name in ["span", "span of the second"] {
        assert_ne!(found(&text, name), "0", "{all}");
    }
    assert_eq!(text.matches("Say in /etc/lightfoot/config.yaml where spans go").count(), 1, "{all}");
    assert!(!text.contains("unable to") && !text.to_lowercase().contains("error"), "{all}");
}

/// Where there is no systemd that runs, and rpm knows nothing of what else is installed.
#[test]
fn an_rpm_is_installed_upgraded_and_removed() {
    let Some(debian) = Debian::new("an rpm in a Debian") else { return };
    let Some([first, second]) = debian.packages("rpm") else { return };
    let rpm =
        |arguments: &[&str]| printed(Command::new("rpm").arg("--root").arg(debian.root()).args(arguments));
    let file = |path: &str| debian.root().join(path);
    let configuration = file("etc/lightfoot/config.yaml");
    let said = rpm(&["--install", "--nodeps", first.to_str().unwrap()]);
    assert!(said.contains("systemctl enable --now lightfoot"), "{said}");
    assert!(file("usr/bin/lightfoot").is_file());
    let users = fs::read_to_string(file("etc/passwd")).unwrap();
    assert!(users.lines().any(|line| line.starts_with("lightfoot:")), "{users}");
    fs::write(&configuration, "export: {endpoint: 'http://127.0.0.1:4318'}\n").unwrap();
    let said = rpm(&["--upgrade", "--nodeps", second.to_str().unwrap()]);
    assert_eq!(said, "");
    assert_eq!(rpm(&["--query", "--queryformat", "%{VERSION}", "lightfoot"]), NEXT);
    assert!(fs::read_to_string(&configuration).unwrap().contains("4318"));
    assert_eq!(rpm(&["--erase", "--nodeps", "lightfoot"]), "");
    assert!(!file("usr/bin/lightfoot").exists() && !configuration.exists());
    // What somebody wrote is kept, under the name that rpm gives it.
    assert!(file("etc/lightfoot/config.yaml.rpmsave").is_file());
}
