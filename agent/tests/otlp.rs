//! From records to a real OpenTelemetry Collector, over gRPC and over HTTP: what it wrote down is compared value by
//! value. Needs no privileges. `scripts/otelcol.sh` builds the Collector once, which takes two minutes.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests panic as tests do"
)]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lightfoot::clock::{Clock, Reading};
use lightfoot::counters::{Counter, Counters};
use lightfoot::deliver::{Flags, Pipeline, Settings};
use lightfoot::describe::Describer;
use lightfoot::record::{HttpServer, Operation, Parent, ParentRule, Record};
use lightfoot::resource::{Host, ProcessIdentity};
use lightfoot_symbolizer::build_info::{BuildInfo, Module};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// A Collector that writes what it gets to a file, a JSON document a line.
struct Collector {
    process: Child,
    folder: TempDir,
    grpc: u16,
    http: u16,
}

impl Collector {
    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/otelcol.sh");
        let output = Command::new(&script).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "{} failed, see above", script.display());
        let program = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());

        // Another process may take a port between our asking for a free one and the Collector's binding it.
        (0..3)
            .find_map(|_| Self::try_start(&program))
            .expect("the Collector ended at once three times, see above")
    }

    /// `None` if it ends before it listens.
    fn try_start(program: &Path) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        // Held together, so that they differ.
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [grpc, http] = listeners.map(|listener| listener.local_addr().unwrap().port());
        let configuration = json!({
            "receivers": {"otlp": {"protocols": {
                "grpc": {"endpoint": format!("127.0.0.1:{grpc}")},
                "http": {"endpoint": format!("127.0.0.1:{http}")},
            }}},
            "exporters": {"file": {"path": folder.path().join("spans.json"), "flush_interval": "50ms"}},
            "service": {
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}},
                "telemetry": {"metrics": {"level": "none"}},
            },
        });
        let file = folder.path().join("collector.json");
        fs::write(&file, configuration.to_string()).unwrap();
        let process = Command::new(program)
            .arg(format!("--config=file:{}", file.display()))
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut collector = Self { process, folder, grpc, http };
        let deadline = Instant::now() + Duration::from_secs(60);
        while [grpc, http].iter().any(|port| TcpStream::connect(("127.0.0.1", *port)).is_err()) {
            assert!(Instant::now() < deadline, "not up after a minute:\n{}", collector.log());
            if collector.process.try_wait().unwrap().is_some() {
                eprintln!("{}", collector.log());
                return None;
            }
            sleep(Duration::from_millis(20));
        }
        Some(collector)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Everything received once there are `count` spans: pairs of a resource with its schema and scope, and a span.
    fn spans(&self, count: usize) -> Vec<(Value, Value)> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let text = fs::read_to_string(self.folder.path().join("spans.json")).unwrap_or_default();
            // The last line may still be on its way.
            let documents = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut spans = Vec::new();
            for resource in documents.flat_map(|document| members(&document["resourceSpans"])) {
                for scope in members(&resource["scopeSpans"]) {
                    let about = json!({
                        "resource": attributes(&resource["resource"]["attributes"]),
                        "resource schema": resource["schemaUrl"],
                        "scope": scope["scope"],
                        "scope schema": scope["schemaUrl"],
                    });
                    for mut span in members(&scope["spans"]) {
                        span["attributes"] = attributes(&span["attributes"]);
                        spans.push((about.clone(), span));
                    }
                }
            }
            if spans.len() >= count {
                return spans;
            }
            assert!(Instant::now() < deadline, "{} of {count} spans:\n{}", spans.len(), self.log());
            sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn members(list: &Value) -> Vec<Value> {
    list.as_array().cloned().unwrap_or_default()
}

/// From a list of keys and values to an object; no key may come twice.
fn attributes(list: &Value) -> Value {
    let mut object = Map::new();
    for attribute in members(list) {
        let key = attribute["key"].as_str().unwrap().to_owned();
        assert!(object.insert(key.clone(), attribute["value"].clone()).is_none(), "{key} twice");
    }
    Value::Object(object)
}

fn clock() -> Clock {
    Clock::from_reading(Reading { before: 0, wall: 1_700_000_000_000_000_000, after: 0 })
}

/// The process `pid`, as a procfs would show it.
fn process(pid: u32, environ: &str, module: &str) -> Arc<ProcessIdentity> {
    let procfs = tempfile::tempdir().unwrap();
    let folder = procfs.path().join(pid.to_string());
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("stat"), format!("{pid} (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 7 0 100 1 1"))
        .unwrap();
    fs::write(folder.join("environ"), environ).unwrap();
    std::os::unix::fs::symlink("/srv/bin/x", folder.join("exe")).unwrap();
    let main = Module { path: module.into(), version: "v1.2.3".into(), replaced_by: None };
    let build_info = BuildInfo { go_version: "go1.26.8".into(), main: Some(main), ..BuildInfo::default() };
    let host =
        Host { name: "node".into(), architecture: "arm64", boot_id: "boot".into(), ticks_per_second: 100 };
    Arc::new(ProcessIdentity::read(procfs.path(), pid, &build_info, &host, &clock()).unwrap())
}

fn record(id: u8, parent: Option<(u8, ParentRule)>, request: HttpServer) -> Record {
    Record {
        pid: 7,
        start: 1_000_000_000,
        end: 1_000_000_000 + u64::from(id),
        trace_id: [0xab; 16],
        span_id: [id; 8],
        parent: parent.map(|(id, rule)| Parent { span_id: [id; 8], rule }),
        flags: 1,
        trace_state: None,
        operation: Operation::HttpServer(request),
    }
}

fn records() -> [Record; 3] {
    let full = HttpServer {
        method: "PROPFIND".into(),
        target: "/café/7?secret=1".into(),
        host: "[2001:db8::1]:8080".into(),
        pattern: "PROPFIND shop/café/{id}".into(),
        user_agent: "agent \u{1b}[31m".into(),
        peer: "10.0.0.9:5555".into(),
        protocol: (1, 1),
        status: Some(503),
        is_tls: true,
        cut: vec!["user_agent"],
        ..HttpServer::default()
    };
    let panicked = HttpServer {
        method: "GET".into(),
        target: "/".into(),
        peer: "/run/shop.sock".into(),
        protocol: (2, 0),
        has_panicked: true,
        ..HttpServer::default()
    };
    let plain =
        HttpServer { method: "GET".into(), target: "/x".into(), status: Some(200), ..HttpServer::default() };
    let mut first = record(1, Some((9, ParentRule::Incoming)), full);
    first.trace_state = Some("vendor=1,other=2".into());
    [first, record(2, Some((1, ParentRule::ParentGoroutine)), panicked), record(3, None, plain)]
}

fn text(value: &str) -> Value {
    json!({"stringValue": value})
}

fn number(value: i64) -> Value {
    json!({"intValue": value.to_string()})
}

/// What the Collector must have got for [`records`].
fn expected() -> [Value; 3] {
    // In the flags of a span: sampled, then "it is known whether the parent is remote", then "it is".
    let (local, remote) = (0x101, 0x301);
    let trace = "abababababababababababababababab";
    let start = "1700000001000000000";
    let scheme = |scheme| text(scheme);
    [
        json!({
            "traceId": trace, "spanId": "0101010101010101", "parentSpanId": "0909090909090909",
            "traceState": "vendor=1,other=2", "flags": remote, "name": "HTTP /café/{id}", "kind": 2,
            "startTimeUnixNano": start, "endTimeUnixNano": "1700000001000000001",
            "status": {"code": 2},
            "attributes": {
                "http.request.method": text("_OTHER"),
                "http.request.method_original": text("PROPFIND"),
                "url.scheme": scheme("https"),
                "url.path": text("/café/7"),
                "server.address": text("2001:db8::1"),
                "server.port": number(8080),
                "network.peer.address": text("10.0.0.9"),
                "network.peer.port": number(5555),
                "client.address": text("10.0.0.9"),
                "network.protocol.version": text("1.1"),
                "user_agent.original": text("agent \u{1b}[31m"),
                "http.route": text("/café/{id}"),
                "http.response.status_code": number(503),
                "error.type": text("503"),
                "lightfoot.truncated": {"arrayValue": {"values": [text("user_agent.original")]}},
                "lightfoot.parent.rule": text("incoming"),
            },
        }),
        json!({
            "traceId": trace, "spanId": "0202020202020202", "parentSpanId": "0101010101010101",
            "flags": local, "name": "GET", "kind": 2,
            "startTimeUnixNano": start, "endTimeUnixNano": "1700000001000000002",
            "status": {"code": 2, "message": "the handler panicked"},
            "attributes": {
                "http.request.method": text("GET"),
                "url.scheme": scheme("http"),
                "url.path": text("/"),
                "network.peer.address": text("/run/shop.sock"),
                "client.address": text("/run/shop.sock"),
                "network.protocol.version": text("2"),
                "error.type": text("panic"),
                "lightfoot.parent.rule": text("parent_goroutine"),
                "lightfoot.parent.inferred": {"boolValue": true},
            },
        }),
        json!({
            "traceId": trace, "spanId": "0303030303030303", "flags": local, "name": "GET", "kind": 2,
            "startTimeUnixNano": start, "endTimeUnixNano": "1700000001000000003", "status": {},
            "attributes": {
                "http.request.method": text("GET"),
                "url.scheme": scheme("http"),
                "url.path": text("/x"),
                "http.response.status_code": number(200),
            },
        }),
    ]
}

/// What goes with the spans of the process `pid`.
fn about(identity: &ProcessIdentity, own: &[(&str, Value)]) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let schema = "https://opentelemetry.io/schemas/1.44.0";
    let mut resource = json!({
        "host.arch": text("arm64"),
        "host.name": text("node"),
        "os.type": text("linux"),
        "process.creation.time": text("2023-11-14T22:13:21.000Z"),
        "process.executable.name": text("x"),
        "process.executable.path": text("/srv/bin/x"),
        "process.pid": number(i64::from(identity.pid)),
        "process.runtime.name": text("go"),
        "process.runtime.version": text("go1.26.8"),
        "service.name": text(&identity.service_name),
        "service.version": text("v1.2.3"),
        "telemetry.distro.name": text("lightfoot"),
        "telemetry.distro.version": text(version),
        "telemetry.sdk.language": text("go"),
        "telemetry.sdk.name": text("lightfoot"),
        "telemetry.sdk.version": text(version),
    });
    for (key, value) in own {
        resource[key] = value.clone();
    }
    json!({
        "resource": resource, "resource schema": schema, "scope schema": schema,
        "scope": {"name": "lightfoot/net/http", "version": version},
    })
}

/// Two processes send the same three spans, and a second batch over the same connection.
fn sent_and_received(protocol: &str, variables: &[(&str, &str)]) {
    let collector = Collector::start();
    let port = if protocol == "grpc" { collector.grpc } else { collector.http };
    let flags = Flags {
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        protocol: Some(protocol.into()),
        format: None,
    };
    let variable = |wanted: &str| {
        let found = variables.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| (*value).into())
    };
    let settings = Settings::from_env_and_flags(variable, &flags).unwrap();
    let shop =
        process(7, "OTEL_RESOURCE_ATTRIBUTES=team=a%2Cb,service.instance.id=one\0", "acme.org/shop/v2");
    let stock =
        process(8, "OTEL_SERVICE_NAME=stock\0OTEL_RESOURCE_ATTRIBUTES=service.instance.id=two\0", "a/b");
    let counters = Arc::new(Counters::default());
    let describer = Describer::new(lightfoot::describe::Settings::default());

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let pipeline = Pipeline::start(&settings, Arc::clone(&counters)).unwrap();
        for record in records() {
            pipeline.push(&shop, describer.span(&record, &clock()));
        }
        assert_eq!(pipeline.flush(Duration::from_secs(20)).await, 0, "{:?}", pipeline.last_export_error());
        for record in records() {
            pipeline.push(&stock, describer.span(&record, &clock()));
        }
        pipeline.stop(Duration::from_secs(20)).await;
    });
    let snapshot = counters.snapshot();
    assert_eq!(snapshot.of(Counter::Exported).collect::<Vec<_>>(), [("shop", 3), ("stock", 3)]);

    let mut received = collector.spans(6);
    assert_eq!(received.len(), 6);
    let services = [
        about(&shop, &[("team", text("a,b")), ("service.instance.id", text("one"))]),
        about(&stock, &[("service.instance.id", text("two"))]),
    ];
    for about in services {
        for span in expected() {
            let is_it = |(its, received): &(Value, Value)| {
                its["resource"]["process.pid"] == about["resource"]["process.pid"]
                    && received["spanId"] == span["spanId"]
            };
            let position = received.iter().position(is_it).expect("each span arrives");
            let (its, received) = received.swap_remove(position);
            assert_eq!(its, about);
            assert_eq!(received, span);
        }
    }
}

#[test]
fn spans_arrive_whole_over_grpc() {
    sent_and_received("grpc", &[]);
}

#[test]
fn spans_arrive_whole_over_http() {
    sent_and_received("http/protobuf", &[]);
}

#[test]
fn spans_arrive_whole_compressed() {
    for protocol in ["grpc", "http/protobuf"] {
        sent_and_received(protocol, &[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]);
    }
}
