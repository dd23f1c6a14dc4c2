//! The Collector is away for a while, with TLS and without. Each span has a number of its own, so that what arrived can
//! be told from what was lost, and that compared with what was counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bumpalo::Bump;
use lightfoot::counters::{Counter, Counters};
use lightfoot::deliver::Pipeline;
use lightfoot::describe::Describer;
use lightfoot::record::{HttpServer, Operation, Record};
use lightfoot::span::Span;

use super::certificates::Certificates;
use super::collector::Collector;
use super::process::{block_on, clock, process, settings};

/// The span with that number.
pub(super) fn span(number: u64) -> Span<'static> {
    let request = HttpServer { method: "GET", target: "/", ..HttpServer::default() };
    let record = Record {
        pid: 7,
        start: 1_000_000_000,
        end: 1_000_000_001,
        trace_id: [1; 16],
        // None is 0.
        span_id: (number + 1).to_be_bytes(),
        parent: None,
        flags: 1,
        trace_state: None,
        segment: None,
        operation: Operation::HttpServer(request),
    };
    let describer = Describer::new(lightfoot::describe::Settings::default());
    describer.span(&record, &clock(), &Bump::new()).into_owned()
}

/// The numbers of the spans that arrived, by service, and how many came twice.
fn arrived(collector: &Collector) -> (BTreeMap<String, Vec<u64>>, usize) {
    let mut services = BTreeMap::<_, Vec<_>>::new();
    for (about, span) in collector.received() {
        let service = about["resource"]["service.name"]["stringValue"].as_str().unwrap().to_owned();
        let number = u64::from_str_radix(span["spanId"].as_str().unwrap(), 16).unwrap();
        services.entry(service).or_default().push(number - 1);
    }
    let mut repeated = 0;
    for numbers in services.values_mut() {
        let before = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        repeated += before - numbers.len();
    }
    (services, repeated)
}

fn of(counters: &Counters, counter: Counter, service: &str) -> u64 {
    counters.snapshot().of(counter).find(|(name, _)| *name == service).map_or(0, |(_, count)| count)
}

#[test]
fn an_outage_costs_nothing_while_there_is_room_and_is_counted_after_that() {
    let certificates = Certificates::new();
    for protocol in ["grpc", "http/protobuf"] {
        let mut collector = Collector::start(Some(&certificates));
        let port = collector.port(protocol);
        let variables = [
            ("OTEL_BSP_MAX_QUEUE_SIZE", "1000"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", certificates.authority.to_str().unwrap()),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificates.client.to_str().unwrap()),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", certificates.client_key.to_str().unwrap()),
        ];
        let settings = settings(&format!("https://127.0.0.1:{port}"), protocol, &variables);
        let shop = process(7, "OTEL_SERVICE_NAME=shop\0", "a/shop");
        let stock = process(8, "OTEL_SERVICE_NAME=stock\0", "a/stock");
        let counters = Arc::new(Counters::default());
        block_on(async {
            let pipeline = Pipeline::start(&settings, Arc::clone(&counters)).unwrap();
            let push = |numbers: std::ops::Range<u64>| {
                for number in numbers {
                    pipeline.push(&shop, span(number));
                    if number % 2 == 0 {
                        pipeline.push(&stock, span(number));
                    }
                }
            };
            push(0..500);
            assert_eq!(
                pipeline.flush(Duration::from_secs(20)).await,
                0,
                "{:?}",
                pipeline.last_export_error()
            );

            // As much as there is room for, and a while longer than a batch is tried at first.
            collector.0.stop().await;
            push(500..1_500);
            assert_eq!(pipeline.flush(Duration::from_secs(2)).await, 1_500);
            collector.0.start_again();
            assert_eq!(
                pipeline.flush(Duration::from_secs(20)).await,
                0,
                "{:?}",
                pipeline.last_export_error()
            );
            assert_eq!(counters.snapshot().total(Counter::QueueFull), 0);

            // More than there is room for.
            collector.0.stop().await;
            push(1_500..4_000);
            assert_eq!(pipeline.flush(Duration::from_secs(2)).await, 2_000);
            collector.0.start_again();
            pipeline.stop(Duration::from_secs(20)).await;
            collector.0.stop().await;
        });
        let (arrived, repeated) = arrived(&collector);
        assert_eq!(repeated, 0, "{protocol}");
        for (service, truth, lost) in [("shop", 4_000, 1_500), ("stock", 2_000, 250)] {
            assert_eq!(arrived[service].len(), truth - lost, "{protocol}, {service}");
            let counted = [Counter::Pushed, Counter::Exported, Counter::QueueFull];
            let counted = counted.map(|counter| of(&counters, counter, service));
            let expected = [truth, truth - lost, lost].map(|number| number as u64);
            assert_eq!(counted, expected, "{protocol}, {service}");
        }
        // What came first was kept: the last ones are missing.
        assert_eq!(arrived["shop"].last(), Some(&2_499), "{protocol}");
        assert!(counters.snapshot().total(Counter::Retries) > 0);
    }
}

#[test]
fn restarts_under_load_lose_nothing() {
    for protocol in ["grpc", "http/protobuf"] {
        let mut collector = Collector::start(None);
        let port = collector.port(protocol);
        let variables = [("OTEL_BSP_SCHEDULE_DELAY", "50"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")];
        let settings = settings(&format!("http://127.0.0.1:{port}"), protocol, &variables);
        let shop = process(7, "OTEL_SERVICE_NAME=shop\0", "a/shop");
        let counters = Arc::new(Counters::default());
        let mut number = 0;
        block_on(async {
            let pipeline = Pipeline::start(&settings, Arc::clone(&counters)).unwrap();
            for is_up in [true, false, true, false, true] {
                let until = Instant::now() + Duration::from_millis(700);
                if is_up && number > 0 {
                    collector.0.start_again();
                } else if !is_up {
                    collector.0.stop().await;
                }
                while Instant::now() < until {
                    for _ in 0..5 {
                        pipeline.push(&shop, span(number));
                        number += 1;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            pipeline.stop(Duration::from_secs(20)).await;
            collector.0.stop().await;
        });
        let (arrived, repeated) = arrived(&collector);
        assert_eq!(arrived["shop"], (0..number).collect::<Vec<_>>(), "{protocol}");
        assert_eq!(of(&counters, Counter::Exported, "shop"), number, "{protocol}");
        // Only a lost acknowledgement makes it come twice.
        assert!(repeated as u64 * 2 < number, "{protocol}: {repeated} of {number} twice");
    }
}
