//! `lightfoot status --watch`.

use std::path::Path;
use std::process::{Command, Stdio};

use lightfoot::status::Status;
use lightfoot_tests::live::process::{Lines, Process};
use lightfoot_tests::live::{Folder, Target, lightfoot, text, wait_for};

use crate::start;

fn watching(socket: &Path, words: &[&str]) -> (Process, Lines) {
    let mut command = Command::new(lightfoot());
    command.args(["status", "--watch", "--socket", text(socket)]).args(words).stdout(Stdio::piped());
    let mut process = Process::spawn(&mut command).unwrap();
    let lines = process.output(|line| line);
    (process, lines)
}

#[test]
fn it_looks_anew_until_the_agent_ends() {
    let Some(folder) = Folder::for_test("status that is watched") else { return };
    let path = folder.server().unwrap();
    let target = Target::start(&path).unwrap();
    let (agent, socket) = start(&folder.path().join("state"), &["--exe", text(&path)]);
    agent.watches(target.pid()).unwrap();
    let (mut pages, lines) = watching(&socket, &[]);
    let (mut objects, json) = watching(&socket, &["--json"]);
    let say = |count: u32| {
        let [page, object] = [format!(" {count} spans, "), format!("\"spans\":{count}}}")];
        let said = || lines.text().contains(&page) && json.text().contains(&object);
        wait_for(&page, || said().then_some(())).unwrap();
    };
    say(0);
    assert_eq!(target.get("/once").unwrap(), 200);
    say(1);
    agent.stop().unwrap();
    assert_eq!(pages.wait().unwrap().code(), Some(1));
    assert_eq!(objects.wait().unwrap().code(), Some(1));
    // It is no terminal that is cleared.
    let heads = lines.text().matches("lightfoot 0.").count();
    assert!(heads >= 2 && !lines.text().contains('\x1b'), "{}", lines.text());
    let told: Vec<Status> = json.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(told.len() >= 2 && told.is_sorted_by_key(|status| status.uptime_seconds), "{told:?}");
    let spans: Vec<_> =
        told.iter().filter_map(|status| status.processes.first()).map(|one| one.spans).collect();
    assert!(spans.is_sorted() && spans.first() == Some(&0) && spans.last() == Some(&1), "{spans:?}");
}
