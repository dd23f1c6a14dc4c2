//! A configuration file: understood, or refused with lines that it has, without panic, hang or memory without bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lightfoot::config::Config;

fuzz_target!(|file: &[u8]| {
    let lines = file.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() as u64 + 1;
    match Config::parse(file) {
        Ok(config) => drop(config.in_place_of_variables()),
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            assert!(mistakes.iter().all(|mistake| (1..=lines + 1).contains(&mistake.line)));
        }
    }
});
