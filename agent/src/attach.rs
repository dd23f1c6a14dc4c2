//! The only room that knows aya: loading the BPF object, filling its maps, attaching and detaching.
//!
//! Three programs, for HTTP, for gRPC and for connections, and a fourth where something may be written; one link of each for each binary where the kernel has uprobe_multi. The cookie says which site
//! was hit. A link is owned by its [`Attachment`]: dropping that detaches.

use std::collections::HashMap as StdHashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues, RingBuf};
use aya::programs::uprobe::UProbeScope;
use aya::programs::{ProgramError, ProgramType, UProbe};
use aya::sys::{BpfHelper, is_helper_supported};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use clap::ValueEnum as _;
use lightfoot_probes::Copying;
use lightfoot_probes_abi::in_flight::state;
use lightfoot_probes_abi::process::process_flags;
use lightfoot_probes_abi::{
    ContextSet, Cookie, Counter, Counters, Holder, HolderKey, InFlight, InFlightKey, Layout, Process,
    Sampler, Settings, Site, WantedHeaders,
};

use crate::quirks::Release;

mod addresses;
mod attachment;
mod callers;
mod closer;
mod error;
mod files;
mod fills;
mod headers;
mod holders;
mod life;
mod links;
mod memory;
mod method;
mod misses;
mod open_spans;
mod slots;
mod tracefs;
mod trial;

use addresses::Addresses;
pub use attachment::{Attachment, Group};
pub use callers::MAX_CALLERS;
use closer::Closer;
pub use closer::MAX_CLOSING;
pub use error::AttachError;
pub use files::RESERVED_FILES;
pub use fills::MapFill;
pub use headers::wanted_headers;
pub use holders::MAX_HOLDERS;
pub use life::ProcessEvents;
pub use lightfoot_probes_abi::PidNamespace;
use links::Link;
use method::Family;
pub use method::Method;
pub use open_spans::OpenSpans;
use slots::Slots;
use tracefs::Tracefs;
pub use tracefs::TracefsError;

/// At most so many binaries are watched at once: the size of `LAYOUTS`.
pub const MAX_BINARIES: u32 = 256;
/// At most so many processes are watched at once: the size of `COUNTERS`, less the one that counts for nobody.
pub const MAX_PROCESSES: u32 = 511;
/// At most so many sites are told apart by their addresses, where the kernel has no cookies: the size of `SITES`.
pub const MAX_SITES: usize = 4096;

/// The most requests of HTTP/2 clients whose connections are known before their spans end, with `--join`: more than usually are open at once.
/// The kernel forgets the oldest for newer ones, and sooner on machines with many processors.
pub const MAX_CONNECTED: u32 = 4096;

/// The most gRPC streams whose messages are counted at once, with `--count-messages`; the least used go.
pub const MAX_COUNTED_STREAMS: u32 = 4096;

/// The sizes of what the kernel is given, and what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of the ring buffer, a power of two.
    pub ring_bytes: u32,
    /// At most so many spans are open at once, over all processes.
    pub open_spans: u32,
    /// So many contexts are known to belong to spans, over all processes; rounded up to four times a power of two.
    pub contexts: u32,
    /// At most so many callers of clients wait to be learned, up to [`MAX_CALLERS`].
    pub callers: u32,
    /// At most so many processes are watched at once, up to [`MAX_PROCESSES`].
    pub processes: u32,
    /// The connections of at most so many requests of HTTP/2 clients are known before their spans end, up to [`MAX_CONNECTED`]; 1 where none
    /// is looked for.
    pub connected: u32,
    /// The messages of at most so many gRPC streams are counted at once, up to [`MAX_COUNTED_STREAMS`]; 1 where none are counted.
    pub counted_streams: u32,
    /// Whether reads of user memory are counted, which costs more than some of them.
    pub counts_reads: bool,
}

impl Sizes {
    /// What `run` and `record` take if nothing else is said.
    pub const USUAL: Self = Self {
        ring_bytes: 4 << 20,
        open_spans: 4096,
        contexts: 8192,
        callers: 4096,
        processes: MAX_PROCESSES,
        connected: 1,
        counted_streams: 1,
        counts_reads: false,
    };

    /// At most so many entries are kept between requests: half as many as spans can be open, lest idle connections take their room.
    fn kept(&self) -> u32 {
        self.open_spans.div_ceil(2)
    }
}

/// A site to be probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Where, in bytes from the start of the file.
    pub offset: u64,
    /// What it tells the programs; the binary is filled in here.
    pub cookie: Cookie,
}

/// How the spans of a process are recorded.
#[derive(Clone, Copy, Debug)]
pub struct Recording {
    /// Which spans.
    pub sampler: Sampler,
    /// Bits of [`process_flags`].
    pub flags: u64,
    /// By how much addresses in the process exceed those in its file; `None` while that is not known.
    pub bias: Option<u64>,
    /// The headers of served requests whose values are recorded.
    pub headers: WantedHeaders,
}

/// An object that was loaded, and its ring buffer.
pub type Loaded = (Kernel, RingBuf<MapData>);

/// A process as the programs know it.
#[derive(Clone, Copy)]
struct Selected {
    process: Process,
    /// Whether its bias is known.
    is_located: bool,
}

/// The loaded BPF object.
pub struct Kernel {
    method: Method,
    namespace: PidNamespace,
    /// In which processes probes act.
    scope: UProbeScope,
    object: Ebpf,
    settings: Array<MapData, Settings>,
    processes: HashMap<MapData, u32, Process>,
    layouts: Array<MapData, Layout>,
    wanted_headers: Array<MapData, WantedHeaders>,
    counters: PerCpuArray<MapData, Counters>,
    in_flight: HashMap<MapData, InFlightKey, InFlight>,
    kept: HashMap<MapData, InFlightKey, u32>,
    open_spans: Option<OpenSpans>,
    holders: HashMap<MapData, HolderKey, Holder>,
    callers: HashMap<MapData, Site, u64>,
    next_binary: u32,
    next_instance: u32,
    layout_slots: Slots,
    counter_slots: Slots,
    sizes: Sizes,
    /// What all maps take.
    map_bytes: u64,
    /// When so many bytes of the ring wait, its reader is woken.
    wake_bytes: u64,
    by_process: StdHashMap<u32, Selected>,
    /// Where the kernel has no cookies.
    addresses: Option<Addresses>,
    /// Where probes are its events.
    tracefs: Option<Tracefs>,
    /// Where the kernel takes long to take probes away. It ends with all of them.
    closer: Option<Closer<Link>>,
}

impl Kernel {
    /// Loads the object, by the first of these methods that works; none stand for all. No probe is placed yet.
    pub fn load(
        object: &[u8],
        methods: &[Method],
        sizes: Sizes,
    ) -> Result<(Self, RingBuf<MapData>), AttachError> {
        trial::check_frames(lightfoot_probes::LARGEST_FRAME, Release::running())?;
        let namespace = pid_namespace().map_err(AttachError::PidNamespace)?;
        let methods = if methods.is_empty() { Method::value_variants() } else { methods };
        let is_locked_down = is_locked_down();
        let copying = is_locked_down.then(|| Copying::of(object)).transpose().map_err(AttachError::Object)?;
        let mut failures = Vec::new();
        for method in methods {
            let copying = copying.as_ref().filter(|_| *method == Method::UprobeMulti);
            let object = copying.map_or(object, Copying::object);
            let loaded = Self::load_for(object, *method, namespace, sizes);
            let tried = loaded.and_then(|(mut kernel, ring)| {
                // What cannot be had otherwise is shown by the first program that is to be watched.
                if methods.len() > 1 {
                    kernel.try_out()?;
                }
                Ok((kernel, ring))
            });
            match tried {
                Ok(loaded) => return Ok(loaded),
                Err(error) => failures.push(error),
            }
        }
        let is_without_way = |error: &AttachError| {
            is_locked_down && (methods.first() != Some(&Method::UprobeMulti) || error.is_of_old_kernel())
        };
        if failures.first().is_some_and(is_without_way) {
            return Err(AttachError::LockedDown);
        }
        // The first tells most, for later methods take more rights; unless the kernel is only too old for it.
        let index = failures.iter().position(|error| !error.is_of_old_kernel()).unwrap_or(0);
        Err(failures.into_iter().nth(index).unwrap_or(AttachError::Missing("program")))
    }

    fn load_for(
        object: &[u8],
        method: Method,
        namespace: PidNamespace,
        sizes: Sizes,
    ) -> Result<(Self, RingBuf<MapData>), AttachError> {
        let context_sets = ContextSet::number_for(sizes.contexts);
        let sites = if method.is_by_address() { u32::try_from(MAX_SITES).unwrap_or(u32::MAX) } else { 1 };
        let tracefs = method.is_by_tracefs().then(Tracefs::open).transpose()?;
        let mut object = EbpfLoader::new()
            // The log costs time at each start and fills a screen when a program is refused.
            .verifier_log_level(VerifierLogLevel::DISABLE)
            .override_global("PID_NAMESPACE", &namespace, true)
            // Only a program that is attached by uprobe_multi can be sleepable, and wait for a page.
            .override_global("MAY_SLEEP", &u32::from(method == Method::UprobeMulti), true)
            .override_global("COUNT_READS", &u32::from(sizes.counts_reads), true)
            .map_max_entries("EVENTS", sizes.ring_bytes)
            .map_max_entries("IN_FLIGHT", sizes.open_spans)
            .map_max_entries("KEPT", sizes.kept())
            .override_global("CONTEXTS_MASK", &(context_sets - 1), true)
            .map_max_entries("CONTEXTS", context_sets)
            .map_max_entries("CALLERS", sizes.callers)
            .map_max_entries("CONNECTED", sizes.connected)
            .map_max_entries("MESSAGES", sizes.counted_streams)
            .map_max_entries("SITES", sites)
            .load(object)
            .map_err(|error| AttachError::Load(Box::new(error)))?;
        let map_bytes = memory::of_open_maps();
        // First what is refused most often: it may write.
        if has_program(&object, method, Family::Propagation) {
            load_program(&mut object, method, Family::Propagation)?;
        }
        load_program(&mut object, method, Family::Http)?;
        let ring = RingBuf::try_from(take(&mut object, "EVENTS")?).map_err(map_error("EVENTS"))?;
        let addresses = if method.is_by_address() {
            Some(Addresses::new(take(&mut object, "SITES")?.try_into().map_err(map_error("SITES"))?))
        } else {
            None
        };
        let in_flight = take(&mut object, "IN_FLIGHT")?;
        let mut kernel = Self {
            open_spans: Some(OpenSpans::of(&in_flight, sizes.open_spans)?),
            method,
            namespace,
            scope: UProbeScope::AllProcesses,
            settings: take(&mut object, "SETTINGS")?.try_into().map_err(map_error("SETTINGS"))?,
            processes: take(&mut object, "PROCESSES")?.try_into().map_err(map_error("PROCESSES"))?,
            wanted_headers: take(&mut object, "WANTED_HEADERS")?
                .try_into()
                .map_err(map_error("WANTED_HEADERS"))?,
            layouts: take(&mut object, "LAYOUTS")?.try_into().map_err(map_error("LAYOUTS"))?,
            counters: take(&mut object, "COUNTERS")?.try_into().map_err(map_error("COUNTERS"))?,
            in_flight: in_flight.try_into().map_err(map_error("IN_FLIGHT"))?,
            kept: take(&mut object, "KEPT")?.try_into().map_err(map_error("KEPT"))?,
            holders: take(&mut object, "HOLDERS")?.try_into().map_err(map_error("HOLDERS"))?,
            callers: take(&mut object, "CALLERS")?.try_into().map_err(map_error("CALLERS"))?,
            object,
            next_binary: 1,
            next_instance: 1,
            layout_slots: Slots::new(0..MAX_BINARIES),
            counter_slots: Slots::new(1..sizes.processes.min(MAX_PROCESSES) + 1),
            sizes,
            map_bytes,
            wake_bytes: u64::from(sizes.ring_bytes / 4),
            by_process: StdHashMap::new(),
            addresses,
            tracefs,
            closer: (method != Method::UprobeMulti)
                .then(Closer::start)
                .transpose()
                .map_err(AttachError::Closer)?,
        };
        kernel.enable()?;
        Ok((kernel, ring))
    }

    /// Has probes that are placed from now on act in this process alone; some kernels let perf events act in the calling
    /// thread only.
    pub fn act_in_own_process_only(&mut self) {
        self.scope = UProbeScope::CallingProcess;
    }

    /// Runs something with the programs switched off, and with probes that act in this process alone.
    pub fn aside<T>(
        &mut self,
        run: impl FnOnce(&mut Self) -> Result<T, AttachError>,
    ) -> Result<T, AttachError> {
        let scope = std::mem::replace(&mut self.scope, UProbeScope::CallingProcess);
        let result = self.disable().and_then(|()| run(self));
        self.scope = scope;
        self.enable()?;
        result
    }

    /// The open spans, for one who looks at them beside all this.
    pub fn take_open_spans(&mut self) -> Option<OpenSpans> {
        self.open_spans.take()
    }

    /// How probes are placed.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Whether the programs can tell the number of a process, given its folder in /proc.
    pub fn knows_numbers_of(&self, folder: &Path) -> bool {
        let own = self.namespace.inode;
        own == 0 || fs::metadata(folder.join("ns/pid")).is_ok_and(|metadata| metadata.ino() == own)
    }

    /// Takes [`Kernel::disable`] back.
    pub fn enable(&mut self) -> Result<(), AttachError> {
        let settings = Settings { enabled: 1, reserved: 0, wake_bytes: self.wake_bytes };
        self.settings.set(0, &settings, 0).map_err(map_error("SETTINGS"))
    }

    /// The off switch: programs return at once, whatever is still attached.
    pub fn disable(&mut self) -> Result<(), AttachError> {
        self.settings.set(0, &Settings::default(), 0).map_err(map_error("SETTINGS"))
    }

    /// Fails unless one more process can be watched, with so many sites. Each binary has one process at least, so there is
    /// room for binaries then, too.
    pub fn check_room(&self, sites: usize) -> Result<(), AttachError> {
        if self.counter_slots.is_empty() {
            return Err(AttachError::TooManyProcesses(self.sizes.processes));
        }
        if self.addresses.as_ref().is_some_and(|known| known.room() < sites) {
            return Err(AttachError::TooManySites);
        }
        Ok(())
    }

    /// Starts recording the spans of a process.
    pub fn watch(
        &mut self,
        pid: u32,
        attachment: &Attachment,
        recording: Recording,
    ) -> Result<(), AttachError> {
        let counters =
            self.counter_slots.take().ok_or(AttachError::TooManyProcesses(self.sizes.processes))?;
        let process = Process {
            binary: attachment.binary,
            layout: attachment.layout,
            counters,
            instance: self.next_instance,
            sampler: recording.sampler,
            bias: recording.bias.unwrap_or_default(),
            flags: recording.flags,
        };
        self.next_instance = self.next_instance.wrapping_add(1).max(1);
        let zeroed = aya::util::nr_cpus().map_err(|(_, error)| error).and_then(|cpus| {
            let cpus = usize::try_from(cpus.get()).unwrap_or(usize::MAX);
            PerCpuValues::try_from(vec![Counters([0; Counters::CAPACITY]); cpus])
        });
        let zeroed = zeroed.map_err(AttachError::Processors);
        let is_located = recording.bias.is_some();
        let result = zeroed.and_then(|values| {
            self.counters.set(counters, values, 0).map_err(map_error("COUNTERS"))?;
            self.select(pid, Selected { process, is_located }, &recording.headers)
        });
        match result {
            Ok(()) => Ok(()),
            Err(error) => {
                self.counter_slots.give_back(counters);
                Err(error)
            }
        }
    }

    /// Records the spans of a watched process in another way from now on; a request that comes just then may be recorded in either.
    pub fn change(&mut self, pid: u32, recording: &Recording) -> Result<(), AttachError> {
        let Some(Selected { process, is_located }) = self.by_process.get(&pid).copied() else {
            return Ok(());
        };
        let process = Process { sampler: recording.sampler, flags: recording.flags, ..process };
        self.select(pid, Selected { process, is_located }, &recording.headers)
    }

    /// Tells the programs of a process.
    fn select(&mut self, pid: u32, selected: Selected, headers: &WantedHeaders) -> Result<(), AttachError> {
        let Selected { process, is_located } = selected;
        self.wanted_headers.set(process.counters, headers, 0).map_err(map_error("WANTED_HEADERS"))?;
        // What a type or a counter is cannot be told by an address that means nothing yet.
        let flags = if is_located { process.flags } else { process.flags & !process_flags::CHILDREN };
        self.processes.insert(&pid, &Process { flags, ..process }, 0).map_err(map_error("PROCESSES"))?;
        self.by_process.insert(pid, selected);
        Ok(())
    }

    /// Says by how much addresses in a watched process exceed those in its file, if that was not known.
    pub fn set_bias(&mut self, pid: u32, bias: u64) -> Result<(), AttachError> {
        let Some(selected) = self.by_process.get_mut(&pid).filter(|selected| !selected.is_located) else {
            return Ok(());
        };
        selected.process.bias = bias;
        self.processes.insert(&pid, &selected.process, 0).map_err(map_error("PROCESSES"))?;
        selected.is_located = true;
        Ok(())
    }

    /// Says where in a watched process the probes of its binary are: needed where the kernel has no cookies.
    pub fn locate(
        &mut self,
        pid: u32,
        attachment: &Attachment,
        probes: &[Probe],
        addresses: &[u64],
    ) -> Result<(), AttachError> {
        let Some(known) = &mut self.addresses else { return Ok(()) };
        let cookies = probes.iter().map(|probe| probe.cookie.of_binary(attachment.binary));
        known.insert(pid, addresses.iter().copied().zip(cookies))
    }

    /// Stops recording the spans of a process. Returns its last counts, and how many spans were open.
    pub fn leave(&mut self, pid: u32) -> Result<Option<(Counters, u64)>, AttachError> {
        let Some(Selected { process, .. }) = self.by_process.remove(&pid) else { return Ok(None) };
        match self.processes.remove(&pid) {
            Ok(()) | Err(MapError::KeyNotFound) => {}
            // Its slot stays taken: a program could still count there.
            Err(error) => return Err(map_error("PROCESSES")(error)),
        }
        if let Some(known) = &mut self.addresses {
            known.remove(pid);
        }
        let counts = self.counts_at(process.counters);
        self.counter_slots.give_back(process.counters);
        let open = self.forget_spans();
        self.forget_callers();
        Ok(Some((counts?, open)))
    }

    /// Forgets the spans of processes that were left, also what a program that was under way opened after that. Returns how
    /// many were open.
    fn forget_spans(&mut self) -> u64 {
        let is_left = |key: &InFlightKey| !self.by_process.contains_key(&key.tgid);
        let left: Vec<_> = self.in_flight.keys().filter_map(Result::ok).filter(is_left).collect();
        // A program that was under way may have kept one that is gone.
        let kept: Vec<_> = self.kept.keys().filter_map(Result::ok).filter(is_left).collect();
        let is_open = |entry: InFlight| entry.state & state::IDLE == 0;
        // Already gone is as good as removed.
        let open = left.iter().filter(|key| self.in_flight.get(key, 0).is_ok_and(is_open)).count();
        for key in &left {
            let _ = self.in_flight.remove(key);
        }
        for key in &kept {
            let _ = self.kept.remove(key);
        }
        open as u64
    }

    /// The counts of a watched process, or of those hits that belong to none.
    pub fn counts(&self, pid: Option<u32>) -> Result<Counters, AttachError> {
        let slot =
            pid.and_then(|pid| self.by_process.get(&pid)).map_or(0, |selected| selected.process.counters);
        let mut counters = self.counts_at(slot)?;
        if pid.is_none() {
            self.add_misses(&mut counters);
        }
        Ok(counters)
    }

    fn counts_at(&self, slot: u32) -> Result<Counters, AttachError> {
        let values = self.counters.get(&slot, 0).map_err(map_error("COUNTERS"))?;
        let mut sum = Counters([0; Counters::CAPACITY]);
        for cpu in values.iter() {
            for (total, count) in sum.0.iter_mut().zip(cpu.0) {
                *total = total.wrapping_add(count);
            }
        }
        Ok(sum)
    }
}

/// One count of a process.
pub fn count(counters: &Counters, counter: Counter) -> u64 {
    counters.0.get(counter as usize).copied().unwrap_or(0)
}

/// The agent's own PID namespace, in whose numbers it names processes. All zeros for the host's.
pub fn pid_namespace() -> io::Result<PidNamespace> {
    // `PROC_PID_INIT_INO` (include/linux/proc_ns.h): the host's namespace, in which every process has a number. In any
    // other one `bpf_get_ns_current_pid_tgid` knows only those that live in that very one, not those below it.
    const HOST: u64 = 0xefff_fffc;
    let metadata = fs::metadata("/proc/self/ns/pid")?;
    if metadata.ino() == HOST {
        return Ok(PidNamespace::default());
    }
    Ok(PidNamespace { device: metadata.dev(), inode: metadata.ino() })
}

/// Whether an object has the programs of a family: those that write are in one of its own.
fn has_program(object: &Ebpf, method: Method, family: Family) -> bool {
    object.program(method.program(family)).is_some()
}

/// Whether the kernel is locked down for confidentiality: since Linux 5.5 it refuses this helper for nothing else. It lets programs
/// read the memory of processes all the same, but aya takes it for a kernel of before, and has them call what those had instead,
/// which is refused as well; so they have to use a helper that aya leaves alone.
fn is_locked_down() -> bool {
    is_helper_supported(ProgramType::TracePoint, BpfHelper::BPF_FUNC_probe_read_kernel)
        .is_ok_and(|is_supported| !is_supported)
}

/// A program that is loaded, if need be now: that of gRPC is with the first binary that has a site for it.
fn load_program(object: &mut Ebpf, method: Method, family: Family) -> Result<&mut UProbe, AttachError> {
    let name = method.program(family);
    let program: &mut UProbe =
        object.program_mut(name).ok_or(AttachError::Missing(name))?.try_into().map_err(refused(name))?;
    if program.fd().is_err() {
        program.load().map_err(refused(name))?;
    }
    Ok(program)
}

fn take(object: &mut Ebpf, name: &'static str) -> Result<Map, AttachError> {
    object.take_map(name).ok_or(AttachError::Missing(name))
}

fn map_error(map: &'static str) -> impl Fn(MapError) -> AttachError {
    move |source| AttachError::Map { map, source }
}

fn refused(program: &'static str) -> impl Fn(ProgramError) -> AttachError {
    move |source| AttachError::Program { program, source: Box::new(source) }
}
