//! What is said of each operation of a program that is watched, and of what is lost of it.

use std::collections::BTreeMap;
use std::path::Path;

use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Client, Folder, Target, text, wait_for};

use crate::{command, get, printed, start, status, until};

/// The state of each operation of a process, and why it is not watched.
fn states(socket: &Path, pid: u32) -> BTreeMap<String, (String, Vec<String>)> {
    let process = until(socket, pid, "operations", |one| !one.operations.is_empty());
    process.operations.into_iter().map(|one| (one.title, (one.state, one.reasons))).collect()
}

#[test]
fn each_operation_has_its_state_and_the_reason() {
    let Some(folder) = Folder::for_test("operations and their states") else { return };
    let [half, plain] = [(Program::HalfTraced, "half"), (Program::Lifecycle, "plain")]
        .map(|(program, name)| Target::start(&folder.copy_of(program, name).unwrap()).unwrap());
    let pids = [&half, &plain].map(|target| target.pid().to_string());
    let words = ["--pid", &pids[0], "--pid", &pids[1], "--sdk", "fill-gaps"];
    let state = folder.path().join("state");
    let off = "it was not asked for (--count-messages)";
    let not_joined = "it was not asked for (--join)";
    let (left, missing) = ("left to otelhttp v0.72.0", "not linked into this program");
    for is_counted in [false, true] {
        let more: &[_] = if is_counted { &["--count-messages"] } else { &[] };
        let (agent, socket) = start(&state, &[&words[..], more].concat());
        for target in [&half, &plain] {
            agent.watches(target.pid()).unwrap();
        }
        let [of_half, of_plain] = [&half, &plain].map(|target| states(&socket, target.pid()));
        let page = printed(&command(&["--socket", text(&socket)]));
        let messages = if is_counted { ("watched", "") } else { ("off", off) };
        for (of, title, (state, reason), line) in [
            (&of_half, "HTTP/1 server request", ("left", left), format!("– HTTP/1 server request: {left}")),
            (&of_half, "HTTP/2 server request", ("left", left), format!("– HTTP/2 server request: {left}")),
            (&of_half, "HTTP client request", ("watched", ""), "✓ HTTP client request, traps: 2".to_owned()),
            (
                &of_half,
                "gRPC client connection",
                ("off", not_joined),
                format!("– gRPC client connection: off, for {not_joined}"),
            ),
            (
                &of_half,
                "messages of gRPC client streams",
                messages,
                "messages of gRPC client streams".to_owned(),
            ),
            (
                &of_plain,
                "HTTP/1 server request",
                ("watched", ""),
                "✓ HTTP/1 server request, traps: 2".to_owned(),
            ),
            (
                &of_plain,
                "HTTP client request",
                ("cannot", missing),
                format!("HTTP client request: {missing}"),
            ),
        ] {
            let reasons: Vec<_> =
                Some(reason).filter(|reason| !reason.is_empty()).into_iter().map(str::to_owned).collect();
            assert_eq!(of[title], (state.to_owned(), reasons), "{title}: {of:?}");
            assert!(page.contains(&line), "{line:?} is not in\n{page}");
        }
        // Nothing comes but by what is watched.
        assert_eq!(half.get("/orders/left").unwrap(), 200);
        until(&socket, half.pid(), "calls", |one| one.spans > 0);
        agent.stop().unwrap();
    }
}

#[test]
fn that_rules_leave_out_all_spans_is_told() {
    let Some(folder) = Folder::for_test("spans that rules leave out") else { return };
    let path = folder.server().unwrap();
    let target = Target::start(&path).unwrap();
    let file = folder.say("config.yaml", "rules:\n- leave_out_paths: [/health*]\n").unwrap();
    let words = ["--exe", text(&path), "--config", text(&file)];
    let (agent, socket) = start(&folder.path().join("state"), &words);
    agent.watches(target.pid()).unwrap();
    let because = || status(&socket).delivery.because;
    assert_eq!(because().as_deref(), Some("no span has come yet; of each process it is said why"));
    assert_eq!(target.get("/healthz").unwrap(), 200);
    // The process has no reason to say then.
    until(&socket, target.pid(), "a span", |one| one.spans == 1 && one.because.is_none());
    let left_out = "rules leave out all 1 that came";
    wait_for(left_out, || (because().as_deref() == Some(left_out)).then_some(())).unwrap();
    let page = printed(&command(&["--socket", text(&socket)]));
    assert!(page.contains(&format!("spans are printed: 0 so far, because {left_out}\n")), "{page}");
    assert_eq!(target.get("/seen").unwrap(), 200);
    wait_for("a span that is printed", || because().is_none().then_some(())).unwrap();
    let outcome = agent.stop().unwrap();
    assert_eq!((outcome.count("spans_left_out"), outcome.paths()), (1, vec!["/seen"]));
}

#[test]
fn what_is_lost_of_a_process_is_told_by_cause() {
    const CROWD: u64 = 60;
    let Some(folder) = Folder::for_test("what is lost of a process") else { return };
    let [path, other] = ["server", "other"].map(|name| folder.copy_of(Program::Lifecycle, name).unwrap());
    let [target, idle] = [&path, &other].map(|path| Target::start(path).unwrap());
    let words = ["--exe", text(&path), "--exe", text(&other), "--max-open-spans", "16"];
    let (agent, socket) = start(&folder.path().join("state"), &words);
    agent.watches(target.pid()).unwrap();
    agent.watches(idle.pid()).unwrap();
    let mut clients: Vec<_> = (0..CROWD).map(|_| Client::tcp(target.address().unwrap())).collect();
    for client in &mut clients {
        assert_eq!(client.begin("/wait").unwrap(), 200);
    }
    let crowded = until(&socket, target.pid(), "a crowd", |one| one.open + one.lost == CROWD);
    // A table of the kernel takes a few more than it is made for.
    assert!((16..40).contains(&crowded.open) && crowded.lost > 0, "{crowded:?}");
    assert_eq!((crowded.spans, crowded.counts.get("in_flight_full")), (0, Some(&crowded.lost)));
    let [open, lost] = [crowded.open, crowded.lost];
    let because = format!("{open} are open, and {lost} were lost (the counts say why)");
    assert_eq!(crowded.because, Some(because));
    drop(clients);
    let served = until(&socket, target.pid(), "the ends", |one| one.spans == crowded.open);
    assert_eq!((served.lost, served.open, served.because), (crowded.lost, 0, None));
    assert_eq!(until(&socket, idle.pid(), "the other one", |one| one.because.is_some()).lost, 0);
    let page = printed(&command(&["--socket", text(&socket)]));
    let line = format!("    {} spans, {} lost, 0 open", served.spans, served.lost);
    assert!(page.contains(&line), "{line:?} is not in\n{page}");

    let text = String::from_utf8(get(&socket, "/metrics").body).unwrap();
    let by_cause = text
        .lines()
        .filter_map(|line| line.strip_prefix("lightfoot_spans_lost_total{cause=\"")?.split_once("\"} "));
    let lost: BTreeMap<_, _> = by_cause.filter(|(_, count)| *count != "0").collect();
    assert_eq!(lost, [("in_flight_full", served.lost.to_string().as_str())].into());
    wait_for("all ends", || {
        let ended = |one: &lightfoot::status::Process| one.counts.get("end_without_start").copied();
        (ended(&until(&socket, target.pid(), "ends", |_| true)) == Some(served.lost)).then_some(())
    })
    .unwrap();
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.spans.len() as u64 + outcome.count("in_flight_full"), CROWD);
}
