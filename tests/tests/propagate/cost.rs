//! What a request costs in traps, by the kernel's own statistics.

use std::thread;
use std::time::Duration;

use lightfoot::watch::CALLERS_SETTLE;
use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::{Driven, Watched};

use super::grpc::served;
use super::http2::{CLIENTS, Served};
use super::refusal::is_refused;
use super::runs::runs_of;
use super::wire::Wire;

const REQUESTS: u64 = 100;

#[test]
fn a_request_takes_one_trap_more() {
    let wire = Wire::start();
    let address = wire.address;
    for (arguments, traps) in [(&["--propagate"][..], 3), (&[], 2)] {
        let watched =
            Watched::start_with(Program::Propagation, 26, Mode::Plain, arguments, |_| Ok(())).unwrap();
        let Some(mut watched) = watched else { return };
        let load = |count| format!("load {count} 1 http://{address}");
        watched.program.ask(&load(10)).unwrap();
        thread::sleep(CALLERS_SETTLE.saturating_add(Duration::from_secs(2)));
        let Watched { program, agent, .. } = &mut watched;
        let runs = runs_of(agent, || {
            program.ask(&load(REQUESTS)).unwrap();
        });
        let (_, outcome) = watched.end().unwrap();
        if is_refused(&outcome) {
            println!("skipped: this kernel lets no program write");
            return;
        }
        assert_eq!(runs, traps * REQUESTS, "{arguments:?} {}", outcome.messages);
    }
}

#[test]
fn a_request_over_http2_takes_one_trap_more_and_two_with_trailers() {
    // Another file than the client's, which is passed by nobody else then.
    let served = Served::start(21, Mode::Plain);
    // How many requests the case has, and what each takes.
    let cases = [("kept", 3, 3), ("trailers", 1, 4)];
    for client in CLIENTS {
        for (arguments, is_more) in [(&["--propagate"][..], true), (&[], false)] {
            let watched =
                Watched::start_with(Program::PropagationHttp2, 26, Mode::Plain, arguments, |_| Ok(()));
            let Some(mut watched) = watched.unwrap() else { return };
            let run = |case| format!("run {case} {client} {}", served.address(client, false));
            for (case, ..) in cases {
                watched.program.ask(&run(case)).unwrap();
            }
            thread::sleep(CALLERS_SETTLE.saturating_add(Duration::from_secs(2)));
            let Watched { program, agent, .. } = &mut watched;
            let counted = cases.map(|(case, requests, _)| {
                runs_of(agent, || {
                    for _ in 0..REQUESTS / requests {
                        program.ask(&run(case)).unwrap();
                    }
                })
            });
            let (_, outcome) = watched.end().unwrap();
            if is_refused(&outcome) {
                println!("skipped: this kernel lets no program write");
                return;
            }
            let expected = cases
                .map(|(_, requests, traps)| REQUESTS / requests * requests * if is_more { traps } else { 2 });
            assert_eq!(counted, expected, "{client} {arguments:?} {}", outcome.messages);
        }
    }
}

#[test]
fn a_call_takes_two_traps_more() {
    // Another file than the client's, which is passed by nobody else then.
    let (_server, address) = served(21, Mode::Plain);
    for (arguments, traps) in [(&["--propagate"][..], 4), (&[], 2)] {
        let watched =
            Watched::start_with(Program::PropagationGrpc, 26, Mode::Plain, arguments, |_| Ok(())).unwrap();
        let Some(mut watched) = watched else { return };
        let four = format!("run kept {address}");
        watched.program.ask(&four).unwrap();
        thread::sleep(CALLERS_SETTLE.saturating_add(Duration::from_secs(2)));
        let Watched { program, agent, .. } = &mut watched;
        let runs = runs_of(agent, || {
            for _ in 0..REQUESTS / 4 {
                program.ask(&four).unwrap();
            }
        });
        let (_, outcome) = watched.end().unwrap();
        if is_refused(&outcome) {
            println!("skipped: this kernel lets no program write");
            return;
        }
        assert_eq!(runs, traps * REQUESTS, "{arguments:?} {}", outcome.messages);
    }
}

#[test]
fn a_served_call_takes_two_traps_more_in_a_program_that_can_call() {
    // Another file than the server's, which is passed by nobody else then.
    let client = Build::here(Program::PropagationGrpc, GoVersion::of_minor(21).unwrap(), Mode::Plain);
    for (arguments, traps) in [(&["--propagate"][..], 4), (&[], 2)] {
        let watched =
            Watched::start_with(Program::PropagationGrpc, 26, Mode::Plain, arguments, |_| Ok(())).unwrap();
        let Some(mut watched) = watched else { return };
        let address = watched.program.ask("serve").unwrap()[0].clone();
        let mut client = Driven::start(&client.path().unwrap()).unwrap();
        client.ask(&format!("load 10 1 {address}")).unwrap();
        let runs = runs_of(&watched.agent, || {
            client.ask(&format!("load {REQUESTS} 1 {address}")).unwrap();
        });
        let (_, outcome) = watched.end().unwrap();
        if is_refused(&outcome) {
            println!("skipped: this kernel lets no program write");
            return;
        }
        assert_eq!(runs, traps * REQUESTS, "{arguments:?} {}", outcome.messages);
    }
}
