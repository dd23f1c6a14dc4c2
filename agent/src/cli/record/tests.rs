use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use super::*;
use crate::cli::run::Output as _;
use crate::recording::{Fact, Frame, Reader};
use crate::session::Sink as _;
use crate::watch::Event;

#[test]
fn a_recording_is_for_its_owner_alone_and_replaces_nothing_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    fs::write(&path, "precious").unwrap();
    let told = create(&path, false).unwrap_err().to_string();
    assert!(told.ends_with("is there already; --force replaces it"), "{told}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    drop(create(&path, true).unwrap());
    let file = fs::metadata(&path).unwrap();
    assert_eq!((file.len(), file.permissions().mode() & 0o777), (0, 0o600));
    assert!(create(folder.path(), true).is_err() && folder.path().is_dir());
}

#[test]
fn records_for_which_there_is_no_room_are_counted() {
    let counts = Arc::new(Counts::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let file = create(&path, false).unwrap();
    let (file, written) = Counted::new(file);
    let writer = Writer::new(BufWriter::new(file), 1_000, Recorder::here("amd64")).unwrap();
    let host = Host::detect(Path::new("/proc"));
    let mut recording = Recording::new((writer, written), path.clone(), host, &counts, true);
    recording.event(Event::ContextsLeftOut { executable: "/srv/shop".into(), count: 3 });
    for _ in 0..20 {
        assert!(!recording.is_done() || counts.to_string().contains("records_left_out"));
        recording.record(&[0; 95]);
    }
    assert!(recording.is_done());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(recording.finish()).unwrap();
    let frames: Result<Vec<_>, _> = Reader::new(File::open(&path).unwrap()).unwrap().collect();
    let frames = frames.unwrap();
    let records = frames.iter().filter(|frame| matches!(frame, Frame::Record(_))).count();
    let Some(Frame::Fact(Fact::End { counts })) = frames.last() else { panic!("{frames:?}") };
    assert_eq!(counts["records_left_out"], 20 - records as u64);
    assert_eq!(counts["context_types_left_out"], 3);
    assert!(records > 0 && fs::metadata(&path).unwrap().len() < 1_200);
}
