//! Delivery over real sockets, to endpoints and outputs that may misbehave.

use std::ffi::OsString;
use std::io::Write;
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use super::testing::{process, span};
use super::*;
use crate::logs::testing::Heard;
use crate::logs::{self, Level};
use crate::variables::Variables;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

mod endpoint;
mod fairness;
mod grpc_endpoint;
mod proxies;
mod proxy;
mod refusals;

use endpoint::Endpoint;
use grpc_endpoint::{GrpcEndpoint, Reply};

fn settings(endpoint: &str, change: impl FnOnce(&mut Settings)) -> Settings {
    let flags = Flags { endpoint: Some(endpoint.into()), ..Flags::default() };
    let mut settings = read(|_| None, &flags);
    change(&mut settings);
    settings
}

fn read(variable: impl Fn(&str) -> Option<OsString>, flags: &Flags) -> Settings {
    let mut variables = Variables::new(variable);
    let settings = Settings::read(&mut variables, flags);
    variables.finish(settings).unwrap()
}

fn start(settings: &Settings) -> Pipeline {
    Pipeline::start(settings, Arc::default()).unwrap()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Pushed is delivered plus lost plus what still waits.
fn totals(counters: &Counters) -> impl Fn(Counter) -> u64 {
    let snapshot = counters.snapshot();
    move |counter| snapshot.total(counter)
}

#[test]
fn a_span_arrives_within_a_second_without_being_asked_for() {
    let endpoint = Endpoint::start(|_| Some("200 OK"));
    block_on(async {
        let pipeline = start(&settings(&endpoint.address, |_| ()));
        let (shop, stock) = (process("shop"), process("stock"));
        // The first tick of the worker must not be what delivers it.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let pushed = Instant::now();
        pipeline.push(&shop, span(1, 1, 0, 0));
        pipeline.push(&shop, span(1, 2, 1, 0));
        pipeline.push(&stock, span(1, 3, 2, 0));
        while totals(pipeline.counters())(Counter::Exported) < 3 {
            // Five times what is promised.
            assert!(pushed.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let spans = endpoint.spans();
    assert_eq!(spans.len(), 2);
    assert!(spans[0].0.contains("shop") && spans[0].1 == 2 && spans[1].1 == 1, "{spans:?}");
}

#[test]
fn a_full_batch_does_not_wait() {
    let endpoint = Endpoint::start(|_| Some("200 OK"));
    block_on(async {
        let pipeline = start(&settings(&endpoint.address, |settings| {
            settings.schedule_delay = Duration::from_secs(3600);
            settings.batch_spans = 10;
        }));
        tokio::time::sleep(Duration::from_millis(50)).await;
        let shop = process("shop");
        for _ in 0..35 {
            pipeline.push(&shop, span(1, 1, 0, 0));
        }
        let pushed = Instant::now();
        while totals(pipeline.counters())(Counter::Exported) < 30 {
            assert!(pushed.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(pipeline.flush(Duration::from_secs(5)).await, 0);
        assert_eq!(totals(pipeline.counters())(Counter::Exported), 35);
    });
    assert_eq!(endpoint.requests.load(Ordering::SeqCst), 4);
}

#[test]
fn a_batch_of_a_mebibyte_is_full() {
    let endpoint = Endpoint::start(|_| Some("200 OK"));
    block_on(async {
        let pipeline = start(&settings(&endpoint.address, |settings| {
            settings.schedule_delay = Duration::from_secs(3600);
        }));
        tokio::time::sleep(Duration::from_millis(50)).await;
        let shop = process("shop");
        for _ in 0..25 {
            let name = "x".repeat(100 << 10).into();
            pipeline.push(&shop, Span { name, ..span(1, 1, 0, 0) });
        }
        let pushed = Instant::now();
        while totals(pipeline.counters())(Counter::Exported) < 22 {
            assert!(pushed.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(pipeline.flush(Duration::from_secs(5)).await, 0);
    });
    // Eleven of them, eleven, and three that have not waited for others.
    assert_eq!(endpoint.requests.load(Ordering::SeqCst), 3);
}

#[test]
fn what_can_be_retried_is_and_arrives_once() {
    let endpoint = Endpoint::start(|request| Some(if request < 2 { "503 Busy" } else { "200 OK" }));
    block_on(async {
        let pipeline = start(&settings(&endpoint.address, |_| ()));
        pipeline.push(&process("shop"), span(1, 1, 0, 0));
        assert_eq!(pipeline.flush(Duration::from_secs(10)).await, 0);
        assert_eq!(totals(pipeline.counters())(Counter::Exported), 1);
    });
    assert_eq!((endpoint.requests.load(Ordering::SeqCst), endpoint.spans()[0].1), (3, 1));
}

#[test]
fn an_endpoint_that_is_down_for_a_while_costs_nothing() {
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf, Protocol::HttpJson] {
        // A port that was free a moment ago, of an address of which no other test takes one.
        let address = TcpListener::bind("127.0.0.5:0").unwrap().local_addr().unwrap();
        block_on(async {
            let heard = Heard::at(Level::Info, logs::Format::Text);
            let pipeline = start(&settings(&format!("http://{address}/v1/traces"), |settings| {
                settings.otlp.as_mut().unwrap().protocol = protocol;
                settings.batch_spans = 2;
            }));
            let (shop, stock) = (process("shop"), process("stock"));
            for number in 1..=5 {
                pipeline.push(&shop, span(1, number, 0, 0));
                pipeline.push(&stock, span(1, number, 0, 0));
            }
            assert_eq!(pipeline.flush(Duration::from_millis(700)).await, 10);
            assert!(totals(pipeline.counters())(Counter::Retries) >= 2);
            let said = heard.text();
            assert!(
                said.starts_with("warn: the endpoint takes no spans; ") && said.contains("refused"),
                "{said}"
            );
            assert_eq!(said.lines().count(), 1, "{said}");

            let down = protocol == Protocol::Grpc;
            let (grpc, http);
            if down {
                grpc = Some(GrpcEndpoint::start_at(address, |_| Reply::default()).await);
                http = None;
            } else {
                grpc = None;
                http = Some(Endpoint::start_at(&address.to_string(), |_| Some("200 OK")));
            }
            assert_eq!(pipeline.flush(Duration::from_secs(10)).await, 0);
            let total = totals(pipeline.counters());
            assert_eq!([Counter::Pushed, Counter::Exported].map(&total), [10, 10]);
            let said = heard.text();
            assert!(said.lines().nth(1).unwrap().starts_with("the endpoint takes spans again  "), "{said}");
            assert_eq!(said.lines().count(), 2, "{said}");
            let received = http.map(|http| http.spans()).or_else(|| grpc.map(|grpc| grpc.spans())).unwrap();
            assert_eq!(received.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [5, 5]);
        });
    }
}

#[test]
fn a_full_queue_drops_what_comes_and_says_so() {
    let endpoint = Endpoint::start(|_| None::<&str>);
    let bytes = |settings: &mut Settings| settings.queue_bytes = 1_000;
    let spans = |settings: &mut Settings| settings.queue_spans = 3;
    for (bound, cause) in
        [(&spans as &dyn Fn(&mut Settings), Counter::QueueFull), (&bytes, Counter::QueueBytes)]
    {
        let heard = Heard::at(Level::Error, logs::Format::Text);
        block_on(async {
            let pipeline = start(&settings(&endpoint.address, |settings| bound(settings)));
            let shop = process("shop");
            for _ in 0..20 {
                pipeline.push(&shop, span(1, 1, 0, 0));
            }
            // A batch that is under way still occupies the queue.
            tokio::time::sleep(Duration::from_millis(50)).await;
            pipeline.push(&shop, span(1, 1, 0, 0));
            let counters = Arc::clone(&pipeline.counters);
            let before = totals(&counters);
            assert!(before(cause) >= 10, "{}", before(cause));
            // The endpoint never answers, so that the rest is unfinished at the stop.
            let stopping = Instant::now();
            pipeline.stop(Duration::from_millis(200)).await;
            assert!(stopping.elapsed() < Duration::from_secs(2));
            let after = totals(&counters);
            assert_eq!(after(Counter::Pushed), 21);
            assert_eq!(after(cause) + after(Counter::Unfinished), 21);
            assert_eq!(after(Counter::Exported), 0);
            let said =
                "error: a span found no room in the queue; further ones are only counted  service=shop\n";
            assert_eq!(heard.text(), said);
        });
    }
}

#[test]
fn a_batch_is_given_up_after_the_time_that_was_set() {
    let endpoint = Endpoint::start(|_| None::<&str>);
    // Between two tries, and in the middle of one.
    for (timeout, is_retried) in [(50, true), (60_000, false)] {
        let heard = Heard::at(Level::Error, logs::Format::Text);
        block_on(async {
            let pipeline = start(&settings(&endpoint.address, |settings| {
                settings.export_timeout = Some(Duration::from_secs(2));
                settings.otlp.as_mut().unwrap().timeout = Duration::from_millis(timeout);
            }));
            pipeline.push(&process("shop"), span(1, 1, 0, 0));
            assert_eq!(pipeline.flush(Duration::from_secs(10)).await, 0);
            let total = totals(pipeline.counters());
            assert_eq!(total(Counter::ExportTimedOut), 1);
            assert_eq!(total(Counter::Retries) >= 1, is_retried);
            assert!(pipeline.last_export_error().is_some());
            let said = "error: OTEL_BSP_EXPORT_TIMEOUT was over for a batch; further ones are only counted  endpoint=";
            assert_eq!(heard.text().matches(said).count(), 1, "{}", heard.text());
        });
    }
}

#[test]
fn processes_that_are_gone_are_forgotten_once_their_spans_are() {
    let endpoint = Endpoint::start(|_| Some("200 OK"));
    block_on(async {
        let pipeline = start(&settings(&endpoint.address, |_| ()));
        let identities: Vec<_> = (0..5).map(|number| process(&format!("service-{number}"))).collect();
        for identity in &identities {
            pipeline.push(identity, span(1, 1, 0, 0));
        }
        assert_eq!(pipeline.flush(Duration::from_secs(5)).await, 0);
        let weak: Vec<_> = identities.iter().map(Arc::downgrade).collect();
        drop(identities);
        pipeline.push(&process("new"), span(1, 1, 0, 0));
        assert!(weak.iter().all(|identity| identity.upgrade().is_none()));
        pipeline.stop(Duration::from_secs(5)).await;
    });
}

/// An output that can be read later, or that fails.
#[derive(Clone, Default)]
struct Output {
    text: Arc<Mutex<Vec<u8>>>,
    error: Option<io::ErrorKind>,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.error {
            // As a pipe that nobody reads.
            Some(io::ErrorKind::WouldBlock) => thread::sleep(Duration::from_secs(60)),
            Some(kind) => return Err(kind.into()),
            None => self.text.lock().unwrap().extend_from_slice(bytes),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn print(format: Format, error: Option<io::ErrorKind>, spans: u64) -> (String, Arc<Counters>, bool) {
    let output = Output { error, ..Output::default() };
    let flags = Flags { format: Some(format), ..Flags::default() };
    let settings = read(|_| None, &flags);
    let counters = Arc::new(Counters::default());
    let to = output.clone();
    let is_closed = block_on(async {
        let pipeline =
            Pipeline::start_with_output(&settings, Arc::clone(&counters), || Box::new(to)).unwrap();
        let shop = process("shop\u{9b}");
        for number in 0..spans {
            pipeline.push(&shop, span(7, 2, 1, number));
        }
        let is_closed = async {
            while totals(&counters)(Counter::PrintFailed) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            pipeline.is_output_closed()
        };
        let patience = Duration::from_secs(if error == Some(io::ErrorKind::BrokenPipe) { 10 } else { 0 });
        let is_closed = tokio::time::timeout(patience, is_closed).await.unwrap_or(false);
        let blocks = error == Some(io::ErrorKind::WouldBlock);
        pipeline.stop(if blocks { Duration::from_millis(300) } else { Duration::from_secs(20) }).await;
        is_closed
    });
    let text = String::from_utf8(output.text.lock().unwrap().clone()).unwrap();
    (text, counters, is_closed)
}

#[test]
fn every_format_prints_every_span() {
    for format in [Format::Tree, Format::Json, Format::OtlpJson] {
        let (text, counters, _) = print(format, None, 3);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(!text.contains('\u{9b}'), "{text}");
        assert_eq!(totals(&counters)(Counter::Printed), 3);
        if format == Format::Tree {
            continue;
        }
        for line in text.lines() {
            let json: serde_json::Value = serde_json::from_str(line).unwrap();
            let object = json.as_object().unwrap();
            if format == Format::Json {
                assert!(object.values().all(|value| !value.is_object()), "{line}");
                assert_eq!(object["service.name"], "shop\u{9b}");
                assert_eq!(object["trace_id"], "07070707070707070707070707070707");
                assert_eq!(object["http.response.status_code"], 200);
                assert_eq!(object["duration_ns"], 2_000_000);
            } else {
                let request: ExportTraceServiceRequest = serde_json::from_str(line).unwrap();
                assert_eq!(request.resource_spans[0].scope_spans[0].spans[0].trace_id, [7; 16]);
                let printed = &object["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
                assert_eq!(printed["traceId"], "07070707070707070707070707070707");
                assert_eq!(printed["kind"], 2);
                assert!(printed["startTimeUnixNano"].is_string(), "{printed}");
            }
        }
    }
}

#[test]
fn spans_can_be_exported_and_printed() {
    let endpoint = Endpoint::start(|_| Some("200 OK"));
    let output = Output::default();
    let settings = settings(&endpoint.address, |settings| settings.format = Some(Format::Tree));
    let counters = Arc::new(Counters::default());
    let to = output.clone();
    block_on(async {
        let pipeline =
            Pipeline::start_with_output(&settings, Arc::clone(&counters), || Box::new(to)).unwrap();
        pipeline.push(&process("shop"), span(1, 1, 0, 0));
        pipeline.stop(Duration::from_secs(10)).await;
    });
    let total = totals(&counters);
    let counted = [Counter::Pushed, Counter::Exported, Counter::Printed].map(total);
    assert_eq!((counted, endpoint.spans()[0].1), ([1, 1, 1], 1));
    assert!(String::from_utf8(output.text.lock().unwrap().clone()).unwrap().contains("GET /1"));
}

#[test]
fn an_output_that_fails_is_told_and_counted() {
    let (_, counters, is_closed) = print(Format::Json, Some(io::ErrorKind::BrokenPipe), 5);
    assert_eq!(totals(&counters)(Counter::PrintFailed), 5);
    assert!(is_closed);
}

#[test]
fn an_output_that_blocks_holds_up_nothing_and_loses_nothing_silently() {
    let started = Instant::now();
    let (_, counters, _) = print(Format::Json, Some(io::ErrorKind::WouldBlock), 6_000);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let total = totals(&counters);
    assert!(total(Counter::PrinterBehind) > 0);
    assert_eq!(total(Counter::PrinterBehind) + total(Counter::Unprinted), 6_000);
}

/// An agent that is killed then has not delivered it, and the next one says so.
#[test]
fn a_span_that_nobody_reads_waits_from_its_time_on() {
    let blocked = Output { error: Some(io::ErrorKind::WouldBlock), ..Output::default() };
    for (output, waits) in [(blocked, true), (Output::default(), false)] {
        let settings = read(|_| None, &Flags { format: Some(Format::Json), ..Flags::default() });
        let counters = Arc::new(Counters::default());
        block_on(async {
            let pipeline =
                Pipeline::start_with_output(&settings, Arc::clone(&counters), || Box::new(output)).unwrap();
            let monitor = pipeline.monitor();
            let before = Instant::now();
            pipeline.push(&process("shop"), span(7, 2, 1, 0));
            let is_told = || monitor.waiting_since().is_some() || totals(&counters)(Counter::Printed) == 1;
            while !is_told() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            let since = monitor.waiting_since();
            assert_eq!(since.is_some(), waits);
            assert!(since.is_none_or(|since| since >= before));
            pipeline.stop(Duration::ZERO).await;
        });
    }
}

#[test]
fn with_nowhere_to_go_spans_are_counted() {
    block_on(async {
        let none = |name: &str| (name == "OTEL_TRACES_EXPORTER").then(|| "none".into());
        let settings = read(none, &Flags::default());
        let pipeline = start(&settings);
        pipeline.push(&process("shop"), span(1, 1, 0, 0));
        assert_eq!(totals(pipeline.counters())(Counter::Discarded), 1);
    });
}
