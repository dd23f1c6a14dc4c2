//! Every example of the guides in `docs/` is run: YAML is checked, commands are run in the order in which they stand.
//!
//! The last YAML before a command is its `config.yaml`. What a command prints must have the lines below it, in which `…`
//! stands for anything. `sudo` is left out, and what runs until it is stopped is stopped once it watches.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use lightfoot_tests::live::lightfoot;
use tempfile::TempDir;

/// A piece of a document that a reader could copy.
#[derive(Debug)]
enum Example {
    Yaml(String),
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
    assert!(examples.len() > 3, "{examples:?}");
    for example in &examples {
        match example {
            Example::Yaml(yaml) => reader.check(yaml),
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
