use lightfoot_probes_abi::RecordHeader;
use std::mem::offset_of;

use super::*;
use crate::cli::testing::{is_counted, record};
use crate::recording::{Recorder, Writer};

/// What was counted, and what the recording came to.
fn replayed(frames: &[Frame], end: Option<&Fact>) -> (String, anyhow::Result<()>) {
    let mut writer = Writer::new(Vec::new(), 1 << 30, Recorder::here("amd64")).unwrap();
    for frame in frames {
        let _ = writer.write(frame).unwrap();
    }
    let mut bytes = writer.finish(end.unwrap_or(&Fact::Ended { process: 0 })).unwrap();
    if end.is_none() {
        bytes.truncate(bytes.len() - 1);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut variables = Variables::new(|name| (name == "OTEL_TRACES_EXPORTER").then(|| "none".into()));
        let settings = Settings::read(&mut variables, &Flags::default());
        let settings = variables.finish(settings).unwrap();
        let counts = Arc::new(Counts::default());
        let clock = Clock::from_reading(Reading { before: 0, wall: 0, after: 0 });
        let spans = Spans::start(&settings, describe::Settings::default(), clock, true, &counts).unwrap();
        let mut replay = Replay { spans, has_clock: false, processes: HashMap::new() };
        let result = replay.take(Reader::new(&bytes[..]).unwrap(), &settings).await;
        replay.spans.finish(Duration::from_secs(1)).await;
        (counts.to_string(), result)
    })
}

fn process(id: u32) -> Frame {
    Frame::Fact(Fact::Process(Process {
        id,
        pid: 7,
        start_time: 1,
        network: None,
        since: 0,
        executable: "/srv/shop".to_owned(),
        service_name: "shop".to_owned(),
        named_by: crate::resource::NamedBy::Executable,
        attributes: std::collections::BTreeMap::new(),
        schema_url: String::new(),
    }))
}

/// A request without texts, of process 7.
fn request() -> Frame {
    let mut bytes = record();
    bytes[offset_of!(RecordHeader, tgid)] = 7;
    Frame::Record(bytes)
}

#[test]
fn counts_of_the_recording_are_added() {
    let counts = [("ring_full", 3), ("records_left_out", 4), ("records_malformed", 1), ("of_the_future", 5)];
    let counts = counts.map(|(name, count)| (name.to_owned(), count)).into();
    let frames = [request(), process(1), request(), Frame::Record(vec![1])];
    let (counts, result) = replayed(&frames, Some(&Fact::End { counts }));
    result.unwrap();
    for (name, count) in
        [("ring_full", 3), ("records_left_out", 4), ("records_malformed", 2), ("spans_discarded", 2)]
    {
        assert!(is_counted(&counts, name, count), "{name} {count}: {counts}");
    }
}

#[test]
fn what_comes_before_a_cut_is_replayed() {
    let (counts, result) = replayed(&[process(1), request(), request()], None);
    assert!(result.unwrap_err().to_string().starts_with("the file ends within frame "));
    assert!(is_counted(&counts, "spans_discarded", 2), "{counts}");
}

#[test]
fn lies_about_processes_are_refused_within_bounds() {
    let (_, result) = replayed(&[process(1), process(1)], None);
    assert_eq!(result.unwrap_err().to_string(), "process 1 of the recording is announced twice");
    let crowd: Vec<_> = (0..=4_096).map(process).collect();
    let (_, result) = replayed(&crowd, None);
    assert_eq!(result.unwrap_err().to_string(), "more than 4096 processes at once are too many");
}
