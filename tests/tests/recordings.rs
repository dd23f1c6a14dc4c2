//! Everything after the ring buffer, on what real programs once put into it. Needs no privileges and no kernel.
//!
//! Where a change of spans is meant, `make bless` makes recordings and expectations anew; where only descriptions have
//! changed, `lightfoot replay --to json` makes the latter.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use lightfoot::recording::{Fact, Frame, Reader, Taken, Writer};
use lightfoot_tests::live::{Span, lightfoot, text};
use lightfoot_tests::recordings::{expected, frames, minors, recording, replay};
use serde_json::Value as Json;

#[expect(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what the agent's own tests ask of it, and it panics as tests do"
)]
#[path = "../../agent/src/deliver/tests/endpoint.rs"]
mod endpoint;

use endpoint::Endpoint;

#[test]
fn recordings_come_to_the_spans_that_they_once_came_to() {
    for minor in minors() {
        let output = replay(&recording(minor), &["--to", "json"]).unwrap();
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "Go 1.{minor}: {messages}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let expected = fs::read_to_string(expected(minor)).unwrap();
        for (number, (printed, expected)) in printed.lines().zip(expected.lines()).enumerate() {
            assert_eq!(printed, expected, "Go 1.{minor}, span {}", number + 1);
        }
        assert_eq!(printed.lines().count(), expected.lines().count(), "Go 1.{minor}");
        for lost in ["records_malformed", "records_without_process", "spans_lost"] {
            assert!(!messages.contains(lost), "Go 1.{minor}: {messages}");
        }
    }
}

/// What the recordings are to be good for; a blessing that lost some of it is none.
#[test]
fn recordings_hold_servers_and_clients_all_protocols_errors_panics_and_cut_texts() {
    for minor in minors() {
        let text = fs::read_to_string(expected(minor)).unwrap();
        let spans: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let shown = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let has = |key: &str, value: &str| spans.iter().any(|span| shown(&span[key]) == value);
        for (key, value) in [
            ("kind", "server"),
            ("kind", "client"),
            ("network.protocol.version", "2"),
            ("http.response.status_code", "404"),
            ("http.response.status_code", "503"),
            ("error.type", "*net.OpError"),
            ("lightfoot.parent.rule", "incoming"),
            ("lightfoot.parent.rule", "context"),
            ("lightfoot.truncated", r#"["url.full"]"#),
            ("lightfoot.truncated", r#"["url.path"]"#),
            ("lightfoot.truncated", r#"["rpc.method"]"#),
            ("rpc.response.status_code", "OK"),
            ("rpc.response.status_code", "NOT_FOUND"),
            ("rpc.response.status_code", "UNIMPLEMENTED"),
            ("rpc.method", "_OTHER"),
            ("error.type", "DEADLINE_EXCEEDED"),
            ("http.request.method_original", "BREW"),
            ("user_agent.original", "bless/1"),
            ("trace_id", "0af7651916cd43dd8448eb211c80319c"),
        ] {
            assert!(has(key, value), "Go 1.{minor} has no {key} {value}");
        }
        for kind in ["server", "client"] {
            let methods: BTreeSet<_> = spans
                .iter()
                .filter(|span| span["kind"] == kind && span["rpc.system.name"] == "grpc")
                .map(|span| shown(&span["rpc.method"]))
                .collect();
            assert!(methods.len() > 3, "Go 1.{minor}, {kind}: {methods:?}");
        }
        let of = |path: &str| spans.iter().find(|span| span["url.path"] == path).unwrap();
        assert_eq!(of("/panic")["status"], "error");
        let size = fs::metadata(recording(minor)).unwrap().len();
        assert!(size < 64 << 10, "Go 1.{minor}: {size} bytes");
    }
}

#[test]
fn recordings_tell_nothing_of_the_machine_that_they_were_made_on() {
    for minor in minors() {
        for frame in frames(&recording(minor)).unwrap() {
            assert!(!matches!(frame, Frame::Fact(Fact::Notice { .. })));
            let Frame::Fact(Fact::Process(process)) = frame else { continue };
            let of = |key: &str| serde_json::to_value(&process.attributes[key]).unwrap();
            assert_eq!(of("host.name"), "host.test");
            assert!(process.executable.starts_with("/srv/"), "{}", process.executable);
            assert_eq!(of("process.executable.path"), process.executable);
        }
    }
}

#[test]
fn the_other_forms_hold_the_same_spans() {
    let file = recording(26);
    let ids = |output: Vec<u8>, id: fn(&str) -> String| -> BTreeSet<String> {
        String::from_utf8(output).unwrap().lines().map(id).collect()
    };
    let id = |line: &str| serde_json::from_str::<Json>(line).unwrap()["span_id"].as_str().unwrap().to_owned();
    // Nothing that is no terminal gets trees unasked.
    let flat = ids(replay(&file, &[]).unwrap().stdout, id);
    let otlp = replay(&file, &["--to", "otlp-json"]).unwrap().stdout;
    assert_eq!(flat, ids(otlp, |line| Span::parse(line).unwrap().span_id));
    let trees = String::from_utf8(replay(&file, &["--to", "tree"]).unwrap().stdout).unwrap();
    assert_eq!(trees.lines().count(), flat.len(), "{trees}");
}

#[test]
fn an_endpoint_gets_all_spans_of_a_recording() {
    let endpoint = Endpoint::start(|_| Some("200 OK"));
    let output = replay(&recording(26), &["--to", "otlp", "--endpoint", &endpoint.address]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty());
    let accepted = endpoint.accepted.lock().unwrap();
    let scopes =
        accepted.iter().flat_map(|request| &request.resource_spans).flat_map(|spans| &spans.scope_spans);
    let hex = |id: &[u8]| format!("{:016x}", u64::from_be_bytes(id.try_into().unwrap()));
    let mut ids: Vec<_> = scopes.flat_map(|scope| &scope.spans).map(|span| hex(&span.span_id)).collect();
    ids.sort_unstable();
    let expected = fs::read_to_string(expected(26)).unwrap();
    let id = |line| serde_json::from_str::<Json>(line).unwrap()["span_id"].as_str().unwrap().to_owned();
    let mut expected: Vec<_> = expected.lines().map(id).collect();
    expected.sort_unstable();
    assert_eq!(ids, expected);
}

#[test]
fn a_recording_that_is_cut_off_is_replayed_up_to_there() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(recording(27)).unwrap();
    let expected = fs::read_to_string(expected(27)).unwrap();
    let path = folder.path().join("cut");
    for length in [whole.len() / 2, whole.len() / 3, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let output = replay(&path, &["--to", "json"]).unwrap();
        let (printed, messages) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(1), "{messages}");
        let cut = format!("lightfoot: {}: the file ends within ", text(&path));
        assert!(messages.lines().last().unwrap().starts_with(&cut), "{messages}");
        assert!(!printed.is_empty() && expected.starts_with(&printed), "{length}");
    }
}

#[test]
fn a_long_recording_loses_nothing_to_a_slow_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long");
    let file = File::open(recording(26)).unwrap();
    let recorder = Reader::new(file).unwrap().recorder().clone();
    let mut writer = Writer::new(BufWriter::new(File::create(&path).unwrap()), u64::MAX, recorder).unwrap();
    let frames = frames(&recording(26)).unwrap();
    let (ends, frames): (Vec<_>, Vec<_>) = frames
        .into_iter()
        .partition(|frame| matches!(frame, Frame::Fact(Fact::Ended { .. } | Fact::End { .. })));
    let is_record = |frame: &&Frame| matches!(frame, Frame::Record(_));
    let again = (0..200).flat_map(|_| frames.iter().filter(is_record));
    let records = frames.iter().filter(is_record).count() * 201;
    for frame in frames.iter().chain(again) {
        assert_eq!(writer.write(frame).unwrap(), Taken::Yes);
    }
    let Some(Frame::Fact(end)) = ends.last() else { panic!("{ends:?}") };
    writer.finish(end).unwrap();
    let mut command = Command::new(lightfoot());
    command.arg("replay").arg(&path).args(["--to", "json"]).env_clear();
    let mut replay = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The pipe is full long before that.
    thread::sleep(Duration::from_millis(500));
    let lines = BufReader::new(replay.stdout.take().unwrap()).lines().count();
    assert_eq!(lines, records);
    let messages = String::from_utf8(replay.wait_with_output().unwrap().stderr).unwrap();
    assert!(!messages.contains("spans_lost"), "{messages}");
}

#[test]
fn an_endpoint_that_takes_nothing_ends_a_replay_in_time() {
    // It listens and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let output = replay(&recording(26), &["--endpoint", &endpoint, "--flush-timeout", "1"]).unwrap();
    let messages = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{messages}");
    assert!(
        messages.contains("the endpoint has not taken ") && messages.contains("spans_lost_unfinished"),
        "{messages}"
    );
}

#[test]
fn what_cannot_be_replayed_is_refused_in_one_sentence() {
    let refused = |arguments: &[&str]| {
        let output = Command::new(lightfoot()).arg("replay").args(arguments).env_clear().output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
        String::from_utf8(output.stderr).unwrap()
    };
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    assert_eq!(
        refused(&[text(&own)]),
        format!("lightfoot: {}: it is no recording of Lightfoot\n", text(&own))
    );
    let file = recording(26);
    let told = refused(&[text(&file), "--to", "json", "--endpoint", "http://127.0.0.1:1"]);
    assert_eq!(told, "lightfoot: --endpoint and --protocol go with --to otlp only\n");
}
