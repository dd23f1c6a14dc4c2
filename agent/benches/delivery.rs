//! What a span costs the agent after the ring buffer: CPU time of its thread and allocations, stage by stage, for the
//! record of a plain request with all that a browser sends. `make bench` runs it.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::mem::offset_of;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bumpalo::Bump;
use lightfoot::clock::{Clock, Reading};
use lightfoot::counters::{Counter, Counters};
use lightfoot::deliver::{Flags, Pipeline, Settings};
use lightfoot::describe::Describer;
use lightfoot::receive;
use lightfoot::resource::{Host, ProcessIdentity};
use lightfoot::variables::Variables;
use lightfoot_probes_abi::record::{Http, RecordHeader, RecordKind, Text, VERSION};
use lightfoot_symbolizer::build_info::BuildInfo;
use rustix::time::{ClockId, clock_gettime};

/// Spans of a round, which fit into the queue.
const SPANS: u32 = 8_192;
/// What is promised for a span, in microseconds, to an endpoint that takes it.
const TARGET: f64 = 3.0;
/// How often each stage runs; the median is told.
const ROUNDS: usize = 15;

fn main() {
    let record = record();
    let clock = Clock::from_reading(Reading { before: 0, wall: 1_700_000_000_000_000_000, after: 0 });
    let describer = Describer::new(lightfoot::describe::Settings::default());
    let mut arena = Bump::new();
    println!("| from the ring to an endpoint | CPU a span | allocations a span |");
    println!("|---|---|---|");

    row(
        "parse the record",
        || (),
        |()| {
            for _ in 0..SPANS {
                arena.reset();
                let _ = black_box(receive::record(black_box(&record), &arena));
            }
        },
    );
    let texts = Bump::new();
    let parsed = receive::record(&record, &texts).unwrap();
    row(
        "describe it",
        || (),
        |()| {
            for _ in 0..SPANS {
                arena.reset();
                drop(black_box(describer.span(black_box(&parsed), &clock, &arena)));
            }
        },
    );

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _within = runtime.enter();
    let identity = identity(&clock);
    let span = describer.span(&parsed, &clock, &texts);
    let mut all = |pipeline: &Pipeline| {
        for _ in 0..SPANS {
            arena.reset();
            let record = receive::record(&record, &arena).unwrap();
            pipeline.push(&identity, describer.span(&record, &clock, &arena));
        }
    };

    let none =
        Pipeline::start(&settings("", "", &[("OTEL_TRACES_EXPORTER", "none")]), Arc::default()).unwrap();
    row("all of it, to no endpoint", || (), |()| all(&none));

    let address = endpoint();
    let mut dearest = 0_f64;
    for (protocol, compression) in
        [("http/protobuf", "none"), ("http/protobuf", "gzip"), ("http/json", "none"), ("grpc", "none")]
    {
        let variables =
            [("OTEL_EXPORTER_OTLP_COMPRESSION", compression), ("OTEL_BSP_SCHEDULE_DELAY", "3600000")];
        let endpoint = if protocol == "grpc" { grpc_endpoint() } else { address.clone() };
        let settings = settings(&endpoint, protocol, &variables);
        let counters = Arc::new(Counters::default());
        let pipeline = Pipeline::start(&settings, Arc::clone(&counters)).unwrap();
        let flush = || assert_eq!(runtime.block_on(pipeline.flush(Duration::from_secs(60))), 0);
        let fill = || (0..SPANS).for_each(|_| pipeline.push(&identity, span.clone()));
        row(&format!("encode and queue, {protocol}, {compression}"), flush, |()| fill());
        flush();
        row(&format!("send, {protocol}, {compression}"), fill, |()| flush());
        let whole = row(
            &format!("**all of it, {protocol}, {compression}**"),
            || (),
            |()| {
                all(&pipeline);
                flush();
            },
        );
        dearest = dearest.max(whole);
        assert_eq!(counters.snapshot().total(Counter::Exported), 3 * u64::from(SPANS) * ROUNDS as u64);
    }
    let verdict = if dearest < TARGET { "met" } else { "**not met**" };
    println!("\nTarget: all of it under {TARGET} µs a span ({verdict}).");
}

/// Runs a stage on what `prepare` makes, which is not measured, and prints its row. Returns microseconds a span.
fn row<T>(name: &str, mut prepare: impl FnMut() -> T, mut stage: impl FnMut(T)) -> f64 {
    let mut rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let input = prepare();
            let before = thread_time();
            let allocations = allocation_counter::measure(|| stage(input));
            (thread_time().saturating_sub(before), allocations.count_total)
        })
        .collect();
    rounds.sort_unstable();
    let (time, allocations) = rounds.get(ROUNDS / 2).copied().unwrap();
    let (time, allocations) = (
        time.as_secs_f64() * 1e6 / f64::from(SPANS),
        f64::from(u32::try_from(allocations).unwrap()) / f64::from(SPANS),
    );
    println!("| {name} | {time:.2} µs | {allocations:.2} |");
    time
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap())
}

/// As BPF writes it for a request of a browser to a route with one wildcard.
fn record() -> Vec<u8> {
    let texts = |text: Text| match text {
        Text::Host => "shop.example.com:8080",
        Text::UserAgent => "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        Text::RequestLine => "GET /products/4711/reviews",
        Text::Peer => "10.1.2.3:54321",
        Text::Route => "GET /products/{id}/reviews",
        Text::Tracestate | Text::Scheme | Text::Error => "",
    };
    let mut bytes = vec![0; size_of::<Http>()];
    let mut put = |offset: usize, value: &[u8]| {
        bytes.get_mut(offset..offset + value.len()).unwrap().copy_from_slice(value);
    };
    put(offset_of!(RecordHeader, kind), &[RecordKind::HttpServer as u8]);
    put(offset_of!(RecordHeader, version), &[VERSION]);
    put(offset_of!(RecordHeader, trace_flags), &[1]);
    put(offset_of!(RecordHeader, start), &1_000_000_000_u64.to_ne_bytes());
    put(offset_of!(RecordHeader, end), &1_001_500_000_u64.to_ne_bytes());
    put(offset_of!(RecordHeader, trace_id), &[7; 16]);
    put(offset_of!(RecordHeader, span_id), &[8; 8]);
    put(offset_of!(Http, status), &200_u16.to_ne_bytes());
    put(offset_of!(Http, method_length), &3_u16.to_ne_bytes());
    put(offset_of!(Http, protocol_major), &[1, 1]);
    for (index, text) in Text::ALL.into_iter().enumerate() {
        let length = u16::try_from(texts(text).len()).unwrap();
        put(offset_of!(Http, lengths) + 2 * index, &length.to_ne_bytes());
    }
    for text in Text::ALL {
        bytes.extend_from_slice(texts(text).as_bytes());
    }
    let length = u32::try_from(bytes.len()).unwrap().to_ne_bytes();
    let offset = offset_of!(RecordHeader, length);
    bytes.get_mut(offset..offset + length.len()).unwrap().copy_from_slice(&length);
    bytes
}

fn identity(clock: &Clock) -> Arc<ProcessIdentity> {
    let (procfs, pid) = (std::path::Path::new("/proc"), std::process::id());
    let host = Host::detect(procfs);
    Arc::new(ProcessIdentity::read(procfs, pid, &BuildInfo::default(), None, &host, clock).unwrap())
}

fn settings(endpoint: &str, protocol: &str, said: &[(&str, &str)]) -> Settings {
    let said_or_not = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let flags = Flags {
        endpoint: said_or_not(endpoint),
        protocol: said_or_not(protocol),
        queue_size: Some(64),
        ..Flags::default()
    };
    let mut variables =
        Variables::new(|wanted| said.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.into()));
    let settings = Settings::read(&mut variables, &flags);
    variables.finish(settings).unwrap()
}

/// A server that takes everything, on threads of its own.
fn endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || take_all(&stream.unwrap()));
        }
    });
    format!("http://{address}")
}

fn take_all(mut stream: &TcpStream) {
    let (mut input, mut chunk) = (Vec::new(), vec![0; 1 << 20]);
    loop {
        let head = input.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8_lossy(input.get(..head).unwrap()).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let whole = head + 4 + length.trim().parse::<usize>().unwrap();
            if input.len() >= whole {
                input.drain(..whole);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                continue;
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(count) => input.extend_from_slice(chunk.get(..count).unwrap()),
        }
    }
}

/// The same in gRPC.
fn grpc_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut builder = h2::server::Builder::new();
            builder.initial_window_size(1 << 24).initial_connection_window_size(1 << 24);
            let mut connection = builder.handshake::<_, bytes::Bytes>(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                tokio::spawn(async move {
                    let mut body = request.into_body();
                    while let Some(Ok(chunk)) = body.data().await {
                        body.flow_control().release_capacity(chunk.len()).unwrap();
                    }
                    let head = http::Response::builder().header("content-type", "application/grpc");
                    let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
                    stream.send_data(bytes::Bytes::from_static(&[0; 5]), false).unwrap();
                    let mut trailers = http::HeaderMap::new();
                    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
                    stream.send_trailers(trailers).unwrap();
                });
            }
        });
    });
    format!("http://{address}")
}
