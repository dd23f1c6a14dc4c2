//! Making the recordings: three programs that do a bit of everything, and an agent that records them.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::Path;
use std::process::Command;

use lightfoot::recording::{Attribute, Fact, Frame, Process, Reader, Recorder, Writer};

use super::{expected, recording, replay};
use crate::go::{Build, GoVersion, Mode, Program};
use crate::live::{Agent, Client, Driven, Folder, Target, lightfoot, text};

/// What clients do, as `tests/targets/clients` calls it: over HTTP/1 and HTTP/2, with and without success.
const CASES: [&str; 19] = [
    "get",
    "post",
    "odd-method",
    "keep-alive",
    "status-404",
    "status-503",
    "user-info",
    "query",
    "unescaped-path",
    "long-url",
    "http2-get",
    "http2-status-503",
    "http2-stream-reset",
    "client-timeout",
    "cancelled",
    "refused",
    "unknown-host",
    "redirects",
    "wrapped",
];
/// What is called by gRPC, as docs/grpc.md calls it.
const RPC_CASES: [&str; 17] = [
    "unary",
    "says-not-found",
    "says-unavailable",
    "plain-error",
    "unknown-method",
    "long-method",
    "deadline",
    "cancelled",
    "refused",
    "traceparent",
    "retried",
    "server-stream",
    "server-stream-error",
    "both-streams",
    "stream-cancelled",
    "server-interceptor",
    "handler-h2c",
];
/// What a server is asked: patterns, calls within requests, panics.
const PATHS: [&str; 9] =
    ["/hello", "/missing", "/items/7", "/call", "/fail", "/proxy/hello", "/panic", "/abort", "/hello?page=2"];
/// The context of a request that is part of a trace.
const CONTEXT: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: vendor=1\r\n\
                       User-Agent: bless/1\r\n";

/// Any reason why there is no recording.
pub type Error = Box<dyn std::error::Error>;

/// Records programs that this version of Go builds, and writes down what that comes to. Needs privileges.
pub fn bless(version: GoVersion) -> Result<(), Error> {
    let minor = version.minor;
    let folder = Folder::new()?;
    let raw = folder.path().join("recording");
    let binary = |program| Build::here(program, version, Mode::Plain).path();
    let server = folder.copy(&binary(Program::Http)?, "http")?;
    let server = Target::spawn(&mut Command::new(server))?;
    let mut clients = Driven::start(&binary(Program::Clients)?)?;
    let mut rpc = Driven::start(&binary(Program::Rpc)?)?;
    let mut command = Command::new(lightfoot());
    command.args(["record", text(&raw), "--queries"]);
    let pids = [server.pid(), clients.pid(), rpc.pid()];
    command.args(pids.iter().flat_map(|pid| ["--pid".to_owned(), pid.to_string()]));
    let agent = Agent::spawn(command, &[])?;
    for pid in pids {
        agent.watches(pid)?;
    }
    for (program, cases) in [(&mut clients, &CASES[..]), (&mut rpc, &RPC_CASES)] {
        for case in cases {
            program.ask(&format!("run {case}"))?;
        }
    }
    ask(&mut Client::tcp(server.said("http")?.parse()?))?;
    agent.stop()?;
    mask(&raw, &recording(minor))?;
    let output = replay(&recording(minor), &["--to", "json"])?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    fs::write(expected(minor), output.stdout)?;
    clients.stop()?;
    rpc.stop()?;
    Ok(())
}

fn ask(client: &mut Client) -> Result<(), Error> {
    for path in PATHS {
        // A handler that panics closes the connection without an answer.
        client.get(path, "")?;
    }
    client.get("/hello", CONTEXT)?;
    client.get(&format!("/long/{}", "x".repeat(5_000)), "")?;
    client.exchange(b"POST /echo HTTP/1.1\r\nHost: host.test\r\nContent-Length: 4\r\n\r\nbody")?;
    Ok(())
}

/// Copies a recording, without what tells of the machine that it was made on: the kernel's release, the name of the host,
/// and folders. Records stay as they are.
fn mask(from: &Path, to: &Path) -> Result<(), Error> {
    let reader = Reader::new(BufReader::new(File::open(from)?))?;
    let recorder = Recorder { kernel: "masked".to_owned(), ..reader.recorder().clone() };
    let mut writer = Writer::new(BufWriter::new(File::create(to)?), u64::MAX, recorder)?;
    for frame in reader {
        match frame? {
            Frame::Fact(Fact::Process(mut process)) => {
                mask_process(&mut process)?;
                let _ = writer.fact(&Fact::Process(process))?;
            }
            // They name paths, and say nothing that spans come from.
            Frame::Fact(Fact::Notice { .. }) => {}
            Frame::Fact(end @ Fact::End { .. }) => {
                writer.finish(&end)?;
                return Ok(());
            }
            frame => _ = writer.write(&frame)?,
        }
    }
    Err("the recording has no end".into())
}

fn mask_process(process: &mut Process) -> Result<(), Error> {
    let name = process.executable.rsplit('/').next().unwrap_or_default();
    process.executable = format!("/srv/{name}");
    for (key, value) in [("host.name", "host.test"), ("process.executable.path", &process.executable)] {
        let attribute = process.attributes.get_mut(key).ok_or_else(|| format!("there is no {key}"))?;
        *attribute = Attribute::Text(value.to_owned());
    }
    Ok(())
}
