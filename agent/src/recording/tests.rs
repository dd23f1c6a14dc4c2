use std::net::Ipv4Addr;

use super::*;

fn process() -> Process {
    Process {
        id: 1,
        pid: 4_711,
        start_time: 77,
        network: Some(4_026_531_840),
        since: 100,
        executable: "/srv/shop".to_owned(),
        service_name: "shop".to_owned(),
        named_by: NamedBy::MainModule,
        attributes: BTreeMap::from([
            ("process.pid".to_owned(), Attribute::Integer(4_711)),
            ("service.name".to_owned(), Attribute::Text("shop".to_owned())),
        ]),
        schema_url: "https://opentelemetry.io/schemas/1.44.0".to_owned(),
    }
}

fn frames() -> Vec<Frame> {
    let name = Some("*net.OpError".to_owned());
    vec![
        Frame::Fact(Fact::Clock(Reading { before: 1, wall: u64::MAX, after: 2 })),
        Frame::Fact(Fact::Process(process())),
        Frame::Record(b"not looked at".to_vec()),
        Frame::Fact(Fact::TypeName(TypeName { process: 1, descriptor: u64::MAX, name })),
        Frame::Record(Vec::new()),
        Frame::Fact(Fact::Notice { what: "not watching".to_owned(), text: "/srv/\u{1b}".to_owned() }),
        Frame::Fact(Fact::Ended { process: 1 }),
    ]
}

fn end() -> Fact {
    Fact::End { counts: BTreeMap::from([("started".to_owned(), 2)]) }
}

fn written(recorder: Recorder, frames: &[Frame]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), 1 << 20, recorder).unwrap();
    for frame in frames {
        assert_eq!(writer.write(frame).unwrap(), Taken::Yes);
    }
    writer.finish(&end()).unwrap()
}

/// The frames before an error, and that.
fn read(bytes: &[u8]) -> (Vec<Frame>, Option<RecordingError>) {
    let mut frames = Vec::new();
    let reader = match Reader::new(bytes) {
        Ok(reader) => reader,
        Err(error) => return (frames, Some(error)),
    };
    for frame in reader {
        match frame {
            Ok(frame) => frames.push(frame),
            Err(error) => return (frames, Some(error)),
        }
    }
    (frames, None)
}

fn refusal(bytes: &[u8]) -> String {
    read(bytes).1.unwrap().to_string()
}

#[test]
fn what_was_written_is_read() {
    let recorder = Recorder::here("amd64");
    let bytes = written(recorder.clone(), &frames());
    assert_eq!(Reader::new(&bytes[..]).unwrap().recorder(), &recorder);
    let (read, error) = read(&bytes);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(read, [frames(), vec![Frame::Fact(end())]].concat());
}

#[test]
fn a_process_is_known_as_it_was() {
    let identity = process().identity();
    assert_eq!(Process::new(1, &identity, 100, "/srv/shop".to_owned()), process());
}

#[test]
fn whatever_is_cut_off_the_rest_is_read_and_the_cut_is_told() {
    let bytes = written(Recorder::here("amd64"), &frames());
    let all = read(&bytes).0;
    let mut counts = Vec::new();
    for length in 0..bytes.len() {
        let (read, error) = read(&bytes[..length]);
        assert_eq!(read, all[..read.len()], "{length}");
        let told = error.unwrap().to_string();
        match length {
            0 => assert_eq!(told, "it is no recording of Lightfoot"),
            _ => assert!(told.starts_with("the file ends within "), "{length}: {told}"),
        }
        counts.push(read.len());
    }
    assert!(counts.is_sorted());
    assert_eq!(counts.last(), Some(&(all.len() - 1)));
}

#[test]
fn flipped_bits_are_told_or_change_what_is_read_but_nothing_else() {
    let bytes = written(Recorder::here("amd64"), &frames());
    let all = read(&bytes).0;
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << bit;
            let (read, error) = read(&damaged);
            assert!(read.len() <= all.len() && (error.is_none() || read.len() < all.len()), "{place} {bit}");
            if place < MAGIC.len() {
                assert!(matches!(error, Some(RecordingError::Foreign)), "{error:?}");
            }
        }
    }
}

#[test]
fn other_files_and_other_versions_are_refused() {
    for foreign in [&b"\x7fELF"[..], b"{}", &Ipv4Addr::LOCALHOST.octets(), b"\x89PNG\r\n\x1a\n"] {
        assert_eq!(refusal(foreign), "it is no recording of Lightfoot");
    }
    let mut newer = written(Recorder::here("amd64"), &[]);
    newer[MAGIC.len()] = 2;
    let expected =
        "it has version 2 of the format, and this Lightfoot reads up to 1: replay it with a newer one";
    assert_eq!(refusal(&newer), expected);
    let other =
        Recorder { agent: "9.8.7".to_owned(), records: RECORD_VERSION + 1, ..Recorder::here("amd64") };
    let told = refusal(&written(other, &[]));
    assert!(told.ends_with("replay it with the one that recorded it, 9.8.7"), "{told}");
}

#[test]
fn frames_that_cannot_be_are_damage() {
    let bytes = written(Recorder::here("amd64"), &[Frame::Record(vec![7; 9])]);
    let (_, second) = bytes.split_at(bytes.len() - 5 - serde_json::to_vec(&end()).unwrap().len());
    let start = bytes.len() - second.len() - 5 - 9;
    let with = |head: &[u8]| refusal(&[&bytes[..start], head].concat());
    assert_eq!(
        with(&(MAX_FRAME + 1).to_le_bytes().iter().copied().chain([2]).collect::<Vec<_>>()),
        format!("frame 2, at byte {start}, is damaged: 1048577 bytes are more than 1048576")
    );
    assert!(with(b"\0\0\0\0\x09").ends_with("its kind 9 is unknown"));
    assert!(with(b"\x02\0\0\0\x01{}").starts_with("frame 2, at byte"));
    let twice = [&bytes[..], second].concat();
    assert!(refusal(&twice).ends_with("it is said to be the last one, and is not"));
}

#[test]
fn facts_may_say_more_than_is_understood() {
    let bytes = written(Recorder::here("amd64"), &[]);
    let (head, _) = bytes.split_at(bytes.len() - 5 - serde_json::to_vec(&end()).unwrap().len());
    let fact = br#"{"clock":{"before":1,"wall":2,"after":3,"tai":4}}"#;
    let length = u32::try_from(fact.len()).unwrap().to_le_bytes();
    let (frames, _) = read(&[head, &length, &[1], fact].concat());
    assert_eq!(frames, [Frame::Fact(Fact::Clock(Reading { before: 1, wall: 2, after: 3 }))]);
}

#[test]
fn a_recording_that_is_full_takes_no_more_and_has_its_end_all_the_same() {
    let mut writer = Writer::new(Vec::new(), 400, Recorder::here("amd64")).unwrap();
    let mut taken = 0;
    while writer.record(&[0; 50]).unwrap() == Taken::Yes {
        taken += 1;
    }
    assert!(writer.is_full() && writer.bytes() <= 400 && taken > 0);
    // Nothing is left out between frames.
    assert_eq!(writer.record(&[]).unwrap(), Taken::No);
    let (frames, error) = read(&writer.finish(&end()).unwrap());
    assert!(error.is_none(), "{error:?}");
    assert_eq!(frames.len(), taken + 1);
}

#[test]
fn what_is_too_large_for_a_frame_is_left_out() {
    let mut writer = Writer::new(Vec::new(), 1 << 30, Recorder::here("amd64")).unwrap();
    let most = usize::try_from(MAX_FRAME).unwrap();
    assert_eq!(writer.record(&vec![0; most + 1]).unwrap(), Taken::No);
    assert_eq!(writer.record(&vec![0; most]).unwrap(), Taken::Yes);
    assert!(!writer.is_full() && read(&writer.finish(&end()).unwrap()).1.is_none());
}
