//! From the bytes of the ring buffer to the queue a span allocates nothing: what is allocated is so by the batch. The records
//! are those of the recordings in `tests/recordings`, of real servers and clients. One test: it owns the allocator.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use bumpalo::Bump;
use lightfoot::clock::{Clock, Reading};
use lightfoot::counters::Counter;
use lightfoot::deliver::{Flags, Pipeline, Settings};
use lightfoot::describe::{self, Describer};
use lightfoot::receive;
use lightfoot::record::Operation;
use lightfoot::recording::{Frame, Reader};
use lightfoot::resource::{Host, ProcessIdentity};
use lightfoot::variables::Variables;
use lightfoot_symbolizer::build_info::BuildInfo;

/// The default of `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`.
const BATCH: usize = 512;
/// What fits into the queue.
const SPANS: usize = 16 * BATCH;
/// Allocations of a batch: its buffers grow to what it takes, by doubling.
const OF_A_BATCH: u64 = 30;

/// All records of a kind.
fn records(is_wanted: impl Fn(&Operation<'_>) -> bool) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/recordings");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let recordings = files.filter(|path| path.extension().is_some_and(|extension| extension == "lfrec"));
    let frames = recordings.flat_map(|path| Reader::new(BufReader::new(File::open(path).unwrap())).unwrap());
    let records = frames.filter_map(|frame| match frame.unwrap() {
        Frame::Record(bytes) => Some(bytes),
        Frame::Fact(_) => None,
    });
    records.filter(|bytes| is_wanted(&receive::record(bytes, &Bump::new()).unwrap().operation)).collect()
}

fn settings(protocol: &str) -> Settings {
    let flags = Flags {
        endpoint: Some("http://127.0.0.1:1".into()),
        protocol: Some(protocol.into()),
        queue_size: Some(256),
        ..Flags::default()
    };
    let mut variables = Variables::new(|_| None);
    let settings = Settings::read(&mut variables, &flags);
    variables.finish(settings).unwrap()
}

#[test]
fn a_span_on_its_way_to_an_endpoint_allocates_nothing() {
    let clock = Clock::from_reading(Reading { before: 0, wall: 1_700_000_000_000_000_000, after: 0 });
    let mut describing = describe::Settings::default();
    describing.http.query = true;
    let describer = Describer::new(describing);
    let procfs = Path::new("/proc");
    let host = Host::detect(procfs);
    let process =
        ProcessIdentity::read(procfs, std::process::id(), &BuildInfo::default(), None, &host, &clock)
            .unwrap();
    let process = Arc::new(process);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _within = runtime.enter();
    let kinds = [
        ("served", records(|operation| matches!(operation, Operation::HttpServer(_)))),
        ("sent", records(|operation| matches!(operation, Operation::HttpClient(_)))),
    ];
    for (kind, records) in &kinds {
        assert!(records.len() >= 10, "{} {kind}", records.len());
        for protocol in ["grpc", "http/protobuf", "http/json"] {
            let pipeline = Pipeline::start(&settings(protocol), Arc::default()).unwrap();
            let mut arena = Bump::new();
            let mut push = |count: usize| {
                for bytes in records.iter().cycle().take(count) {
                    arena.reset();
                    let record = receive::record(bytes, &arena).unwrap();
                    pipeline.push(&process, describer.span(&record, &clock, &arena));
                }
            };
            // What there is once for each process, and an arena that has room for the largest record.
            push(records.len());
            let left = SPANS - records.len();
            let allocations = allocation_counter::measure(|| push(left));
            let snapshot = pipeline.counters().snapshot();
            assert_eq!(snapshot.total(Counter::Pushed), SPANS as u64);
            assert_eq!(snapshot.total(Counter::QueueFull) + snapshot.total(Counter::QueueBytes), 0);
            let batches = left.div_ceil(BATCH) as u64;
            println!("{kind}, {protocol}: {} allocations in {batches} batches", allocations.count_total);
            assert!(
                allocations.count_total <= OF_A_BATCH * batches,
                "{kind}, {protocol}: {allocations:?} for {batches} batches"
            );
        }
    }
}
