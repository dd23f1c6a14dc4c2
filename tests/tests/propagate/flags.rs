//! The flags that are passed on.

use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::watched::NO_CALLER_IS_LATE;
use lightfoot_tests::live::{Agent, Driven, Watched, is_privileged};

use super::grpc::served;
use super::http2::{CLIENTS, Served};
use super::refusal::is_refused;
use super::states::request;
use super::wire::Wire;

#[test]
fn unsampled_requests_carry_the_flag() {
    let wire = Wire::start();
    carry_the_flag(Program::Propagation, &format!("run get {}", wire.address), || {
        let message = String::from_utf8(wire.take().remove(0)).unwrap();
        message.lines().find_map(|line| line.strip_prefix("traceparent: ")).unwrap_or_default().to_owned()
    });
}

#[test]
fn unsampled_requests_over_http2_carry_the_flag() {
    for client in Extent::of_environment().some_of(&CLIENTS) {
        let mut served = Served::start(26, Mode::Plain);
        let command = format!("run get {client} {}", served.address(client, false));
        carry_the_flag(Program::PropagationHttp2, &command, || {
            let line = served.server.ask("seen").unwrap().remove(0);
            line.split(' ').find_map(|word| word.strip_prefix("traceparent=")).unwrap_or_default().to_owned()
        });
    }
}

#[test]
fn unsampled_calls_carry_the_flag() {
    let (mut server, address) = served(26, Mode::Plain);
    // The first call of a connection may have none.
    carry_the_flag(Program::PropagationGrpc, &format!("run kept {address}"), || {
        let line = server.ask("seen").unwrap().pop().unwrap();
        line.split_once(' ').map(|(_, context)| context.to_owned()).unwrap_or_default()
    });
}

/// `context` is the `traceparent` of the last request that the command has the program send.
fn carry_the_flag(program: Program, command: &str, mut context: impl FnMut() -> String) {
    if !is_privileged("watching") {
        return;
    }
    let build = Build::here(program, GoVersion::of_minor(26).unwrap(), Mode::Plain);
    let mut program = Driven::start(&build.path().unwrap()).unwrap();
    for (sampler, flags) in [("always_off", "00"), ("always_on", "01")] {
        let pid = program.pid().to_string();
        let agent =
            Agent::start(["--pid", &pid, "--propagate"], &[("OTEL_TRACES_SAMPLER", sampler)]).unwrap();
        agent.watches(program.pid()).unwrap();
        program.ask(command).unwrap();
        let context = context();
        let outcome = agent.stop().unwrap();
        if is_refused(&outcome) {
            println!("skipped: this kernel lets no program write");
            return;
        }
        let parts: Vec<_> = context.split('-').collect();
        let [version, trace, span, sent]: [&str; 4] = parts.try_into().unwrap();
        assert_eq!((version, trace.len(), span.len(), sent), ("00", 32, 16, flags), "{build}: {context}");
        assert!(trace.bytes().chain(span.bytes()).any(|digit| digit != b'0'), "{context}");
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
