//! The off switch, on servers under load.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lightfoot_tests::go::Program;
use lightfoot_tests::live::code::{BREAKPOINT, code_at, probes};
use lightfoot_tests::live::{Agent, Client, Folder, Target, text, wait_within, watching};
use rustix::process::Signal;

/// Within which nothing is left, by `uprobe_multi`: a second, with patience for a busy machine.
const DETACHED: Duration = Duration::from_secs(5);

#[test]
fn what_is_paused_has_no_probe_and_goes_on_afterwards() {
    let Some(folder) = Folder::for_test("pauses") else { return };
    let start = |name| Target::start(&folder.copy_of(Program::Lifecycle, name).unwrap()).unwrap();
    let (shop, other) = (start("shop"), start("other"));
    let offsets = probes(&folder.path().join("shop")).unwrap();
    let breakpoints = |target: &Target| {
        let code = code_at(target.pid(), &offsets).unwrap();
        code.into_iter().filter(|byte| *byte == BREAKPOINT).count()
    };
    let addresses = [&shop, &other].map(|target| target.address().unwrap());
    let file = folder.path().join("pause");
    let pattern = format!("{}/*", text(folder.path()));
    let agent = Agent::start(
        ["--exe", &pattern, "--attach-method", "uprobe-multi", "--pause-file", text(&file)],
        &[],
    )
    .unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut clients = addresses.map(Client::tcp);
            let mut sent = 0;
            while !is_over.load(Ordering::Relaxed) {
                for client in &mut clients {
                    assert_eq!(client.status("/load", "").unwrap(), 200);
                    sent += 1;
                }
                // Others of this machine are to get their turn.
                thread::sleep(Duration::from_millis(1));
            }
            sent
        });
        for target in [&shop, &other] {
            agent.watches(target.pid()).unwrap();
            assert_eq!(breakpoints(target), offsets.len());
        }
        // Whether each has all of its probes, or none.
        let becomes = |expected: [bool; 2]| {
            let asked = Instant::now();
            wait_within(DETACHED, "probes to come or go", || {
                let placed = [&shop, &other].map(breakpoints);
                (placed == expected.map(|is_placed| if is_placed { offsets.len() } else { 0 })).then_some(())
            })
            .unwrap();
            println!("{expected:?} after {:?}", asked.elapsed());
        };
        let serves = |path: &str, expected: [bool; 2]| {
            for (target, is_watched) in [&shop, &other].into_iter().zip(expected) {
                let path = format!("{path}/{}", target.pid());
                assert_eq!(target.get(&path).unwrap(), 200);
                if is_watched {
                    agent.span(&path).unwrap();
                }
            }
        };

        agent.signal(Signal::TSTP);
        becomes([false, false]);
        serves("/signal", [false, false]);
        // So long that a second of it is counted, and that a sweep would have brought probes back.
        thread::sleep(Duration::from_millis(1500));
        becomes([false, false]);
        agent.signal(Signal::CONT);
        becomes([true, true]);
        agent.says_times(&watching(shop.pid()), 2).unwrap();
        agent.says_times(&watching(other.pid()), 2).unwrap();
        agent.counts().unwrap();
        serves("/on", [true, true]);

        // At once, for an empty one pauses all.
        folder.say("pause", "shop\n").unwrap();
        becomes([false, true]);
        serves("/some", [false, true]);
        fs::write(&file, "").unwrap();
        becomes([false, false]);
        serves("/file", [false, false]);
        fs::remove_file(&file).unwrap();
        becomes([true, true]);
        agent.says_times(&watching(shop.pid()), 3).unwrap();
        agent.says_times(&watching(other.pid()), 3).unwrap();
        agent.counts().unwrap();
        serves("/again", [true, true]);
        is_over.store(true, Ordering::Relaxed);
        println!("{} requests, none failed", load.join().unwrap());
    });
    let outcome = agent.stop().unwrap();
    let mut seen = outcome.paths();
    seen.retain(|path| *path != "/load");
    let of = |path: &str, target: &Target| format!("{path}/{}", target.pid());
    let mut expected = vec![of("/some", &other)];
    expected.extend([&shop, &other].into_iter().flat_map(|target| [of("/on", target), of("/again", target)]));
    expected.sort();
    assert_eq!(seen, expected);
    assert!(outcome.count("paused_seconds") >= 1, "{}", outcome.messages);
    for said in ["watching is paused  by=SIGTSTP", "paused for some programs  patterns=1", "watching goes on"]
    {
        assert!(outcome.messages.contains(said), "{said}: {}", outcome.messages);
    }
}

/// An agent that is started while the file is there.
#[test]
fn who_starts_paused_places_nothing() {
    let Some(folder) = Folder::for_test("a start while paused") else { return };
    let path = folder.server().unwrap();
    let target = Target::start(&path).unwrap();
    target.address().unwrap();
    let file = folder.path().join("pause");
    fs::write(&file, "").unwrap();
    let agent = Agent::start(["--exe", text(&path), "--pause-file", text(&file)], &[]).unwrap();
    agent.says("watching is paused").unwrap();
    let offsets = probes(&path).unwrap();
    assert!(!code_at(target.pid(), &offsets).unwrap().contains(&BREAKPOINT));
    fs::remove_file(&file).unwrap();
    agent.watches(target.pid()).unwrap();
    assert_eq!(target.get("/on").unwrap(), 200);
    agent.span("/on").unwrap();
    agent.stop().unwrap();
}
