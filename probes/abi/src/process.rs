//! What the agent tells the programs: settings for all, and one element for each selected process.

use crate::limits;

/// The settings that hold for all processes; the only element of `SETTINGS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Settings {
    /// 1 while programs work, 0 makes them return at once.
    pub enabled: u32,
    /// Zero.
    pub reserved: u32,
    /// A quarter of the size of `EVENTS`: the reader is woken each time the bytes waiting there pass a multiple of this.
    /// A power of two.
    pub wake_bytes: u64,
}

const _: () = assert!(size_of::<Settings>() == 16);

/// The PID namespace whose process ids the maps hold. All zero stands for the host's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PidNamespace {
    /// The device of the namespace file system, as the kernel keeps it (`MKDEV` in `include/linux/kdev_t.h`).
    pub device: u64,
    /// The inode.
    pub inode: u64,
}

const _: () = assert!(size_of::<PidNamespace>() == 16);

impl PidNamespace {
    /// The namespace whose file, such as `/proc/self/ns/pid`, has this device and inode according to `stat`, which
    /// encodes devices in another way (`new_encode_dev`).
    pub const fn from_stat(device: u64, inode: u64) -> Self {
        let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
        Self { device: major << 20 | minor, inode }
    }
}

/// What is told of a process through `PROCESS_EVENTS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ProcessEvent {
    /// Its id.
    pub tgid: u32,
    /// [`Self::EXECUTED`], [`Self::ENDED`] or [`Self::CALLED`].
    pub kind: u32,
}

const _: () = assert!(size_of::<ProcessEvent>() == 8);

impl ProcessEvent {
    /// It has executed a program.
    pub const EXECUTED: u32 = 1;
    /// It is about to end. Told of selected processes alone.
    pub const ENDED: u32 = 2;
    /// A call of one of its clients returns to a place that no call has returned to before: it was put into `CALLERS`.
    pub const CALLED: u32 = 3;
}

/// A selected process. A process without an element is left alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Process {
    /// The id of the process's binary. Hits whose cookie carries another are dropped: the file is attached twice.
    pub binary: u32,
    /// The index of its layout in `LAYOUTS`.
    pub layout: u32,
    /// The index of its counters in `COUNTERS`; not 0, which counts what belongs to no process.
    pub counters: u32,
    /// A number that no other process gets while the object is loaded, and none before or after under the same id.
    pub instance: u32,
    /// Which spans are recorded.
    pub sampler: Sampler,
    /// By how much an address in the process exceeds the virtual address in its file; it wraps.
    pub bias: u64,
    /// Bits of [`process_flags`].
    pub flags: u64,
}

const _: () = assert!(size_of::<Process>() == 48);

/// Bits of [`Process::flags`].
pub mod process_flags {
    /// A span may have children in the process: what they need to be found is noted.
    pub const CHILDREN: u64 = 1 << 0;
    /// A span may be linked to the goroutine that created its own.
    pub const INFER_PARENTS: u64 = 1 << 1;
    /// The queries of URLs are recorded.
    pub const QUERIES: u64 = 1 << 2;
    /// The ends of HTTP/1 connections are probed: what is known of one is kept from request to request.
    pub const CONNECTIONS: u64 = 1 << 3;
    /// The messages of streams that are served are counted.
    pub const SERVER_MESSAGES: u64 = 1 << 4;
    /// Those of clients' streams are.
    pub const CLIENT_MESSAGES: u64 = 1 << 5;
    /// Trace contexts are added to what is sent: programs that write are loaded.
    pub const PROPAGATE: u64 = 1 << 6;
    /// Values of headers of served requests are recorded: those of [`super::WantedHeaders`].
    pub const HEADERS: u64 = 1 << 7;
    /// These tell whom a proxy has forwarded the request for.
    pub const FORWARDED: u64 = 1 << 8;
    /// The connections of HTTP/1 clients are recorded: programs that find them are placed.
    pub const JOIN: u64 = 1 << 9;
}

/// The headers of served requests whose values are recorded of a process: the element of `WANTED_HEADERS` with the index of its
/// counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct WantedHeaders {
    /// A bit for each length that one of the names has.
    pub lengths: u64,
    /// A bit for each of the names: whether its value is shown, and not only read to be understood.
    pub shown: u64,
    /// Each name as Go spells it, with zeros behind it; all zero for none.
    pub names: [[u64; NAME_WORDS]; limits::WANTED_NAMES],
}

/// Words that a header's name takes.
pub const NAME_WORDS: usize = (limits::HEADER_NAME + 1) / 8;

const _: () = assert!(size_of::<WantedHeaders>() == 16 + 64 * limits::WANTED_NAMES);

/// How the decision to record a span is made, as the samplers of the OpenTelemetry SDK specification do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Sampler {
    /// A [`SamplerKind`].
    pub kind: u32,
    /// 1: a span with a parent is recorded if the parent was (`parentbased_…`). 0: `kind` decides for all.
    pub parent_based: u32,
    /// For [`SamplerKind::TraceIdRatio`]: recorded if the last 8 bytes of the trace id, big-endian and halved, are less.
    /// `ratio * 2^63`, as in `go.opentelemetry.io/otel/sdk/trace/sampling.go`.
    pub threshold: u64,
}

const _: () = assert!(size_of::<Sampler>() == 16);

impl Sampler {
    /// Whether a span is recorded. `parent` is whether its parent was, if it has one.
    /// `trace_id_tail` is the last 8 bytes of the trace id, read as big-endian.
    #[inline]
    pub fn samples(&self, trace_id_tail: u64, parent: Option<bool>) -> bool {
        if self.parent_based != 0
            && let Some(sampled) = parent
        {
            return sampled;
        }
        self.kind == SamplerKind::AlwaysOn as u32
            || self.kind == SamplerKind::TraceIdRatio as u32 && trace_id_tail >> 1 < self.threshold
    }
}

/// The samplers that decide for a span without a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SamplerKind {
    /// None is recorded.
    AlwaysOff = 0,
    /// All are recorded.
    AlwaysOn = 1,
    /// A share is recorded, chosen by trace id.
    TraceIdRatio = 2,
}

#[cfg(test)]
mod tests {
    use super::{PidNamespace, Sampler, SamplerKind};

    #[test]
    fn devices_are_encoded_as_the_kernel_does() {
        // include/linux/kdev_t.h: new_encode_dev(MKDEV(0, 4)) and new_encode_dev(MKDEV(0x12, 0x34567)).
        assert_eq!(PidNamespace::from_stat(4, 7), PidNamespace { device: 4, inode: 7 });
        let encoded = 0x67 | 0x12 << 8 | 0x34500 << 12;
        assert_eq!(PidNamespace::from_stat(encoded, 7).device, 0x12 << 20 | 0x34567);
    }

    #[test]
    fn samplers_decide_like_the_sdk() {
        let sampler = |kind: SamplerKind, parent_based, threshold| Sampler {
            kind: kind as u32,
            parent_based,
            threshold,
        };
        let cases = [
            (sampler(SamplerKind::AlwaysOn, 0, 0), 0, Some(false), true),
            (sampler(SamplerKind::AlwaysOn, 1, 0), 0, Some(false), false),
            (sampler(SamplerKind::AlwaysOn, 1, 0), 0, None, true),
            (sampler(SamplerKind::AlwaysOff, 0, 0), 0, Some(true), false),
            (sampler(SamplerKind::AlwaysOff, 1, 0), 0, Some(true), true),
            (sampler(SamplerKind::AlwaysOff, 1, u64::MAX), 0, None, false),
            // Half of all traces: the bound is 2^62.
            (sampler(SamplerKind::TraceIdRatio, 0, 1 << 62), (1 << 63) - 1, None, true),
            (sampler(SamplerKind::TraceIdRatio, 0, 1 << 62), 1 << 63, None, false),
            (sampler(SamplerKind::TraceIdRatio, 0, 1 << 62), 1 << 63, Some(true), false),
            (sampler(SamplerKind::TraceIdRatio, 1, 1 << 62), 1 << 63, Some(true), true),
            (sampler(SamplerKind::TraceIdRatio, 0, 1 << 63), u64::MAX, None, true),
            (sampler(SamplerKind::TraceIdRatio, 0, 0), 0, None, false),
        ];
        for (sampler, tail, parent, expected) in cases {
            assert_eq!(sampler.samples(tail, parent), expected, "{sampler:?} {tail:#x} {parent:?}");
        }
    }
}
