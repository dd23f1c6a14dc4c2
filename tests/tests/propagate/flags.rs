//! The flags that are passed on.

use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::watched::NO_CALLER_IS_LATE;
use lightfoot_tests::live::{Agent, Driven, Watched, is_privileged};

use super::refusal::is_refused;
use super::states::request;
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

/// A trace's id stays what it was, so what was said of it does (Level 2, section 3.2.2.5.2). Others than these two are not defined.
#[test]
fn whether_an_id_is_random_is_passed_on_as_it_came() {
    const FLAGS: [(&str, &str); 6] =
        [("00", "00"), ("01", "01"), ("02", "02"), ("03", "03"), ("fc", "00"), ("ff", "03")];
    let wire = Wire::start();
    let arguments = [&NO_CALLER_IS_LATE[..], &["--propagate"]].concat();
    let watched = Watched::start_with(Program::Propagation, 26, Mode::Plain, &arguments, |_| Ok(()));
    let Some(mut watched) = watched.unwrap() else { return };
    let address = watched.program.ask("serve").unwrap().remove(0);
    let messages = FLAGS.map(|(came, _)| {
        let context = format!("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{came}");
        request(&address, &format!("/plain/{}", wire.address), &[context]);
        String::from_utf8(wire.take().remove(0)).unwrap()
    });
    let (_, outcome) = watched.end().unwrap();
    if is_refused(&outcome) {
        println!("skipped: this kernel lets no program write");
        return;
    }
    for (message, (came, sent)) in messages.iter().zip(FLAGS) {
        let end = format!("-{sent}\r\n\r\n");
        assert!(
            message.contains("\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-"),
            "{came}: {message}"
        );
        assert!(message.ends_with(&end), "{came}: {message}");
    }
}
