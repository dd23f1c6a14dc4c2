//! Delivery allocates by the batch, not by the span. One test: it owns the allocator.
#![forbid(unsafe_code)]

use std::sync::Arc;

use lightfoot::clock::{Clock, Reading};
use lightfoot::counters::Counter;
use lightfoot::deliver::{Flags, Pipeline, Settings};
use lightfoot::describe::Describer;
use lightfoot::record::{HttpServer, Operation, Record};
use lightfoot::resource::{Host, ProcessIdentity};
use lightfoot::variables::Variables;
use lightfoot_symbolizer::build_info::BuildInfo;

const SPANS: u64 = 4_096;
/// The default of `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`.
const BATCH: u64 = 512;

#[test]
fn a_span_on_its_way_to_an_endpoint_allocates_nothing() {
    let clock = Clock::from_reading(Reading { before: 0, wall: 1_700_000_000_000_000_000, after: 0 });
    let request = HttpServer {
        method: "GET".into(),
        target: "/products/4711".into(),
        host: "shop:8080".into(),
        pattern: "GET /products/{id}".into(),
        user_agent: "x".repeat(100),
        peer: "10.1.2.3:54321".into(),
        protocol: (1, 1),
        status: Some(200),
        ..HttpServer::default()
    };
    let record = Record {
        pid: 7,
        start: 1,
        end: 2,
        trace_id: [1; 16],
        span_id: [1; 8],
        parent: None,
        flags: 1,
        trace_state: None,
        operation: Operation::HttpServer(request),
    };
    let describer = Describer::new(lightfoot::describe::Settings::default());
    let procfs = std::path::Path::new("/proc");
    let host = Host::detect(procfs);
    let process =
        ProcessIdentity::read(procfs, std::process::id(), &BuildInfo::default(), &host, &clock).unwrap();
    let process = Arc::new(process);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _within = runtime.enter();
    for protocol in ["grpc", "http/protobuf"] {
        let flags = Flags {
            endpoint: Some("http://127.0.0.1:1".into()),
            protocol: Some(protocol.into()),
            ..Flags::default()
        };
        let mut variables = Variables::new(|_| None);
        let settings = Settings::read(&mut variables, &flags);
        let pipeline = Pipeline::start(&variables.finish(settings).unwrap(), Arc::default()).unwrap();
        // What there is once for each process.
        pipeline.push(&process, describer.span(&record, &clock));
        let spans: Vec<_> = (0..SPANS).map(|_| describer.span(&record, &clock)).collect();
        let allocations = allocation_counter::measure(|| {
            for span in spans {
                pipeline.push(&process, span);
            }
        });
        assert_eq!(pipeline.counters().snapshot().total(Counter::Pushed), SPANS + 1);
        assert_eq!(pipeline.counters().snapshot().total(Counter::QueueFull), 0);
        let batches = SPANS / BATCH;
        assert!(allocations.count_total <= 30 * batches, "{allocations:?} for {batches} batches");
    }
}
