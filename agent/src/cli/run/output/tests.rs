//! What a sink does with what nobody should send it.

use std::mem::offset_of;

use lightfoot_probes_abi::record::{Http, RecordHeader};

use super::*;
use crate::cli::spans::MAX_HELD;
use crate::cli::testing::{KIND, LENGTH, is_counted, record};
use crate::discover::{Proc, ProcessKey};
use crate::session::Sink as _;

/// What a sink that was used counted in the end.
fn counts(use_it: impl FnOnce(&mut Sink)) -> String {
    let none = |name: &str| (name == "OTEL_TRACES_EXPORTER").then(|| "none".into());
    let mut variables = Variables::new(none);
    let settings = Settings::read(&mut variables, &Flags::default());
    let settings = variables.finish(settings).unwrap();
    let counts = Arc::new(Counts::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut sink =
            Sink::start(&settings, describe::Settings::default(), (InPods::default(), false), &counts, false)
                .unwrap();
        use_it(&mut sink);
        sink.finish().await.unwrap();
    });
    counts.to_string()
}

#[test]
fn bytes_that_are_no_record_are_counted() {
    let forged = |forge: fn(&mut Vec<u8>)| {
        let mut bytes = record();
        forge(&mut bytes);
        bytes
    };
    let forgeries = [
        Vec::new(),
        forged(|bytes| bytes.truncate(40)),
        forged(|bytes| bytes[offset_of!(RecordHeader, version)] += 1),
        forged(|bytes| bytes[KIND] = 77),
        // A length beyond the end, and a text beyond it.
        forged(|bytes| bytes[LENGTH + 1] = 1),
        forged(|bytes| bytes[offset_of!(Http, lengths)] = 1),
    ];
    for bytes in &forgeries {
        let counts = counts(|sink| sink.record(bytes));
        assert!(is_counted(&counts, "records_malformed", 1), "{bytes:?}: {counts}");
    }
    let counts = counts(|sink| forgeries.iter().for_each(|bytes| sink.record(bytes)));
    assert!(is_counted(&counts, "records_malformed", 6), "{counts}");
}

#[test]
fn a_record_of_a_process_that_was_never_announced_is_counted() {
    let counts = counts(|sink| sink.record(&record()));
    assert!(is_counted(&counts, "records_without_process", 1), "{counts}");
    assert_eq!(counts.lines().count(), 1, "{counts}");
}

/// How many records were given up so far.
fn given_up(sink: &Sink) -> u64 {
    let counts = sink.spans.counts.early_by_name();
    counts.get("records_without_process").copied().unwrap_or(0)
}

#[test]
fn so_many_records_wait_for_their_process_and_no_more() {
    let all = MAX_HELD as u64 + 10;
    let counts = counts(|sink| {
        (0..all).for_each(|_| sink.record(&record()));
        assert!(given_up(sink) >= 10, "{}", given_up(sink));
    });
    assert!(is_counted(&counts, "records_without_process", all), "{counts}");
}

#[test]
fn a_record_waits_a_second_for_its_process() {
    counts(|sink| {
        sink.record(&record());
        assert_eq!(given_up(sink), 0);
        thread::sleep(Duration::from_millis(1_100));
        sink.record(&record());
        assert_eq!(given_up(sink), 1);
    });
}

#[test]
fn a_process_that_ends_before_it_is_known_is_counted() {
    let own = Proc::default().process(std::process::id()).unwrap();
    // Its number is above any that the kernel gives out (include/linux/threads.h).
    let key = ProcessKey { pid: 1 << 23, ..own };
    let event = Event::Started {
        key,
        executable: "gone".into(),
        build_info: Arc::default(),
        facts: Proc::default().facts(key.pid),
        type_names: None,
        since: 0,
        treatment: Arc::default(),
    };
    let counts = counts(|sink| sink.event(event));
    assert!(is_counted(&counts, "processes_unidentified", 1), "{counts}");
    assert_eq!(counts.lines().count(), 1, "{counts}");
}

#[test]
fn types_of_contexts_that_are_not_followed_are_counted() {
    let counts = counts(|sink| {
        for count in [3, 4] {
            sink.event(Event::ContextsLeftOut { executable: "/srv/shop".into(), count });
        }
    });
    assert!(is_counted(&counts, "context_types_left_out", 7), "{counts}");
}
