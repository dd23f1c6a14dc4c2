//! The code of a function, of either architecture: decoding and planning without panic, and only boundaries chosen.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lightfoot_symbolizer::decode::{Step, instructions};
use lightfoot_symbolizer::site::{self, Code, Site};
use lightfoot_symbolizer::{Architecture, VirtualAddress};

const ENTRY: VirtualAddress = VirtualAddress(0x40_1000);

fuzz_target!(|input: (bool, Vec<u8>)| {
    let (is_arm, bytes) = input;
    let architecture = if is_arm { Architecture::Aarch64 } else { Architecture::X86_64 };
    let code = Code { architecture, entry: ENTRY, bytes: &bytes };
    let mut sites: Vec<Site> = Vec::new();
    sites.extend(site::entry(code, &[]));
    sites.extend(site::returns(code).into_iter().flatten());
    sites.extend(site::calls_to(code, ENTRY).into_iter().flatten());
    for call in site::indirect_calls(code).into_iter().flatten().take(16) {
        sites.extend(site::after_call(code, call.address, &[]));
    }
    for site in sites {
        let chosen = instructions(architecture, ENTRY, &bytes)
            .filter_map(Result::ok)
            .find(|instruction| instruction.address == site.address)
            .expect("a site is an instruction boundary");
        assert_eq!(chosen.bytes, site.bytes);
        assert!(!matches!(chosen.step, Step::Refused(_)), "{}", site.text);
    }
});
