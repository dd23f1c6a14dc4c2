//! The BPF objects, built by `build.rs` and embedded as bytes.
