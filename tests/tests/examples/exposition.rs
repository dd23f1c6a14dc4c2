//! What a running agent tells, as Prometheus itself reads and judges it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::Command;

use lightfoot_tests::live::{Agent, Client, Folder, Target, text, wait_for};

use crate::alerts::{PROMTOOL, succeeds};

/// A name of a service that is hard to write.
const SERVICE: &str = "shop \"1\" \\ \u{e4}";

/// As `promtool check metrics` takes it, which knows the older form alone: there the name of a counter has its ending everywhere.
fn older(text: &str) -> String {
    let counters: BTreeSet<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let line = |line: &str| match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
        ["#", what, name, rest] if counters.contains(name) => format!("# {what} {name}_total {rest}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn prometheus_reads_what_an_agent_tells_and_has_nothing_to_complain_about() {
    let Some(folder) = Folder::for_test("metrics that Prometheus reads") else { return };
    let path = folder.server().unwrap();
    let target = Target::spawn(Command::new(&path).env("OTEL_SERVICE_NAME", SERVICE)).unwrap();
    let socket = folder.path().join("socket");
    let words = ["--exe", text(&path), "--status-socket", text(&socket)];
    // Only of an endpoint there is something to say.
    let endpoint = ["--endpoint", "http://127.0.0.1:9", "--flush-timeout", "0"];
    let agent = Agent::start(words.into_iter().chain(endpoint), &[]).unwrap();
    agent.watches(target.pid()).unwrap();
    assert_eq!(target.get("/told").unwrap(), 200);
    let told = wait_for("metrics", || {
        let response = Client::unix(socket.clone()).get("/metrics", "").ok()??;
        let text = String::from_utf8(response.body).ok()?;
        (text.contains("lightfoot_queue_spans 1") && text.contains("lightfoot_endpoint_up 0")).then_some(text)
    });
    let told = told.unwrap();
    agent.stop().unwrap();

    // It keeps nothing that has no time; what it reads is the form of OpenMetrics.
    let is_value = |line: &&str| !line.starts_with('#');
    let with_time = |line| if is_value(&line) { format!("{line} 1700000000\n") } else { format!("{line}\n") };
    fs::write(folder.path().join("told"), told.lines().map(with_time).collect::<String>()).unwrap();
    succeeds(folder.path(), &["tsdb", "create-blocks-from", "openmetrics", "told", "kept"]);
    // Without it, it does not look at the rest.
    fs::create_dir(folder.path().join("kept/wal")).unwrap();
    let kept = succeeds(folder.path(), &["tsdb", "dump", "kept"]);
    assert_eq!(kept.lines().count(), told.lines().filter(is_value).count(), "{told}");
    let service = format!("service_name={SERVICE:?}");
    assert!(
        kept.lines().any(|line| line.contains("lightfoot_service_spans_total") && line.contains(&service)),
        "{kept}"
    );

    fs::write(folder.path().join("older"), older(&told)).unwrap();
    let older = File::open(folder.path().join("older")).unwrap();
    let judged = Command::new(&*PROMTOOL).args(["check", "metrics"]).stdin(older).output().unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
}
