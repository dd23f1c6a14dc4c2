//! A whole recording: its facts, its records and their spans, without panic, hang or memory without bound.
#![no_main]

use bumpalo::Bump;
use libfuzzer_sys::fuzz_target;
use lightfoot::clock::{Clock, Reading};
use lightfoot::describe::{Describer, Settings};
use lightfoot::receive;
use lightfoot::recording::{Fact, Frame, Reader};

fuzz_target!(|file: &[u8]| {
    let Ok(reader) = Reader::new(file) else { return };
    let mut settings = Settings::default();
    settings.http.query = true;
    let describer = Describer::new(settings);
    let mut clock = Clock::from_reading(Reading { before: 0, wall: 0, after: 0 });
    let mut bytes = 0;
    for frame in reader {
        match frame {
            Ok(Frame::Record(content)) => {
                bytes += content.len();
                let arena = Bump::new();
                if let Ok(record) = receive::record(&content, &arena) {
                    let span = describer.span(&record, &clock, &arena);
                    assert!(span.end_time >= span.start_time);
                }
            }
            Ok(Frame::Fact(Fact::Clock(reading))) => drop(clock.observe(reading)),
            Ok(Frame::Fact(Fact::Process(process))) => drop(process.identity()),
            Ok(Frame::Fact(_)) | Err(_) => {}
        }
    }
    assert!(bytes <= file.len());
});
