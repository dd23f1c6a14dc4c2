//! The Lightfoot agent: from the processes of a host to OpenTelemetry spans.
//!
//! Data flows one way: discover → inspect → plan → attach → receive → audit → describe → deliver. A module uses the
//! ones before it, never the ones after it. Modules in that order:
#![deny(unsafe_code)]

pub mod capabilities;
pub mod quirks;
pub mod seccomp;
pub mod state;
pub mod variables;

pub mod logs;

pub mod catalog;

pub mod discover;

pub mod inspect;
pub mod plan;

pub mod type_names;

pub mod attach;
pub mod memory_limit;
pub mod price;
pub mod sampler;
pub mod watch;

pub mod receive;
pub mod record;
pub mod segments;
pub mod session;

pub mod clock;
pub mod kubernetes;
pub mod resource;
pub mod semconv;
pub mod span;

pub mod describe;
pub mod join;

pub mod counters;
pub mod deliver;

pub mod config;

pub mod recording;

pub mod doctor;

pub mod status;

pub mod cli;

mod escape;
mod propagation;
mod sys;
