//! What programs make of their own load.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lightfoot_tests::go::version::NEWEST;
use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::process::Process;
use lightfoot_tests::live::watched::documented;
use lightfoot_tests::live::{Client, Driven, Folder, Server};

/// A moment of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before the load.
    Ready,
    /// After it; what serves is still there.
    Done,
}

/// Told of a file that is run, and of its process if that is there.
pub(crate) type Observe<'a> = &'a mut dyn FnMut(Moment, &Path, Option<u32>);

/// What is asked of servers: whatever they have no route for they have an answer for.
const PATHS: [&str; 16] = [
    "/plain/7?size=100",
    "/status/7?status=404",
    "/silent/7",
    "/hints/7",
    "/flush/7?size=3000",
    "/panic/7",
    "/panic-late/7",
    "/abort/7",
    "/exit/7",
    "/hijack/7",
    "/copied/7?size=1",
    "/users/7",
    "/users/7/files/a/b",
    "/nested/leaf/7",
    "/plain/7?size=100000",
    "/nowhere",
];

/// How often.
const ROUNDS: usize = 10;

/// Has a program do all that it is there for, and returns what came of it, sorted.
pub(crate) fn answers(build: &Build, path: &Path, observe: Observe<'_>) -> Vec<String> {
    let mut answers = match build.program {
        Program::Http => once(path, &["-requests", "400"], observe),
        Program::Cgo => once(path, &["-once"], observe),
        Program::Grpc => once(path, &["-calls", "20"], observe),
        Program::Clients | Program::XNet | Program::Bundled => driven(build, path, observe),
        Program::Rpc | Program::OldRpc => by_grpc(path, observe),
        Program::Truth | Program::Gin | Program::Chi | Program::Echo | Program::Gorilla => {
            served(path, observe)
        }
        program => panic!("nobody knows how to drive {program}"),
    };
    answers.sort();
    answers
}

/// One that ends by itself and fails if it does not like what it sees.
fn once(path: &Path, arguments: &[&str], observe: Observe<'_>) -> Vec<String> {
    let folder = Folder::new().unwrap();
    let path = folder.copy(path, "program").unwrap();
    observe(Moment::Ready, &path, None);
    let mut command = Command::new(&path);
    let mut process = Process::spawn(command.args(arguments).stdout(Stdio::piped())).unwrap();
    let mut said = process.output(|line| line);
    let status = process.wait().unwrap();
    said.finish();
    observe(Moment::Done, &path, None);
    let said = said.text();
    assert!(status.success(), "{status}: {said}");
    // Ports are another's each time.
    said.lines().filter(|line| !line.contains("127.0.0.1")).map(str::to_owned).collect()
}

/// One that obeys commands, and serves HTTP/2.
fn driven(build: &Build, path: &Path, observe: Observe<'_>) -> Vec<String> {
    let mut program = Driven::start(path).unwrap();
    let file = PathBuf::from(format!("/proc/{}/exe", program.pid()));
    observe(Moment::Ready, &file, Some(program.pid()));
    match build.program {
        Program::Clients => drop(program.ask("load 400 20 7").unwrap()),
        Program::XNet => {
            for case in program.ask("list").unwrap() {
                program.ask(&format!("run {case}")).unwrap();
            }
        }
        _ => {}
    }
    let mut answers = Vec::new();
    let doors = ["tls", "cleartext", "h2c", "configured", "bare"];
    for (door, url) in doors.into_iter().filter_map(|door| Some((door, program.url(door)?))) {
        let client = Build::here(Program::Http2Drive, GoVersion::of_minor(26).unwrap_or(NEWEST), Mode::Plain);
        let mut client = Driven::start(&client.path().unwrap()).unwrap();
        for case in client.ask("list").unwrap().iter().filter(|case| *case != "upgrade" || door == "h2c") {
            let lines = client.ask(&format!("send {url} {case}")).unwrap();
            // What a client that leaves has seen by then is a matter of time.
            if !case.starts_with("cancelled") {
                answers.extend(lines.iter().map(|line| format!("{door} {}", without_error(line))));
            }
        }
    }
    observe(Moment::Done, &file, Some(program.pid()));
    let facts = program.stop().unwrap();
    answers.extend(facts.calls.iter().map(|call| {
        // Which of several errors it is may be a matter of time.
        format!("{} {} {} {}", call.case, call.method, call.status, call.error.is_empty())
    }));
    answers
}

/// One that serves and calls by gRPC, in every way there is.
fn by_grpc(path: &Path, observe: Observe<'_>) -> Vec<String> {
    let mut program = Driven::start(path).unwrap();
    let file = PathBuf::from(format!("/proc/{}/exe", program.pid()));
    observe(Moment::Ready, &file, Some(program.pid()));
    for case in program.ask("list").unwrap() {
        program.ask(&format!("run {case}")).unwrap();
    }
    observe(Moment::Done, &file, Some(program.pid()));
    let facts = program.stop().unwrap();
    // Of these the moment decides what becomes of them, on either side.
    let rows = documented("grpc.md").unwrap();
    let varies = |case: &str, column: usize| {
        let row = rows.iter().find(|row| row.first().is_some_and(|name| name == case));
        let said = row.and_then(|row| row.get(column));
        said.is_none_or(|said| [" or ", "none", "no span"].iter().any(|word| said.contains(word)))
    };
    let mut answers = Vec::new();
    for called in facts.called.iter().filter(|called| !varies(&called.case, 2)) {
        answers.push(format!("{} called {} {}", called.case, called.code, called.error.is_empty()));
    }
    for handled in facts.handled.iter().filter(|handled| !varies(&handled.case, 3)) {
        answers.push(format!("{} handled {} {}", handled.case, handled.code, handled.panicked));
    }
    assert!(answers.len() > 150, "{}", answers.len());
    answers
}

/// How the error of a stream that somebody else ended is worded may be a matter of time.
fn without_error(line: &str) -> &str {
    line.split("\"error\"").next().unwrap_or_default()
}

/// One that serves HTTP/1.
fn served(path: &Path, observe: Observe<'_>) -> Vec<String> {
    let server = Server::start(path).unwrap();
    let file = PathBuf::from(format!("/proc/{}/exe", server.pid()));
    observe(Moment::Ready, &file, Some(server.pid()));
    let mut answers = Vec::new();
    for path in PATHS {
        let mut client = Client::tcp(server.address);
        for _ in 0..ROUNDS {
            let mut response = client.get(path, "").unwrap();
            if let Some(response) = &mut response {
                response.headers.retain(|(name, _)| name != "date");
            }
            answers.push(format!("{path} {response:?}"));
        }
    }
    observe(Moment::Done, &file, Some(server.pid()));
    // Somebody else on this host may try a port, too.
    let truth = server.stop().unwrap();
    answers.extend(truth.iter().filter(|truth| truth.target.starts_with('/')).map(|truth| {
        format!("{} {} {} {} {}", truth.target, truth.status, truth.written, truth.route, truth.panicked)
    }));
    answers
}
