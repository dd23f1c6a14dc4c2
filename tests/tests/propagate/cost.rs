//! What a request costs in traps, by the kernel's own statistics.

use std::thread;
use std::time::Duration;

use lightfoot::watch::CALLERS_SETTLE;
use lightfoot_tests::go::{Mode, Program};
use lightfoot_tests::live::Watched;

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
fn a_request_over_http2_takes_one_trap_more() {
    // Another file than the client's, which is passed by nobody else then.
    let served = Served::start(21, Mode::Plain);
    for client in CLIENTS {
        let three = format!("run kept {client} {}", served.address(client, false));
        for (arguments, traps) in [(&["--propagate"][..], 3), (&[], 2)] {
            let watched =
                Watched::start_with(Program::PropagationHttp2, 26, Mode::Plain, arguments, |_| Ok(()));
            let Some(mut watched) = watched.unwrap() else { return };
            watched.program.ask(&three).unwrap();
            thread::sleep(CALLERS_SETTLE.saturating_add(Duration::from_secs(2)));
            let Watched { program, agent, .. } = &mut watched;
            let runs = runs_of(agent, || {
                for _ in 0..REQUESTS / 3 {
                    program.ask(&three).unwrap();
                }
            });
            let (_, outcome) = watched.end().unwrap();
            if is_refused(&outcome) {
                println!("skipped: this kernel lets no program write");
                return;
            }
            assert_eq!(runs, traps * (REQUESTS / 3 * 3), "{client} {arguments:?} {}", outcome.messages);
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
