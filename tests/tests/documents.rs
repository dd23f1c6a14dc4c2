//! Every example of the guides in `docs/` is run: YAML is checked, commands are run in the order in which they stand.
//!
//! The last YAML before a command is its `config.yaml`. What a command prints must have the lines below it, in which `…`
//! stands for anything. `sudo` is left out, and what runs until it is stopped is stopped once it watches. What a unit of systemd
//! starts is started.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use lightfoot::capabilities::{PURPOSES, Purpose};
use lightfoot::config::schema::Setting;
use lightfoot::counters;
use lightfoot_tests::live::{is_privileged, lightfoot};
use lightfoot_tests::recordings::{expected, minors, recording};
use serde_json::{Map, Value};
use tempfile::TempDir;

/// A piece of a document that a reader could copy.
#[derive(Debug)]
enum Example {
    Yaml(String),
    /// A unit of systemd.
    Unit(String),
    /// A command and what is printed below it.
    Command(String, Vec<String>),
}

fn document(name: &str) -> Vec<Example> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    let text = fs::read_to_string(path).unwrap();
    let mut examples = Vec::new();
    for block in text.split("\n```").skip(1).step_by(2) {
        let (language, content) = block.split_once('\n').unwrap();
        match language {
            "yaml" => examples.push(Example::Yaml(content.to_owned() + "\n")),
            "ini" => examples.push(Example::Unit(content.to_owned())),
            "console" => {
                for line in content.lines() {
                    match (line.strip_prefix("$ "), examples.last_mut()) {
                        (Some(command), _) => examples.push(Example::Command(command.to_owned(), Vec::new())),
                        (None, Some(Example::Command(_, printed))) => printed.push(line.to_owned()),
                        _ => panic!("{name}: {line:?} belongs to no command"),
                    }
                }
            }
            other => panic!("{name}: an example of the kind {other:?} is not run"),
        }
    }
    examples
}

/// Whether a line is as an example has it.
fn is_like(line: &str, pattern: &str) -> bool {
    let mut rest = line.trim();
    let parts: Vec<_> = pattern.split('…').map(str::trim).collect();
    rest.starts_with(parts.first().unwrap())
        && parts.iter().all(|part| {
            let found = rest.find(part);
            found.is_some_and(|at| {
                rest = &rest[at + part.len()..];
                true
            })
        })
        && (rest.is_empty() || pattern.ends_with('…'))
}

/// Whether the lines of an example are among those printed, in their order.
fn has_lines(printed: &str, expected: &[String]) -> bool {
    let mut lines = printed.lines();
    expected
        .iter()
        .filter(|line| line.as_str() != "…")
        .all(|pattern| lines.any(|line| is_like(line, pattern)))
}

struct Reader {
    folder: TempDir,
    path: String,
}

impl Reader {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        symlink(lightfoot(), folder.path().join("bin/lightfoot")).unwrap();
        // What `make dist` has built, and what somebody has recorded.
        fs::create_dir(folder.path().join("dist")).unwrap();
        symlink(lightfoot(), folder.path().join(format!("dist/lightfoot-{}", env::consts::ARCH))).unwrap();
        symlink(recording(26), folder.path().join("shop.lfrec")).unwrap();
        let path = format!("{}/bin:{}", folder.path().display(), env::var("PATH").unwrap());
        Self { folder, path }
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env_clear().env("PATH", &self.path).env("NO_COLOR", "1").current_dir(self.folder.path());
        command
    }

    fn check(&self, yaml: &str) {
        fs::write(self.folder.path().join("config.yaml"), yaml).unwrap();
        let output = self.command(lightfoot()).args(["config", "check", "config.yaml"]).output().unwrap();
        assert!(output.status.success(), "{yaml}\n{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What the unit starts takes these arguments, and has all rights that are needed.
    fn start(&self, unit: &str) {
        let values = |key: &str| -> Vec<&str> {
            unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
        };
        let [command] = values("ExecStart")[..] else { panic!("{unit}") };
        let arguments = command.strip_prefix("/usr/local/bin/lightfoot ").unwrap();
        let mut agent = self.command(lightfoot());
        // It would run until it is stopped.
        agent.args(arguments.split(' ')).args(["--", "true"]).env("OTEL_SDK_DISABLED", "true");
        assert!(agent.status().unwrap().success(), "{command}");
        for key in ["AmbientCapabilities", "CapabilityBoundingSet"] {
            assert_eq!(
                values(key),
                ["CAP_BPF CAP_PERFMON CAP_SYS_PTRACE CAP_DAC_READ_SEARCH"],
                "as in README.md"
            );
        }
        // Else the mark of one that was killed would have gone before the next one looks for it.
        let kept = ["RuntimeDirectory", "RuntimeDirectoryPreserve"].map(values);
        assert_eq!(kept, [["lightfoot"], ["restart"]]);
    }

    fn run(&self, line: &str, expected: &[String]) {
        let fails = line.contains("# exit code 1");
        let line = line.replace("sudo ", "");
        let output = self.command("sh").args(["-c", &line]).output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8(printed).unwrap();
        assert_eq!(output.status.code(), Some(i32::from(fails)), "{line}\n{printed}");
        assert!(
            has_lines(&printed, expected),
            "{line} does not print\n{}\nbut\n{printed}",
            expected.join("\n")
        );
    }
}

fn follow(name: &str) {
    let reader = Reader::new();
    let examples = document(name);
    assert!(examples.len() >= 3, "{examples:?}");
    for example in &examples {
        match example {
            Example::Yaml(yaml) => reader.check(yaml),
            Example::Unit(unit) => reader.start(unit),
            Example::Command(line, expected) => reader.run(line, expected),
        }
    }
}

#[test]
fn choose_targets() {
    follow("choose-targets.md");
}

#[test]
fn configure() {
    follow("configure.md");
}

#[test]
fn install() {
    if is_privileged("examples of docs/install.md") {
        follow("install.md");
    }
}

#[test]
fn coming_from_elsewhere() {
    for page in ["from-obi.md", "from-go-auto.md", "from-operator.md"] {
        follow(page);
    }
}

#[test]
fn operate() {
    if is_privileged("examples of docs/operate.md") {
        follow("operate.md");
    }
}

#[test]
fn read_the_data() {
    follow("read-the-data.md");
}

/// The table is what `lightfoot privileges` prints.
#[test]
fn each_capability_has_its_row() {
    let page = include_str!("../../docs/privileges.md");
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| CAP_")).collect();
    let row = |one: Purpose| format!("| {} | {} | {} |", one.name, one.why, one.lost);
    assert_eq!(rows, PURPOSES.map(row));
}

#[test]
fn privileges() {
    follow("privileges.md");
}

/// What these pages call a counter is one, or a setting, or is said by `lightfoot status`.
#[test]
fn each_counter_of_the_pages_for_operators_exists() {
    const OF_STATUS: [&str; 2] = ["refused_forgotten", "last_error"];
    let counters = counters::names().into_iter().map(|(name, _)| name);
    let settings = Setting::all().into_iter().map(|setting| setting.key);
    let of_rules = ["leave_out_paths", "service_name"].map(str::to_owned);
    let settings = settings.filter_map(|key| key.rsplit('.').next().map(str::to_owned)).chain(of_rules);
    let known: BTreeSet<String> = counters.chain(settings).chain(OF_STATUS.map(str::to_owned)).collect();
    let mut seen = 0;
    for name in ["limits.md", "troubleshooting.md", "security.md"] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
        let text = fs::read_to_string(path).unwrap();
        let is_name = |word: &&str| {
            word.contains('_') && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        };
        for word in text.split('`').skip(1).step_by(2).filter(is_name) {
            assert!(known.contains(word), "{name}: {word} is no counter");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

/// Whatever spans of real programs have, and all names that are Lightfoot's own.
#[test]
fn whatever_spans_say_is_explained() {
    let page = include_str!("../../docs/read-the-data.md");
    let own =
        include_str!("../../agent/src/semconv.rs").split('"').filter(|text| text.starts_with("lightfoot."));
    let mut names: BTreeSet<String> = own.map(str::to_owned).collect();
    for minor in minors() {
        for line in fs::read_to_string(expected(minor)).unwrap().lines() {
            let span: Map<String, Value> = serde_json::from_str(line).unwrap();
            names.extend(span.into_iter().map(|(name, _)| name));
        }
    }
    assert!(names.contains("lightfoot.segment") && names.contains("url.full"), "{names:?}");
    for name in names {
        assert!(page.contains(&format!("`{name}`")), "docs/read-the-data.md says nothing of {name}");
    }
}
