//! Plans probes for every function of a real Go program and compares with `go tool objdump` and with DWARF.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

#[path = "site/frames.rs"]
mod frames;
#[path = "site/go.rs"]
mod go;
#[path = "site/listing.rs"]
mod listing;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use frames::Frames;
use go::Go;
use lightfoot_symbolizer::decode::{Flow, Step, instructions};
use lightfoot_symbolizer::go_abi::Place;
use lightfoot_symbolizer::site::{self, Code, Price, Reason, Site, SiteError};
use lightfoot_symbolizer::{Architecture, VirtualAddress};
use listing::{Function, Listing};

/// What was seen, by class.
#[derive(Default)]
struct Counts(BTreeMap<String, u32>);

impl Counts {
    fn add(&mut self, class: impl Into<String>) {
        *self.0.entry(class.into()).or_default() += 1;
    }

    fn of(&self, class: &str) -> u32 {
        self.0.get(class).copied().unwrap_or_default()
    }
}

struct Program {
    architecture: Architecture,
    listing: Listing,
    frames: Frames,
}

#[test]
fn every_function_of_a_go_program() {
    for go in Go::all() {
        for architecture in [Architecture::X86_64, Architecture::Aarch64] {
            check(&go, architecture);
        }
    }
}

fn check(go: &Go, architecture: Architecture) {
    let path = go.build("site", include_str!("site/program.go"), architecture, &[]);
    let data = std::fs::read(&path).unwrap();
    let file = object::File::parse(&*data).unwrap();
    let functions = listing::functions(&file);
    let listing = Listing::new(go, &path);
    let return_address = if architecture == Architecture::X86_64 { 8 } else { 0 };
    let program = Program { architecture, listing, frames: Frames::parse(&file, return_address) };

    let mut counts = Counts::default();
    let mut spent = Duration::ZERO;
    for function in &functions {
        if !program.frames.knows(function.address) {
            counts.add("function of C");
            continue;
        }
        let started = Instant::now();
        let planned = site::entry(program.code(function), &needs());
        spent += started.elapsed();
        program.check_entry(function, planned, &mut counts);
        // `crypto/internal/boring/sig` marks programs with bytes that are no code.
        if let Err(SiteError::Decode(error)) = site::returns(program.code(function)) {
            println!("    {}: {error}", function.name);
            counts.add("function that is not all code");
            continue;
        }
        // On x86-64 objdump cannot read all vector instructions, takes others to be longer than they are, and loses its
        // way there; at the end what it cannot read is padding.
        let lines = program.lines(function);
        let unread = lines.rsplit(|line| line.1 != "?").skip(1).any(|unread| !unread.is_empty());
        let vector = lines.iter().any(|line| line.1.starts_with('V'));
        if architecture == Architecture::X86_64 && (unread || vector) {
            counts.add("function that objdump cannot read");
            continue;
        }
        program.check_returns(function, &mut counts);
        program.check_calls(function, &mut counts);
    }
    println!("{} {architecture}: {} functions, entry() took {spent:?}", go.version, functions.len());
    for (class, count) in &counts.0 {
        println!("    {count:7} {class}");
    }
    assert!(functions.len() > 5000, "net/http is linked");
    assert!(counts.of("function with a stack check") > 4000);
    assert!(counts.of("function that is not all code") < 5);
    assert!(counts.of("function that objdump cannot read") < 100);
    assert_eq!(counts.of("stack movement unlike DWARF"), 0);
    assert!(counts.of("stack movement as DWARF has it") > 10_000);
}

/// All the registers that arguments can be in.
fn needs() -> Vec<Place> {
    (0..9).map(Place::IntegerRegister).chain([Place::ClosureContext]).collect()
}

impl Program {
    fn code<'a>(&self, function: &'a Function) -> Code<'a> {
        let entry = VirtualAddress(function.address);
        Code { architecture: self.architecture, entry, bytes: &function.bytes }
    }

    fn lines(&self, function: &Function) -> &[(u64, String)] {
        self.listing.of(function.address..function.address + function.bytes.len() as u64)
    }

    /// The instruction of go tool objdump that begins at the address.
    fn at(&self, address: u64) -> Option<&str> {
        self.listing.of(address..address + 1).first().map(|line| line.1.as_str())
    }

    /// The text at a site, which must be an instruction of the function.
    fn text(&self, function: &Function, site: &Site) -> &str {
        let inside = site.address.0 - function.address < function.bytes.len() as u64;
        assert!(inside, "{}: {site:?} lies in the function", function.name);
        let text = self.at(site.address.0);
        text.unwrap_or_else(|| panic!("{}: {site:?} is no instruction of go tool objdump", function.name))
    }

    fn check_movement(&self, function: &Function, site: &Site, counts: &mut Counts) {
        match (site.stack_delta, self.frames.movement(function.address, site.address.0)) {
            (Some(planned), Some(recorded)) if planned == recorded => {
                counts.add("stack movement as DWARF has it");
            }
            // The assembler does not tell DWARF of every push in assembly.
            (Some(_), Some(_)) if function.name.rsplit('.').next() == Some("abi0") => {
                counts.add("stack movement unlike DWARF, in assembly");
            }
            (Some(planned), Some(recorded)) => {
                counts.add("stack movement unlike DWARF");
                println!("    {}: {site:?}: planned {planned}, DWARF {recorded}", function.name);
            }
            (None, _) => counts.add("stack movement not provable"),
            (_, None) => counts.add("stack movement unknown to DWARF"),
        }
    }

    fn check_entry(&self, function: &Function, planned: Result<Site, SiteError>, counts: &mut Counts) {
        let checked = self.has_stack_check(function);
        if checked {
            counts.add("function with a stack check");
        }
        let site = match planned {
            Ok(site) => site,
            Err(error) => {
                assert!(!checked, "{}: {error}", function.name);
                let class = format!("{error:?}");
                let class = class.split([' ', '(', '{']).next().unwrap_or_default();
                println!("    {}: {error}", function.name);
                counts.add(format!("entry refused: {class}"));
                return;
            }
        };
        let text = self.text(function, &site);
        match site.reason {
            Reason::PushAfterStackCheck => {
                assert!(checked && text == "PUSHQ BP", "{}: {text}", function.name);
            }
            Reason::PushAtEntry => assert!(!checked && text == "PUSHQ BP", "{}: {text}", function.name),
            Reason::StackCheckBranch => {
                assert!(checked && text.starts_with("BLS "), "{}: {text}", function.name);
            }
            Reason::FirstEmulated => assert!(!checked && is_emulated(text), "{}: {text}", function.name),
            Reason::FirstInstruction => assert!(!checked, "{}: {site:?}", function.name),
            other => panic!("{}: an entry is no {other:?}", function.name),
        }
        assert_eq!(site.condition.is_some(), site.reason == Reason::StackCheckBranch);
        counts.add(format!("entry {}: {:?}", site.price, site.reason));
        self.check_movement(function, &site, counts);
    }

    /// Whether objdump shows one of the forms of `stacksplit`.
    fn has_stack_check(&self, function: &Function) -> bool {
        let lines = self.lines(function);
        let limit = |text: &str| {
            text.starts_with("CMPQ ") && (text.ends_with(" 0x10(R14)") || text.ends_with(" 0x18(R14)"))
        };
        match self.architecture {
            Architecture::X86_64 => lines
                .iter()
                .take(7)
                .zip(lines.iter().skip(1))
                .any(|(compare, branch)| limit(&compare.1) && branch.1.starts_with("JBE ")),
            Architecture::Aarch64 => {
                let first = lines.first().map(|line| line.1.as_str());
                matches!(first, Some("MOVD 16(R28), R16" | "MOVD 24(R28), R16"))
            }
        }
    }

    fn check_returns(&self, function: &Function, counts: &mut Counts) {
        let lines = self.lines(function);
        match site::returns(self.code(function)) {
            Ok(sites) => {
                for site in &sites {
                    let text = self.text(function, site);
                    assert!(text.starts_with("RET"), "{}: {text}", function.name);
                    let emulated = self.architecture == Architecture::Aarch64;
                    assert_eq!(site.price, if emulated { Price::Emulated } else { Price::Stepped });
                    self.check_movement(function, site, counts);
                    counts.add(format!("return {}", site.price));
                }
                let listed = lines.iter().filter(|line| line.1.starts_with("RET")).count();
                assert_eq!(sites.len(), listed, "{}", function.name);
            }
            Err(SiteError::TailCall { .. }) => counts.add("returns refused: TailCall"),
            Err(SiteError::Refused { refusal, .. }) => counts.add(format!("returns refused: {refusal}")),
            Err(error) => panic!("{}: {error}", function.name),
        }
    }

    fn check_calls(&self, function: &Function, counts: &mut Counts) {
        let code = self.code(function);
        let all: Vec<_> = instructions(code.architecture, code.entry, code.bytes).flatten().collect();
        let callees: BTreeSet<_> = all
            .iter()
            .filter_map(|instruction| match instruction.flow {
                Flow::Call(Some(callee)) => Some(callee),
                _ => None,
            })
            .collect();
        for callee in callees.into_iter().take(4) {
            for site in site::calls_to(code, callee).unwrap() {
                let text = self.text(function, &site);
                assert!(text.starts_with("CALL "), "{}: {text}", function.name);
                assert_eq!(site.price, Price::Emulated);
                self.check_movement(function, &site, counts);
                counts.add("direct call");
            }
        }
        for call in site::indirect_calls(code).unwrap() {
            let text = self.at(call.address.0).unwrap();
            assert!(text.starts_with("CALL "), "{}: {text}", function.name);
            assert!(self.at(call.return_address.0).is_some());
            counts.add("indirect call");
        }
        let calls = all.iter().filter(|instruction| matches!(instruction.flow, Flow::Call(_)));
        for call in calls.take(6) {
            match site::after_call(
                code,
                call.address,
                &[Place::IntegerRegister(0), Place::IntegerRegister(1)],
            ) {
                Ok(site) => {
                    let text = self.text(function, &site);
                    assert!(is_emulated(text), "{}: {text}", function.name);
                    self.check_movement(function, &site, counts);
                    let shared = site.reason == Reason::AfterCall { shared: true };
                    counts.add(if shared { "behind a call, shared" } else { "behind a call" });
                }
                Err(error) => {
                    let class = format!("{error:?}");
                    let class = class.split([' ', '(', '{']).next().unwrap_or_default();
                    counts.add(format!("behind a call refused: {class}"));
                }
            }
        }
        for instruction in &all {
            if let Step::Emulated = instruction.step
                && let Some(text) = self.at(instruction.address.0)
            {
                assert!(is_emulated(text), "{} {}: {text}", function.name, instruction.address);
            }
        }
    }
}

/// Whether Go's mnemonic is one that the kernel emulates.
fn is_emulated(text: &str) -> bool {
    let mnemonic = text.split(' ').next().unwrap_or_default();
    let branches =
        ["B", "BL", "CALL", "JMP", "CBZ", "CBZW", "CBNZ", "CBNZW", "TBZ", "TBNZ", "RET", "ADR", "ADRP"];
    let conditions = [
        "BEQ", "BNE", "BHS", "BCS", "BLO", "BCC", "BMI", "BPL", "BVS", "BVC", "BHI", "BLS", "BGE", "BLT",
        "BGT", "BLE", "BAL", "JA", "JAE", "JB", "JBE", "JE", "JNE", "JG", "JGE", "JL", "JLE", "JO", "JNO",
        "JS", "JNS", "JP", "JNP",
    ];
    branches.contains(&mnemonic)
        || conditions.contains(&mnemonic)
        || mnemonic == "PUSHQ"
        || mnemonic.starts_with("NOP")
}
