//! `lightfoot record` on running programs, and what `lightfoot replay` makes of it.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{self, Command};

use lightfoot_tests::go::Program;
use lightfoot_tests::live::{
    Agent, Client, Folder, Span, Target, boot_time, get, lightfoot, text, wait_for, wall_offset,
};
use lightfoot_tests::recordings::{frames, replay};
use rustix::process::Signal;

fn recorder(file: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Agent {
    let mut command = Command::new(lightfoot());
    command.args(["record", text(file)]).args(arguments);
    Agent::spawn(command, variables).unwrap()
}

/// The spans of a whole recording, and what was counted.
fn replayed(file: &Path) -> (Vec<Span>, BTreeMap<String, u64>) {
    let output = replay(file, &["--to", "otlp-json"]).unwrap();
    let messages = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{messages}");
    let count = |line: &str| {
        let (name, rest) = line.split_once(' ')?;
        Some((name.to_owned(), rest.split_whitespace().next()?.parse().ok()?))
    };
    let spans = String::from_utf8(output.stdout).unwrap();
    (
        spans.lines().map(|line| Span::parse(line).unwrap()).collect(),
        messages.lines().filter_map(count).collect(),
    )
}

#[test]
fn a_recording_comes_to_the_spans_of_what_was_served() {
    let Some(folder) = Folder::for_test("a recording") else { return };
    let target = Target::start(&folder.server().unwrap()).unwrap();
    let file = folder.path().join("recording");
    let agent = recorder(&file, &["--pid", &target.pid().to_string()], &[]);
    agent.watches(target.pid()).unwrap();
    let (offset, uncertainty) = wall_offset();
    let before = boot_time() + offset - uncertainty;
    let paths = ["/one", "/two", "/three"];
    for path in paths {
        assert_eq!(target.get(path).unwrap(), 200);
    }
    agent.counts_to("ended", 3).unwrap();
    let after = boot_time() + offset + uncertainty;
    let outcome = agent.stop().unwrap();
    assert!(outcome.messages.contains("recorded  records=3 processes=1 bytes="), "{}", outcome.messages);
    assert_eq!(outcome.other_output, "");
    // Nothing of what was recorded is needed any more.
    let pid = u64::from(target.pid());
    drop(target);
    let (spans, counts) = replayed(&file);
    assert_eq!(spans.iter().map(Span::path).collect::<Vec<_>>(), paths);
    for span in &spans {
        assert_eq!((span.pid(), span.service()), (pid, "lifecycle"));
        assert!(
            before - 100_000_000 <= span.start && span.start <= span.end && span.end <= after + 100_000_000
        );
    }
    assert_eq!((counts.get("ended"), counts.get("spans_printed")), (Some(&3), Some(&3)));
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_command_is_recorded_from_its_first_request_for_whoever_called_sudo() {
    let Some(folder) = Folder::for_test("recording a command") else { return };
    let path = folder.server().unwrap();
    let file = folder.path().join("recording");
    let agent = recorder(
        &file,
        &["--", text(&path), "-exit-code", "5"],
        &[("SUDO_UID", "65534"), ("SUDO_GID", "65534")],
    );
    let address = wait_for("the server", || {
        agent.other_output().lines().find_map(|line| line.strip_prefix("listening ")?.parse().ok())
    });
    assert_eq!(get(address.unwrap(), "/first").unwrap(), 200);
    agent.counts_to("ended", 1).unwrap();
    agent.signal(Signal::TERM);
    let outcome = agent.wait().unwrap();
    assert_eq!(outcome.status.code(), Some(5), "{}", outcome.messages);
    assert_eq!(replayed(&file).0.iter().map(Span::path).collect::<Vec<_>>(), ["/first"]);
    assert_eq!(fs::metadata(&file).unwrap().uid(), 65534);
    // It is there, and is left alone.
    let second = recorder(&file, &["--", text(&path)], &[]).wait().unwrap();
    assert_eq!(second.status.code(), Some(1), "{}", second.messages);
    assert!(second.messages.contains("is there already; --force replaces it"), "{}", second.messages);
    assert_eq!(second.other_output, "");
    assert!(!frames(&file).unwrap().is_empty());
}

#[test]
fn another_file_is_followed_while_it_records() {
    let Some(folder) = Folder::for_test("another configuration of a recording") else { return };
    let [first, second] = ["first", "second"]
        .map(|name| Target::start(&folder.copy_of(Program::Lifecycle, name).unwrap()).unwrap());
    let say = |name: &str| {
        let path = text(folder.path());
        let rule =
            format!("rules:\n- {{match: {{exe: {path}/{name}}}, action: watch, service_name: {name}}}\n");
        folder.say("config.yaml", &rule).unwrap()
    };
    let (file, config) = (folder.path().join("recording"), say("first"));
    let agent = recorder(&file, &["--config", text(&config)], &[]);
    agent.watches(first.pid()).unwrap();
    assert_eq!(first.get("/one").unwrap(), 200);
    agent.counts_to("ended", 1).unwrap();

    folder.say("config.yaml", "rules: 7\n").unwrap();
    agent.says("the configuration cannot be followed").unwrap();
    assert_eq!(first.get("/two").unwrap(), 200);
    agent.counts_to("ended", 2).unwrap();

    say("second");
    agent.watches(second.pid()).unwrap();
    agent.says("following the configuration anew  path=").unwrap();
    assert_eq!((first.get("/unseen").unwrap(), second.get("/three").unwrap()), (200, 200));
    agent.counts_to("ended", 3).unwrap();
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.count("spans_open_at_end"), 0);
    let spans = replayed(&file).0;
    let spans: Vec<_> = spans.iter().map(|span| (span.path(), span.service())).collect();
    assert_eq!(spans, [("/one", "first"), ("/two", "first"), ("/three", "second")], "{}", outcome.messages);
}

#[test]
fn a_recording_that_is_killed_holds_what_came_before() {
    let Some(folder) = Folder::for_test("killing a recording") else { return };
    let target = Target::start(&folder.server().unwrap()).unwrap();
    let file = folder.path().join("recording");
    let agent = recorder(&file, &["--pid", &target.pid().to_string()], &[]);
    agent.watches(target.pid()).unwrap();
    for path in ["/one", "/two", "/three"] {
        assert_eq!(target.get(path).unwrap(), 200);
    }
    let cut = || replay(&file, &["--to", "otlp-json"]).unwrap();
    let spans = |stdout: Vec<u8>| String::from_utf8(stdout).unwrap().lines().count();
    // What is written is handed on once a second while records come.
    wait_for("the records", || {
        target.get("/more").unwrap();
        (spans(cut().stdout) >= 3).then_some(())
    })
    .unwrap();
    agent.signal(Signal::KILL);
    agent.wait().unwrap();
    let output = cut();
    let messages = String::from_utf8(output.stderr).unwrap();
    assert_eq!((spans(output.stdout) >= 3, output.status.code()), (true, Some(1)), "{messages}");
    // Within a frame or between two: as the last write was.
    let ends = ["the file ends within frame ", "the file ends within the recording, after frame "];
    let told = messages.lines().last().unwrap();
    assert!(ends.iter().any(|end| told.contains(end)), "{messages}");
}

#[test]
fn a_recording_that_has_its_size_ends_and_what_is_left_out_is_counted() {
    let Some(folder) = Folder::for_test("the size of a recording") else { return };
    let target = Target::start(&folder.server().unwrap()).unwrap();
    let file = folder.path().join("recording");
    let agent = recorder(&file, &["--limit", "1", "--pid", &target.pid().to_string()], &[]);
    agent.watches(target.pid()).unwrap();
    let mut client = Client::tcp(target.address().unwrap());
    let long = format!("/{}", "x".repeat(900));
    // A request takes less than 2 KiB, and so do many.
    for _ in 0..3_000 {
        assert_eq!(client.status(&long, "").unwrap(), 200);
    }
    let outcome = agent.wait().unwrap();
    assert!(outcome.status.success(), "{}", outcome.messages);
    assert!(outcome.messages.contains("the recording has its size"), "{}", outcome.messages);
    assert!(fs::metadata(&file).unwrap().len() < (1 << 20) + 4_096);
    let (spans, counts) = replayed(&file);
    let count = |name: &str| counts.get(name).copied().unwrap_or(0);
    assert!(count("records_left_out") > 0, "{counts:?}");
    assert_eq!(count("ended"), spans.len() as u64 + count("records_left_out"), "{counts:?}");
}

#[test]
fn a_recording_whose_disk_is_full_says_so_and_holds_what_came_before() {
    let Some(folder) = Folder::for_test("a recording on a full disk") else { return };
    let target = Target::start(&folder.server().unwrap()).unwrap();
    let file = folder.path().join("disk/recording");
    fs::create_dir(folder.path().join("disk")).unwrap();
    // Nobody else sees that disk.
    let mut command = Command::new("unshare");
    let script = r#"mount -t tmpfs -o size=64k none "$0" && exec "$@""#;
    command.args(["--mount", "sh", "-c", script, text(file.parent().unwrap())]).arg(lightfoot());
    command.args(["record", text(&file), "--pid", &target.pid().to_string()]);
    let agent = Agent::spawn(command, &[]).unwrap();
    agent.watches(target.pid()).unwrap();
    let recording = File::open(format!("/proc/{}/root{}", agent.pid(), text(&file))).unwrap();
    let mut client = Client::tcp(target.address().unwrap());
    for number in 0..1_000 {
        assert_eq!(client.status(&format!("/{number}"), "").unwrap(), 200);
    }
    let outcome = agent.wait().unwrap();
    assert_eq!(outcome.status.code(), Some(1), "{}", outcome.messages);
    let told = format!("lightfoot: cannot write {}: No space left on device", file.display());
    assert_eq!(outcome.messages.matches(&told).count(), 1, "{}", outcome.messages);
    // The program has not noticed.
    assert_eq!(client.status("/after", "").unwrap(), 200);
    let written = format!("/proc/{}/fd/{}", process::id(), recording.as_raw_fd());
    let copy = folder.copy(Path::new(&written), "copy").unwrap();
    let output = replay(&copy, &["--to", "otlp-json"]).unwrap();
    let messages = String::from_utf8(output.stderr).unwrap();
    assert!(messages.contains(": the file ends within "), "{messages}");
    let spans: Vec<_> =
        str::from_utf8(&output.stdout).unwrap().lines().map(|line| Span::parse(line).unwrap()).collect();
    // A record of these takes less than 256 bytes.
    assert!(spans.len() > 64 * 1024 / 256, "{}", spans.len());
    assert!(spans.iter().enumerate().all(|(number, span)| span.path() == format!("/{number}")));
    // One may stand there in part.
    let [ended, left_out] = ["ended", "records_left_out"].map(|name| outcome.count(name));
    assert_eq!(ended, spans.len() as u64 + left_out);
}
