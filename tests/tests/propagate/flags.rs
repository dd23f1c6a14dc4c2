//! What is passed on of a span that is not recorded.

use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::{Agent, Driven, is_privileged};

use super::refusal::is_refused;
use super::wire::Wire;

#[test]
fn unsampled_requests_carry_the_flag() {
    if !is_privileged("watching") {
        return;
    }
    let build = Build::here(Program::Propagation, GoVersion::of_minor(26).unwrap(), Mode::Plain);
    let mut program = Driven::start(&build.path().unwrap()).unwrap();
    let wire = Wire::start();
    for (sampler, flags) in [("always_off", "-00\r\n"), ("always_on", "-01\r\n")] {
        let pid = program.pid().to_string();
        let arguments = ["--pid", &pid, "--propagate"];
        let agent = Agent::start(arguments, &[("OTEL_TRACES_SAMPLER", sampler)]).unwrap();
        agent.watches(program.pid()).unwrap();
        program.ask(&format!("run get {}", wire.address)).unwrap();
        let message = String::from_utf8(wire.take().remove(0)).unwrap();
        let outcome = agent.stop().unwrap();
        if is_refused(&outcome) {
            println!("skipped: this kernel lets no program write");
            return;
        }
        let (_, header) = message.split_once("\r\ntraceparent: 00-").unwrap();
        assert!(header[49..].starts_with(flags), "{message}");
        assert!(
            !header.starts_with(&"0".repeat(32)) && !header[33..].starts_with(&"0".repeat(16)),
            "{message}"
        );
    }
}
