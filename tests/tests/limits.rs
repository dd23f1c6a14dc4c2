//! The table of limits in ARCHITECTURE.md has each bound of the code by its name, and no name that the code does not have.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;

use lightfoot::status::client::{ClientError, MAX_ANSWER, get};

/// Where constants are that bound what is kept, and where maps are.
const CODE: [&str; 4] = ["agent/src", "symbolizer/src", "probes/abi/src", "probes/ebpf/src"];

/// What is called like a bound, and why it is none of ours.
const NO_BOUNDS: [(&str, &str); 4] = [
    ("decode::x86_64::MAX_LENGTH", "the longest instruction of the processor"),
    ("propagation::MAX_FRAME", "the longest frame that HTTP/2 permits without being asked"),
    ("propagate::states::MAX_FIELD", "the sum of parts that are bounds"),
    ("bin::hits::HITS", "of the program that measures what a hit costs, not of the agent's"),
];

/// A constant or a map.
#[derive(Debug)]
struct Named {
    /// Its modules, then its name.
    path: Vec<String>,
    /// Whether the table must have it.
    is_bound: bool,
}

/// Those in a folder of a crate's source.
fn named(root: &Path, folder: &Path, found: &mut Vec<Named>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            named(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let inner = path.strip_prefix(root).unwrap().with_extension("");
            let modules: Vec<_> = inner.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            let modules = if modules == ["lib"] { Vec::new() } else { modules };
            let text = fs::read_to_string(&path).unwrap();
            let before = std::iter::once("").chain(text.lines());
            for (before, line) in before.zip(text.lines()) {
                let Some((name, is_bound)) = declared(before.trim(), line.trim()) else { continue };
                let path = modules.iter().cloned().chain([name.to_owned()]).collect();
                found.push(Named { path, is_bound });
            }
        }
    }
}

/// The constant or the map that a line declares, and whether it is a bound. A map of one element has no second.
fn declared<'a>(before: &str, line: &'a str) -> Option<(&'a str, bool)> {
    let line = line.strip_prefix("pub").map_or(line, |rest| {
        rest.strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
            .map_or(rest, |(_, rest)| rest)
            .trim_start()
    });
    let (name, rest) =
        line.strip_prefix("const ").or_else(|| line.strip_prefix("static "))?.split_once(':')?;
    let is_map = before == "#[map]" && !rest.contains("with_max_entries(1,");
    Some((name, is_map || name.starts_with("MAX_")))
}

fn code() -> Vec<Named> {
    let mut found = Vec::new();
    for folder in CODE {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
        named(&root, &root, &mut found);
    }
    found
}

/// What the last column of the table names, each with its modules. One without is in those of the one before it.
fn table() -> Vec<Vec<String>> {
    let (_, table) = include_str!("../../ARCHITECTURE.md").split_once("\n## Limits\n").unwrap();
    let mut found = Vec::new();
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let column = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let mut modules = Vec::new();
        for name in column.split('`').skip(1).step_by(2) {
            let mut path: Vec<_> = name.split("::").map(str::to_owned).collect();
            let last = path.pop().unwrap();
            if last.bytes().any(|byte| byte.is_ascii_lowercase()) {
                continue;
            }
            if !path.is_empty() {
                modules = path;
            }
            found.push(modules.iter().cloned().chain([last]).collect());
        }
    }
    found
}

/// Whether the table means it: by its own modules, or by an outer one that shows it, too.
fn means(written: &[String], named: &Named) -> bool {
    let ((name, modules), (last, within)) = (named.path.split_last().unwrap(), written.split_last().unwrap());
    name == last && modules.starts_with(within)
}

#[test]
fn each_bound_of_the_code_has_its_row() {
    let (code, table) = (code(), table());
    let bounds: Vec<_> = code.iter().filter(|named| named.is_bound).collect();
    assert!(bounds.len() > 120, "{bounds:?}");
    let is_none = |path: &str| NO_BOUNDS.iter().any(|(none, _)| *none == path);
    for bound in &bounds {
        let path = bound.path.join("::");
        let has_row = table.iter().any(|written| means(written, bound));
        assert_ne!(has_row, is_none(&path), "{path}");
    }
    for (none, _) in NO_BOUNDS {
        assert!(bounds.iter().any(|bound| bound.path.join("::") == none), "{none} is no more");
    }
}

#[test]
fn each_name_in_the_table_is_in_the_code_once() {
    let code = code();
    for written in table() {
        let meant: Vec<_> = code.iter().filter(|named| means(&written, named)).collect();
        assert_eq!(meant.len(), 1, "{}: {meant:?}", written.join("::"));
    }
}

#[test]
fn an_answer_of_an_agent_is_taken_up_to_a_size() {
    for length in [MAX_ANSWER, MAX_ANSWER + 1] {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").unwrap();
            // Whoever does not take it all hangs up.
            let _ = stream.write_all(&vec![b'x'; length]);
        });
        match get(&socket, "/status") {
            Ok((_, body)) => assert_eq!((body.len(), length), (MAX_ANSWER, MAX_ANSWER)),
            Err(ClientError::Cut(_)) => assert_eq!(length, MAX_ANSWER + 1),
            Err(other) => panic!("{other}"),
        }
        server.join().unwrap();
    }
}
