//! How soon a span is seen. Alone in its binary: the machine should do nothing else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lightfoot_tests::live::{Agent, Client, Folder, Target};

/// What is promised, with slack for a machine that does other things.
const PROMISED: Duration = Duration::from_secs(1);
const SLACK: u32 = 5;

#[test]
fn a_span_is_printed_within_a_second_of_its_end_and_the_first_within_a_second_of_the_start() {
    let Some(folder) = Folder::for_test("delivery in time") else { return };
    let path = folder.server().unwrap();
    let target = Target::start(&path).unwrap();
    let address = target.address().unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        // A light load, so that there is always a request that ends.
        let load = scope.spawn(|| {
            let mut client = Client::tcp(address);
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(client.status("/load", "").unwrap(), 200);
                thread::sleep(Duration::from_millis(2));
            }
        });
        for round in 0..3 {
            let agent = Agent::start(["--pid", &target.pid().to_string()], &[]).unwrap();
            let first = agent.find("the first span", |_| true).unwrap();
            let took = first.seen.duration_since(agent.started);
            println!("round {round}: the first span {took:?} after the agent's start");
            assert!(took < PROMISED * SLACK, "{took:?}");
            let mut worst = Duration::ZERO;
            for number in 0..20 {
                let path = format!("/{round}/{number}");
                assert_eq!(target.get(&path).unwrap(), 200);
                let ended = Instant::now();
                worst = worst.max(agent.span(&path).unwrap().seen.saturating_duration_since(ended));
            }
            println!("round {round}: the slowest of 20 spans {worst:?} after its end");
            assert!(worst < PROMISED * SLACK, "{worst:?}");
            agent.stop().unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        load.join().unwrap();
    });
}
