//! The packages of `make packages`: what they contain, and in `make test-all` how they live and die.
//!
//! `make test` makes them first. What cannot be tried says why, and fails where `CI` is `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use lightfoot::memory_limit::RECOMMENDED;
use lightfoot_tests::live::{lightfoot, skip};
use tempfile::TempDir;

mod bill;
mod life;

/// The files of both kinds, with their permissions, but for the completions of zsh.
const FILES: [(&str, &str); 14] = [
    ("-rw-------", "/etc/lightfoot/config.yaml"),
    ("-rw-------", "/etc/lightfoot/environment"),
    ("-rwxr-xr-x", "/usr/bin/lightfoot"),
    ("-rw-r--r--", "/usr/lib/systemd/system/lightfoot.service"),
    ("-rw-r--r--", "/usr/lib/sysusers.d/lightfoot.conf"),
    ("-rw-r--r--", "/usr/share/bash-completion/completions/lightfoot"),
    ("-rw-r--r--", "/usr/share/doc/lightfoot/before-6.6.conf"),
    ("-rw-r--r--", "/usr/share/doc/lightfoot/bill.cdx.json"),
    ("-rw-r--r--", "/usr/share/doc/lightfoot/copyright"),
    ("-rw-r--r--", "/usr/share/doc/lightfoot/licences.txt"),
    ("-rw-r--r--", "/usr/share/fish/vendor_completions.d/lightfoot.fish"),
    ("-rw-r--r--", "/usr/share/man/man1/lightfoot.1.gz"),
    ("-rw-r--r--", "/usr/share/zsh/site-functions/_lightfoot"),
    ("-rw-r--r--", "/usr/share/zsh/vendor-completions/_lightfoot"),
];
/// What the unit may do to its host at most, of 100, as `systemd-analyze security` counts it: networks, processes of others and
/// files of others are its work.
const EXPOSURE: &str = "28";

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The package for a machine, unless there is none.
pub(crate) fn package(machine: &str, kind: &str) -> Option<PathBuf> {
    let name = format!("lightfoot-{}-{machine}.{kind}", env!("CARGO_PKG_VERSION"));
    let path = root().join("dist").join(name);
    if path.is_file() {
        return Some(path);
    }
    skip("packages", &format!("{} is not made (`make packages` does it)", path.display()));
    None
}

pub(crate) fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        skip("packages", &format!("{program} is not here"));
    }
    found
}

/// What a command prints, if it succeeds.
pub(crate) fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

/// The files of a deb, in a folder of their own.
pub(crate) fn extracted(deb: &Path) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    printed(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(folder.path()));
    folder
}

/// Permissions and paths of all that is no folder, in a list whose lines begin with the former and end with the latter.
fn files(list: &str) -> Vec<(&str, &str)> {
    let mut files: Vec<_> = list
        .lines()
        .filter(|line| !line.starts_with('d'))
        .map(|line| {
            let path = line.rsplit(' ').next().unwrap();
            (line.split(' ').next().unwrap(), path.strip_prefix('.').unwrap_or(path))
        })
        .collect();
    files.sort_unstable_by_key(|(_, path)| *path);
    files
}

/// The files of one kind of package.
fn expected(but: &str) -> Vec<(&'static str, &'static str)> {
    FILES.into_iter().filter(|(_, path)| !path.contains(but)).collect()
}

#[test]
fn a_deb_contains_the_program_the_unit_and_what_belongs_to_them() {
    for (machine, architecture) in [("x86_64", "amd64"), ("aarch64", "arm64")] {
        let Some(package) = package(machine, "deb") else { continue };
        if !has("dpkg-deb") {
            return;
        }
        let list = printed(Command::new("dpkg-deb").arg("--contents").arg(&package));
        assert_eq!(files(&list), expected("site-functions"));
        assert!(list.lines().all(|line| line.contains(" root/root ")), "{list}");
        let fields = ["Package", "Architecture", "Version", "Depends"];
        let told = printed(Command::new("dpkg-deb").arg("--field").arg(&package).args(fields));
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "Package: lightfoot\nArchitecture: {architecture}\nVersion: {version}\nDepends: procps\n"
        );
        assert_eq!(told, expected);
        let configuration = printed(Command::new("dpkg-deb").arg("--info").arg(&package).arg("conffiles"));
        assert_eq!(configuration, "/etc/lightfoot/config.yaml\n/etc/lightfoot/environment\n");
        // The very file that the tests of static builds look at.
        let folder = extracted(&package);
        let [packaged, built] =
            [folder.path().join("usr/bin/lightfoot"), root().join(format!("dist/lightfoot-{machine}"))];
        assert!(fs::read(packaged).unwrap() == fs::read(built).unwrap(), "{machine}");
    }
}

/// Each of them knows each command that the help names.
#[test]
fn the_man_page_and_the_completions_are_those_of_this_program() {
    let Some(package) = package("x86_64", "deb") else { return };
    if !has("dpkg-deb") {
        return;
    }
    let folder = extracted(&package);
    let page = folder.path().join("usr/share/man/man1/lightfoot.1.gz");
    let page = printed(Command::new("gunzip").arg("--stdout").arg(page));
    assert!(page.contains(".TH lightfoot 1 "), "{page}");
    let of_shells = [
        ("usr/share/bash-completion/completions/lightfoot", "complete -F _lightfoot"),
        ("usr/share/fish/vendor_completions.d/lightfoot.fish", "complete -c lightfoot"),
        ("usr/share/zsh/vendor-completions/_lightfoot", "#compdef lightfoot"),
    ];
    let [bash, fish, zsh] = of_shells.map(|(path, says)| {
        let text = fs::read_to_string(folder.path().join(path)).unwrap();
        assert!(text.contains(says), "{path}: {text}");
        text
    });
    let help = printed(Command::new(lightfoot()).arg("--help"));
    let (_, commands) = help.split_once("\nCommands:\n").unwrap();
    let words = commands.lines().map_while(|line| line.strip_prefix("  ")?.split(' ').next());
    let commands: Vec<_> = words.filter(|word| !["", "help"].contains(word)).collect();
    assert!(commands.contains(&"log-level") && commands.contains(&"man"), "{help}");
    for command in commands {
        let of_page = format!("\nlightfoot {} \\- ", command.replace('-', "\\-"));
        for (text, says) in [
            (&page, of_page),
            (&bash, format!(" lightfoot,{command})\n")),
            (&fish, format!(" -a \"{command}\" ")),
            (&zsh, format!("({command})\n")),
        ] {
            assert!(text.contains(&says), "{says:?} is not in\n{text}");
        }
    }
}

#[test]
fn an_rpm_contains_the_same() {
    for machine in ["x86_64", "aarch64"] {
        let Some(package) = package(machine, "rpm") else { continue };
        if !has("rpm") {
            return;
        }
        let list =
            printed(Command::new("rpm").args(["--query", "--list", "--verbose", "--package"]).arg(&package));
        assert_eq!(files(&list), expected("vendor-completions"));
        let form = "%{NAME} %{ARCH} %{VERSION} %{LICENSE}";
        let told =
            printed(Command::new("rpm").args(["--query", "--queryformat", form, "--package"]).arg(&package));
        assert_eq!(told, format!("lightfoot {machine} {} Apache-2.0", env!("CARGO_PKG_VERSION")));
        let configuration =
            printed(Command::new("rpm").args(["--query", "--configfiles", "--package"]).arg(&package));
        assert_eq!(configuration, "/etc/lightfoot/config.yaml\n/etc/lightfoot/environment\n");
    }
}

/// Made anew, with the time that stands in the first, for the commit may be another by now.
#[test]
fn the_same_commit_makes_the_same_packages() {
    let Some(first) = package(env::consts::ARCH, "deb") else { return };
    if !has("dpkg-deb") {
        return;
    }
    let folder = extracted(&first);
    let time = fs::metadata(folder.path().join("usr/bin/lightfoot")).unwrap().mtime();
    let mut again = Command::new(root().join("scripts/packages.sh"));
    again.arg(folder.path()).arg(env!("CARGO_PKG_VERSION")).env("SOURCE_DATE_EPOCH", time.to_string());
    printed(&mut again);
    for (machine, kind) in [("x86_64", "deb"), ("x86_64", "rpm"), ("aarch64", "deb"), ("aarch64", "rpm")] {
        let Some(first) = package(machine, kind) else { return };
        let again = folder.path().join(first.file_name().unwrap());
        assert!(fs::read(&first).unwrap() == fs::read(again).unwrap(), "{}", first.display());
    }
}

/// The configuration that is installed can be followed.
#[test]
fn what_is_installed_is_every_setting_with_its_default() {
    let Some(package) = package(env::consts::ARCH, "deb") else { return };
    if !has("dpkg-deb") {
        return;
    }
    let folder = extracted(&package);
    let program = folder.path().join("usr/bin/lightfoot");
    let file = folder.path().join("etc/lightfoot/config.yaml");
    let example = printed(Command::new(&program).args(["config", "example"]));
    assert!(fs::read_to_string(&file).unwrap().ends_with(&example));
    let told = printed(Command::new(&program).args(["config", "check"]).arg(&file));
    assert!(told.ends_with("can be followed: it says 0 settings\n"), "{told}");
}

/// The settings of a unit, in its order.
fn settings(unit: &str) -> impl Iterator<Item = (&str, &str)> {
    unit.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='))
}

#[test]
fn the_unit_has_the_documented_capabilities_and_memory_and_no_more() {
    let unit = fs::read_to_string(root().join("deploy/systemd/lightfoot.service")).unwrap();
    let of = |name| {
        settings(&unit).filter(move |(key, _)| *key == name).map(|(_, value)| value).collect::<Vec<_>>()
    };
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, needs) = readme.split_once("It takes Linux 6.6 with ").unwrap();
    let (needs, _) = needs.split_once("root").unwrap();
    let words = needs.split(|character: char| !character.is_ascii_uppercase() && character != '_');
    let documented: Vec<_> = words.filter(|word| word.starts_with("CAP_")).collect();
    assert_eq!(documented.len(), 4, "{documented:?}");
    for setting in ["AmbientCapabilities", "CapabilityBoundingSet"] {
        assert_eq!(of(setting), [documented.join(" ")]);
    }
    assert_eq!(of("MemoryMax"), [format!("{}M", RECOMMENDED >> 20)]);
}

/// A root with nothing but the unit and a program for it.
#[test]
fn systemd_takes_the_unit_and_finds_little_to_say_against_it() {
    if !has("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("lightfoot.service");
    let text = fs::read_to_string(root().join("deploy/systemd/lightfoot.service")).unwrap();
    // It need not be installed here.
    fs::write(&unit, text.replace("/usr/bin/lightfoot", "/bin/true")).unwrap();
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    // What it says of other units of this machine is not ours.
    let ours: Vec<_> = said.lines().filter(|line| line.contains("lightfoot")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
    let threshold = format!("--threshold={EXPOSURE}");
    let report = printed(
        Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", &threshold])
            .arg(&unit),
    );
    println!("{}", report.lines().last().unwrap_or_default());
}
