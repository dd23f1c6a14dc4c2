use std::io;
use std::sync::mpsc;
use std::thread;

use proptest::prelude::*;
use tracing::{debug, error, info, trace, warn};

use super::queue::MAX_WAITING;
use super::testing::Heard;
use super::*;

/// An event of each level.
fn say_all() {
    error!(lost = 3, "an error");
    warn!("a warning");
    info!(service = "shop", pid = 7, "watching");
    debug!("a detail");
    trace!("an event");
}

#[test]
fn each_level_brings_its_own_and_those_above() {
    let lines = [
        "error: an error  lost=3\n",
        "warn: a warning\n",
        "watching  service=shop pid=7\n",
        "debug: a detail\n",
        "trace: an event\n",
    ];
    let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
    for (count, level) in (1..).zip(levels) {
        let heard = Heard::at(level, Format::Text);
        say_all();
        assert_eq!(heard.text(), lines[..count].concat(), "{level:?}");
    }
}

#[test]
fn libraries_are_not_heard() {
    let heard = Heard::at(Level::Trace, Format::Text);
    error!(target: "h2::codec", "received frame");
    assert_eq!(heard.text(), "");
}

#[test]
fn a_line_of_json_has_time_level_target_message_and_fields() {
    let heard = Heard::at(Level::Trace, Format::Json);
    warn!(path = "/srv/a b", pid = 7, share = 0.5, is_new = true, left = -1, why = %"none", "not watching");
    let text = heard.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    let mut line: Value = serde_json::from_str(&text).unwrap();
    let time = line["time"].take();
    humantime::parse_rfc3339(time.as_str().unwrap()).unwrap();
    let expected = serde_json::json!({
        "time": null,
        "level": "WARN",
        "target": "lightfoot::logs::tests",
        "message": "not watching",
        "fields": {"path": "/srv/a b", "pid": 7, "share": 0.5, "is_new": true, "left": -1, "why": "none"},
    });
    assert_eq!(line, expected);
}

#[test]
fn a_value_that_might_be_taken_for_more_is_quoted() {
    let heard = Heard::at(Level::Info, Format::Text);
    for value in ["/srv/shop", "", "a b", "a=b", "a\"b", "a\\b", "größe"] {
        info!(value, after = 1, "said");
    }
    let expected = ["/srv/shop", "\"\"", "\"a b\"", "\"a=b\"", r#""a\"b""#, r#""a\\b""#, "größe"];
    let lines = heard.text();
    assert_eq!(lines.lines().count(), expected.len(), "{lines}");
    for (line, value) in lines.lines().zip(expected) {
        assert_eq!(line, format!("said  value={value} after=1"));
    }
}

#[test]
fn hostile_values_steer_no_terminal_and_forge_no_line() {
    let hostile = "a\u{1b}[2J\u{9b}1m\u{202e}\r\nerror: forged  pid=1";
    for format in [Format::Text, Format::Json] {
        let heard = Heard::at(Level::Info, format);
        info!(path = hostile, why = %hostile, "watching");
        let text = heard.text();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
    }
    let heard = Heard::at(Level::Info, Format::Text);
    info!(path = hostile, "watching");
    let expected = r#"watching  path="a\u{1b}[2J\u{9b}1m\u{202e}\u{d}\u{a}error: forged  pid=1""#;
    assert_eq!(heard.text(), format!("{expected}\n"));
}

#[test]
fn long_values_are_cut() {
    let heard = Heard::at(Level::Info, Format::Text);
    info!(path = "ä".repeat(10_000), "watching");
    assert_eq!(heard.text(), format!("watching  path={}…\n", "ä".repeat(line::MAX_VALUE)));
}

proptest! {
    #[test]
    fn any_value_stays_within_its_line_and_comes_back_from_json(value in any::<String>()) {
        let heard = Heard::at(Level::Info, Format::Json);
        info!(value = value.as_str(), "said");
        let line: Value = serde_json::from_str(&heard.text()).unwrap();
        prop_assert_eq!(line["fields"]["value"].as_str().unwrap(), value.as_str());
        let heard = Heard::at(Level::Info, Format::Text);
        info!(value = value.as_str(), "said");
        let text = heard.text();
        prop_assert_eq!(text.find(char::is_control), Some(text.len() - 1));
    }
}

#[test]
fn the_variable_is_read_and_what_it_cannot_mean_is_refused_by_its_name() {
    let read = |value: &'static str| {
        let mut variables = Variables::new(|name| (name == NAME).then(|| value.into()));
        let level = level(&mut variables);
        variables.finish(level)
    };
    assert_eq!(read("").unwrap(), None);
    assert_eq!(read("Debug").unwrap(), Some(Level::Debug));
    let refused = read("loud").unwrap_err().0;
    assert_eq!(refused[0].setting, "OTEL_LOG_LEVEL");
    assert!(refused[0].reason.contains("\"loud\" is none of error, warn"), "{refused:?}");
}

/// Writes as long as it is let.
struct Gate {
    lets: mpsc::Receiver<()>,
    written: mpsc::Sender<usize>,
}

impl io::Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lets.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
        self.written.send(bytes.len()).unwrap();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_that_nobody_reads_are_dropped_at_the_limit_and_counted() {
    let queue: &Queue = Box::leak(Box::new(Queue::new()));
    let (lets, written) = (mpsc::channel(), mpsc::channel());
    queue.start(Gate { lets: lets.1, written: written.0 }).unwrap();
    let line = format!("{}\n", "x".repeat(1_023));
    for _ in 0..MAX_WAITING / line.len() {
        queue.push(line.clone());
    }
    assert_eq!(queue.dropped(), 0);
    queue.push("one\ntwo\n".to_owned());
    assert_eq!(queue.dropped(), 2);
    queue.finish(Duration::from_millis(10));
    // One is read, and there is room for one.
    lets.0.send(()).unwrap();
    assert_eq!(written.1.recv().unwrap(), line.len());
    let is_taken = || {
        let before = queue.dropped();
        queue.push(line.clone());
        queue.dropped() == before
    };
    // The thread makes room after it has written.
    while !is_taken() {
        thread::yield_now();
    }
    assert!((0..100).all(|_| !is_taken()));
    for _ in 0..MAX_WAITING / line.len() {
        lets.0.send(()).unwrap();
    }
    queue.finish(Duration::from_secs(30));
    assert_eq!(written.1.try_iter().count(), MAX_WAITING / line.len());
    // Who has gone cannot be told.
    let before = queue.dropped();
    drop(lets.0);
    queue.push(line);
    queue.finish(Duration::from_secs(30));
    assert_eq!(queue.dropped(), before + 1);
}
