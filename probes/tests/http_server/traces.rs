//! Incoming trace context and sampling.

use lightfoot_probes_abi::{Counter, ParentRule, Sampler, SamplerKind, Text};
use lightfoot_tests::live::Client;
use lightfoot_tests::probes::{HttpSpan, hex};

use crate::watch::{Options, Watch};
use crate::{ALWAYS_ON, alone, traceparent, watched};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Sends one request for each set of header lines and returns their spans in order.
fn spans(requests: &[String], sampler: Sampler) -> Option<(Vec<HttpSpan>, Watch)> {
    let (mut watch, server) = watched(Options::default(), sampler)?;
    let (records, ()) = watch.collect(requests.len(), || {
        let mut client = Client::tcp(server.address);
        for (number, headers) in requests.iter().enumerate() {
            assert_eq!(client.status(&format!("/body/{number}"), headers).unwrap(), 200);
        }
    });
    drop(server.stop());
    Some((records.iter().map(|record| HttpSpan::parse(record)).collect(), watch))
}

#[test]
fn a_traceparent_is_taken_or_ignored_as_the_standard_says() {
    let _alone = alone();
    let one = |value: &str| format!("traceparent: {value}\r\n");
    let good = format!("00-{TRACE}-{PARENT}-01");
    // Whether it is taken, and with which flags.
    let table = [
        (one(&good), Some(1)),
        (format!("TRACEPARENT: {good}\r\n"), Some(1)),
        (format!("traceparent:   {good}  \r\n"), Some(1)),
        (one(&good.replace("-01", "-00")), Some(0)),
        (one(&good.replace("-01", "-ff")), Some(3)),
        (one(&good.replace("-01", "-fe")), Some(2)),
        (one(&good.replace("00-", "cc-")), Some(1)),
        (one(&(good.replace("00-", "cc-") + "-what-the-future-brings")), Some(1)),
        (one(&(good.replace("00-", "cc-") + ".what")), None),
        (one(&(good.clone() + "-what")), None),
        (one(&(good.clone() + "-")), None),
        (one(&good.replace("00-", "ff-")), None),
        (one(&good.to_uppercase()), None),
        (one(&good.replace(TRACE, &"0".repeat(32))), None),
        (one(&good.replace(PARENT, &"0".repeat(16))), None),
        (one(&good.replace("-01", "-0x")), None),
        (one(&good[..54]), None),
        (one(&good.replace('-', "_")), None),
        (one(""), None),
        (one(&"0".repeat(300)), None),
        (one(&good) + &one(&good), None),
        (String::new(), None),
    ];
    let requests: Vec<_> = table.iter().map(|(headers, _)| headers.clone() + "tracestate: a=1\r\n").collect();
    let regardless_of_parents = Sampler { parent_based: 0, ..ALWAYS_ON };
    let Some((spans, watch)) = spans(&requests, regardless_of_parents) else { return };
    assert_eq!(spans.len(), table.len());
    for (span, (headers, flags)) in spans.iter().zip(&table) {
        let header = &span.fixed.header;
        let is_taken = header.parent_rule == ParentRule::Remote as u8;
        assert_eq!(is_taken, flags.is_some(), "{headers}");
        assert_eq!(span.trace_id() == TRACE, is_taken, "{headers}");
        assert_eq!(header.parent_span_id != 0 && hex(header.parent_span_id) == PARENT, is_taken, "{headers}");
        assert_eq!(span.text(Text::Tracestate), if is_taken { "a=1" } else { "" }, "{headers}");
        assert_eq!(header.trace_flags & 1, 1, "{headers}");
        assert_eq!(header.trace_flags & 2, flags.unwrap_or_default() & 2, "{headers}");
    }
    let ignored = table.iter().filter(|(headers, flags)| flags.is_none() && !headers.is_empty()).count();
    assert_eq!(watch.counter(Counter::BadTraceparent), ignored as u64);
}

#[test]
fn samplers_decide_before_anything_is_copied() {
    let _alone = alone();
    let half = 1_u64 << 62;
    let sampler =
        |kind: SamplerKind, parent_based, threshold| Sampler { kind: kind as u32, parent_based, threshold };
    // With the number of spans recorded of: 100 roots, 100 with a sampled and 100 with an unsampled parent.
    let table = [
        (sampler(SamplerKind::AlwaysOn, 0, 0), Some([100, 100, 100])),
        (sampler(SamplerKind::AlwaysOff, 0, 0), Some([0, 0, 0])),
        (sampler(SamplerKind::AlwaysOn, 1, 0), Some([100, 100, 0])),
        (sampler(SamplerKind::AlwaysOff, 1, 0), Some([0, 100, 0])),
        (sampler(SamplerKind::TraceIdRatio, 0, half), None),
    ];
    for (sampler, expected) in table {
        let Some((mut watch, server)) = watched(Options::default(), sampler) else { return };
        let (records, ()) = watch.collect(0, || {
            let mut client = Client::tcp(server.address);
            for number in 0..100 {
                client.get("/body/root", "").unwrap();
                client.get("/body/on", &format!("traceparent: {}\r\n", traceparent(number))).unwrap();
                let off = traceparent(number).replace("-01", "-00");
                client.get("/body/off", &format!("traceparent: {off}\r\n")).unwrap();
            }
        });
        let mut records = records;
        watch.drain(&mut records);
        let spans: Vec<_> = records.iter().map(|record| HttpSpan::parse(record)).collect();
        let counts = ["/body/root", "/body/on", "/body/off"]
            .map(|target| spans.iter().filter(|span| span.target() == target).count());
        if let Some(expected) = expected {
            assert_eq!(counts, expected, "{sampler:?}");
        } else {
            let is_in_half = |span: &HttpSpan| u64::from_be(span.fixed.header.trace_id[1]) >> 1 < half;
            assert!(spans.iter().all(is_in_half));
            // Of a fair coin's 100 throws; missed by five standard deviations once in a million runs.
            assert!((25..75).contains(&counts[0]), "{counts:?}");
        }
        let (started, ended) = (watch.counter(Counter::Started), watch.counter(Counter::Ended));
        assert_eq!((started, ended), (300, spans.len() as u64));
        assert_eq!(watch.counter(Counter::Unsampled), 300 - spans.len() as u64);
        assert_eq!(watch.open_spans(), 0);
        drop(server.stop());
    }
}
