//! Configuration of other agents: whatever it says, there is a file of ours or one line of what is wrong, and no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lightfoot::config::import;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match import::read(text) {
        Ok(imported) => {
            let made = imported.text();
            // All that was not carried over stands in comments of a line each.
            let comments = made.lines().filter(|line| line.starts_with("# line ")).count();
            assert_eq!(comments, imported.left.len());
        }
        Err(mistake) => assert!(mistake.line > 0),
    }
});
