//! What an endpoint does not take: for now, for good, or in part.

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::*;

/// What became of one span: exported, refused, retries.
fn outcome(pipeline: &Pipeline) -> [u64; 3] {
    let total = totals(pipeline.counters());
    [Counter::Exported, Counter::Refused, Counter::Retries].map(total)
}

const DELIVERED: [u64; 3] = [1, 0, 1];
const LOST: [u64; 3] = [0, 1, 0];

#[test]
fn http_statuses_are_followed_as_the_protocol_says() {
    for status in 400..600_u16 {
        let line: &'static str = format!("{status} Status").leak();
        let endpoint = Endpoint::start(move |request| Some(if request == 0 { line } else { "200 OK" }));
        block_on(async {
            let pipeline = start(&settings(&endpoint.address, |_| ()));
            pipeline.push(&process("shop"), span(1, 1, 0, 0));
            assert_eq!(pipeline.flush(Duration::from_secs(10)).await, 0);
            let expected = if [429, 502, 503, 504].contains(&status) { DELIVERED } else { LOST };
            assert_eq!(outcome(&pipeline), expected, "{status}");
            assert!(pipeline.last_export_error().unwrap().contains(&status.to_string()));
        });
    }
}

#[test]
fn grpc_codes_are_followed_as_the_protocol_says() {
    use Code::{Aborted, Cancelled, DataLoss, DeadlineExceeded, OutOfRange, ResourceExhausted, Unavailable};
    let retryable = [Cancelled, DeadlineExceeded, Aborted, OutOfRange, Unavailable, DataLoss];
    let with_hint = Status::with_error_details(
        ResourceExhausted,
        "slow down",
        ErrorDetails::with_retry_info(Some(Duration::from_millis(100))),
    );
    let codes = (1..=16).map(|number| {
        let code = Code::from_i32(number);
        (Status::new(code, "no"), retryable.contains(&code))
    });
    for (status, is_retryable) in codes.chain([(with_hint, true)]) {
        block_on(async {
            let first = status.clone();
            let endpoint = GrpcEndpoint::start(move |request| match request {
                0 => Reply { status: first.clone(), ..Reply::default() },
                _ => Reply::default(),
            });
            let endpoint = endpoint.await;
            let pipeline = start(&grpc(&endpoint, |_| ()));
            pipeline.push(&process("shop"), span(1, 1, 0, 0));
            assert_eq!(pipeline.flush(Duration::from_secs(10)).await, 0);
            let expected = if is_retryable { DELIVERED } else { LOST };
            assert_eq!(outcome(&pipeline), expected, "{status}");
            let error = pipeline.last_export_error().unwrap();
            assert!(error.contains(status.message()), "{error}");
            assert_eq!(endpoint.spans().len() as u64, expected[0]);
        });
    }
}

fn grpc(endpoint: &GrpcEndpoint, change: impl FnOnce(&mut Settings)) -> Settings {
    settings(&format!("http://{}", endpoint.address), |settings| {
        settings.otlp.as_mut().unwrap().protocol = Protocol::Grpc;
        change(settings);
    })
}

#[test]
fn who_asks_for_time_gets_it_even_at_the_end() {
    let exported_after = |pipeline: Pipeline| async move {
        let pushed = Instant::now();
        pipeline.push(&process("shop"), span(1, 1, 0, 0));
        assert_eq!(pipeline.flush(Duration::from_secs(10)).await, 0);
        assert_eq!(outcome(&pipeline), DELIVERED);
        pushed.elapsed()
    };
    let patient = Duration::from_millis(2_000)..Duration::from_millis(5_000);
    block_on(async {
        let busy = "429 Busy\r\nRetry-After: 2";
        let endpoint = Endpoint::start(move |request| Some(if request == 0 { busy } else { "200 OK" }));
        let elapsed = exported_after(start(&settings(&endpoint.address, |_| ()))).await;
        assert!(patient.contains(&elapsed), "{elapsed:?}");

        let endpoint = GrpcEndpoint::start(|request| {
            let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(2)));
            let busy = Status::with_error_details(Code::Unavailable, "", details);
            Reply { status: if request == 0 { busy } else { Status::ok("") }, ..Reply::default() }
        });
        let endpoint = endpoint.await;
        let elapsed = exported_after(start(&grpc(&endpoint, |_| ()))).await;
        assert!(patient.contains(&elapsed), "{elapsed:?}");
    });
}

#[test]
fn who_asks_for_time_gets_it_from_all_processes() {
    let busy = "429 Busy\r\nRetry-After: 1";
    let endpoint = Endpoint::start(move |request| Some(if request == 0 { busy } else { "200 OK" }));
    block_on(async {
        let pipeline = start(&settings(&endpoint.address, |settings| settings.batch_spans = 1));
        pipeline.push(&process("shop"), span(1, 1, 0, 0));
        while totals(pipeline.counters())(Counter::Retries) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let others = [process("stock"), process("cart")];
        for other in &others {
            pipeline.push(other, span(1, 2, 0, 0));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(endpoint.requests.load(Ordering::SeqCst), 1);
        assert_eq!(pipeline.flush(Duration::from_secs(10)).await, 0);
        assert_eq!(outcome(&pipeline), [3, 0, 1]);
    });
}

#[test]
fn spans_rejected_out_of_a_batch_are_counted_and_said_once() {
    let partial = |rejected_spans| {
        let partial = ExportTracePartialSuccess { rejected_spans, error_message: "too old".into() };
        ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
    };
    // More than there were, as only a broken endpoint says, are all of them.
    let bodies = [partial(2), partial(i64::MAX), partial(-1)];
    let http = Endpoint::start(move |request| {
        Some(("200 OK\r\ncontent-type: application/x-protobuf", bodies[request].clone()))
    });
    block_on(async {
        let grpc_endpoint = GrpcEndpoint::start(|request| Reply {
            rejected: [2, i64::MAX, -1][request],
            message: "too old".into(),
            ..Reply::default()
        });
        let grpc_endpoint = grpc_endpoint.await;
        for settings in [settings(&http.address, |_| ()), grpc(&grpc_endpoint, |_| ())] {
            let heard = Heard::at(Level::Info, logs::Format::Text);
            let pipeline = start(&settings);
            for (service, rejected) in [("shop", 2), ("stock", 3), ("cart", 0)] {
                let process = process(service);
                for number in 1..=3 {
                    pipeline.push(&process, span(1, number, 0, 0));
                }
                assert_eq!(pipeline.flush(Duration::from_secs(10)).await, 0);
                let snapshot = pipeline.counters().snapshot();
                let of = |counter| snapshot.of(counter).find(|(name, _)| *name == service);
                assert_eq!(of(Counter::Rejected).map_or(0, |(_, count)| count), rejected, "{service}");
                assert_eq!(of(Counter::Exported).map_or(0, |(_, count)| count), 3 - rejected, "{service}");
            }
            pipeline.stop(Duration::ZERO).await;
            let said = heard.text();
            let lines: Vec<_> = said.lines().collect();
            assert_eq!(lines.len(), 2, "{said}");
            assert!(lines[0].starts_with("error: the endpoint rejected spans of a batch; "), "{said}");
            assert!(lines[0].ends_with(" rejected=2 answer=\"too old\""), "{said}");
            assert!(lines[1].starts_with("warn: the endpoint took a batch and warns  "), "{said}");
            assert!(lines[1].ends_with(" answer=\"too old\""), "{said}");
        }
    });
}

#[test]
fn an_answer_that_is_too_long_does_not_have_the_batch_sent_again() {
    let body = vec![b' '; 100_000];
    let http = Endpoint::start(move |_| Some(("200 OK\r\ncontent-type: application/json", body.clone())));
    block_on(async {
        let grpc_endpoint =
            GrpcEndpoint::start(|_| Reply { message: "x".repeat(100_000), ..Reply::default() }).await;
        for settings in [settings(&http.address, |_| ()), grpc(&grpc_endpoint, |_| ())] {
            let pipeline = start(&settings);
            pipeline.push(&process("shop"), span(1, 1, 0, 0));
            assert_eq!(pipeline.flush(Duration::from_secs(10)).await, 0);
            assert_eq!(outcome(&pipeline), [1, 0, 0]);
        }
        assert_eq!(grpc_endpoint.spans().len(), 1);
    });
    assert_eq!(http.spans().len(), 1);
}

#[test]
fn refused_batches_are_counted_by_service_and_said_once() {
    let endpoint = Endpoint::start(|_| {
        Some(("401 Unauthorized\r\ncontent-type: text/plain", b"no such\n  \x1b[31mtenant".to_vec()))
    });
    block_on(async {
        let heard = Heard::at(Level::Info, logs::Format::Text);
        let pipeline = start(&settings(&endpoint.address, |_| ()));
        let (shop, stock) = (process("shop"), process("stock"));
        pipeline.push(&shop, span(1, 1, 0, 0));
        pipeline.push(&shop, span(1, 2, 1, 0));
        pipeline.push(&stock, span(1, 3, 2, 0));
        assert_eq!(pipeline.flush(Duration::from_secs(10)).await, 0);
        let snapshot = pipeline.counters().snapshot();
        assert_eq!(snapshot.of(Counter::Refused).collect::<Vec<_>>(), [("shop", 2), ("stock", 1)]);
        assert_eq!(snapshot.total(Counter::Exported), 0);
        pipeline.stop(Duration::ZERO).await;
        let said = heard.text();
        assert!(said.starts_with("error: the endpoint refuses spans; "), "{said}");
        assert!(said.contains("HTTP 401 Unauthorized: no such"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    });
    // What the specification says must not be retried is not.
    assert_eq!(endpoint.requests.load(Ordering::SeqCst), 2);
}

#[test]
fn an_endpoint_that_refuses_is_told_from_one_that_takes_spans() {
    // The second batch finds an outage, which ends in a refusal.
    let endpoint = Endpoint::start(|request| {
        Some(["401 Unauthorized", "503 Busy", "400 Bad Request"].get(request).copied().unwrap_or("200 OK"))
    });
    block_on(async {
        let pipeline = start(&settings(&endpoint.address, |_| ()));
        let (monitor, shop) = (pipeline.monitor(), process("shop"));
        let state = || (monitor.progress().is_down, monitor.progress().refuses);
        assert_eq!(state(), (false, false));
        for refusal in ["401", "400"] {
            pipeline.push(&shop, span(1, 1, 0, 0));
            assert_eq!(pipeline.flush(Duration::from_secs(10)).await, 0);
            assert_eq!(state(), (true, true), "{refusal}");
            assert!(monitor.progress().last_error.unwrap().contains(refusal), "{refusal}");
        }
        assert_eq!(outcome(&pipeline), [0, 2, 1]);
        pipeline.push(&shop, span(1, 1, 0, 0));
        assert_eq!(pipeline.flush(Duration::from_secs(10)).await, 0);
        assert_eq!((state(), outcome(&pipeline)), ((false, false), [1, 2, 1]));
    });
}

#[test]
fn requests_say_what_they_are() {
    let endpoint = Endpoint::start(|_| Some("200 OK"));
    for protocol in ["http/protobuf", "http/json"] {
        let flags = Flags {
            endpoint: Some(endpoint.address.clone()),
            protocol: Some(protocol.into()),
            ..Flags::default()
        };
        let headers = |name: &str| (name == "OTEL_EXPORTER_OTLP_HEADERS").then(|| "Tenant=a%20b".into());
        block_on(async {
            let pipeline = start(&read(headers, &flags));
            pipeline.push(&process("shop"), span(1, 1, 0, 0));
            assert_eq!(pipeline.flush(Duration::from_secs(10)).await, 0);
        });
    }
    let heads = endpoint.heads.lock().unwrap();
    for (head, kind) in heads.iter().zip(["application/x-protobuf", "application/json"]) {
        assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        let agent = format!("user-agent: otel-otlp-exporter-lightfoot/{}", env!("CARGO_PKG_VERSION"));
        for line in [&format!("content-type: {kind}"), "tenant: a b", &agent] {
            assert!(head.lines().any(|found| found == line), "{line} in {head}");
        }
    }
    assert_eq!((heads.len(), endpoint.spans()[0].1), (2, 2));
}
