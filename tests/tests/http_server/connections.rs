//! Many open connections, of which few are busy.

use lightfoot_tests::go::Mode;
use lightfoot_tests::live::Scene;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const CONNECTIONS: usize = 10_000;

/// So many spans are read before more requests are sent: this test reads slower than the server answers.
const READ_AT_ONCE: usize = 1_000;

/// What is not a connection among the files of this process, with room to spare.
const OTHER_FILES: u64 = 200;

/// The connections' goroutines stay the same, so whatever was kept of one request is found by the next one's.
#[test]
fn ten_thousand_connections_are_kept_open() {
    let Some(scene) = Scene::set(26, Mode::Plain).unwrap() else { return };
    let limit = CONNECTIONS as u64 + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = |value: Option<u64>| value.map(|value| value.max(limit));
    setrlimit(Resource::Nofile, Rlimit { current: raised(current), maximum: raised(maximum) }).unwrap();
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| scene.client()).collect();
    for round in 0..2 {
        for (index, client) in clients.iter_mut().enumerate() {
            let number = round * CONNECTIONS + index + 1;
            assert_eq!(client.status(&format!("/plain/{number}"), "").unwrap(), 200);
            if number.is_multiple_of(READ_AT_ONCE) {
                scene.agent.wait_for_spans(number, |_| true).unwrap();
            }
        }
    }
    assert_eq!(clients.iter().map(|client| client.connections).max(), Some(1), "the server has closed some");
    drop(clients);
    let (truth, outcome) = scene.end().unwrap();
    assert_eq!((truth.len(), outcome.spans.len()), (2 * CONNECTIONS, 2 * CONNECTIONS));
    let mut paths: Vec<_> = outcome.spans.iter().map(|span| span.text("url.path")).collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), 2 * CONNECTIONS, "each request has its span");
    assert_eq!(outcome.oddities(), [], "{}", outcome.messages);
}
