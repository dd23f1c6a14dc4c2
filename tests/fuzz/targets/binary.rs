//! A whole file: every fact that the symbolizer tells of it, without panic, hang or memory without bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lightfoot_symbolizer::{Binary, dwarf};

const FUNCTIONS: &[&str] = &["main.main", "runtime.newproc1", "runtime.mallocgc"];
const TYPES: &[&str] = &["runtime.g", "context.valueCtx"];

fuzz_target!(|file: &[u8]| {
    let _ = dwarf::for_each_struct(&file, |name| TYPES.contains(&name), |_| {});
    let Ok(binary) = Binary::open(file) else { return };
    if let Ok(functions) = binary.functions(FUNCTIONS) {
        for function in functions.iter() {
            let _ = function.code(&binary.image);
        }
    }
    let _ = binary.types(TYPES);
    let descriptors = binary.descriptors();
    let _ = descriptors.for_each_struct(&binary.module, |layout| {
        for field in &layout.fields {
            let _ = field.descriptor.map(|address| descriptors.map(address));
        }
    });
});
