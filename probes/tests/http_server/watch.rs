//! Loads the object, attaches it and reads what it sends.

use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{Array, HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::UProbe;
use aya::programs::uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeScope};
use aya::sys::{UProbeMultiFeature, is_uprobe_multi_supported};
use aya::{Ebpf, EbpfLoader, Pod};
use lightfoot_probes::Copying;
use lightfoot_probes_abi::in_flight::state;
use lightfoot_probes_abi::{
    ContextSet, Counter, Counters, InFlight, InFlightKey, Layout, PidNamespace, Process, Settings, Site,
};
use lightfoot_tests::probes::PlacedSite;

/// The element of `COUNTERS` that the process under test gets if none is chosen.
const SLOT: u32 = 1;

/// How the object is loaded.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    /// One of the three programs.
    pub(crate) program: &'static str,
    pub(crate) count_reads: bool,
    /// Whether memory is read as where the kernel is locked down for confidentiality.
    pub(crate) copy_only: bool,
    /// Whether process ids are told in this process's PID namespace rather than in the kernel's numbers.
    pub(crate) in_pid_namespace: bool,
    /// Bytes of the ring buffer.
    pub(crate) ring: u32,
    pub(crate) in_flight: u32,
    pub(crate) contexts: u32,
    pub(crate) callers: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            program: "on_site_multi",
            count_reads: false,
            copy_only: false,
            in_pid_namespace: false,
            ring: 4 << 20,
            in_flight: 1024,
            contexts: 4096,
            callers: 64,
        }
    }
}

/// The loaded programs.
pub(crate) struct Watch {
    ebpf: Ebpf,
    events: RingBuf<MapData>,
    options: Options,
    /// The element of `COUNTERS` that the process under test has.
    slot: u32,
}

impl Watch {
    /// Loads the object, or prints why this machine cannot run it.
    pub(crate) fn load(options: Options) -> Option<Self> {
        let unsupported = match lightfoot_probes::OBJECT {
            Err(absent) => Some(absent.to_string()),
            Ok(object) => match Self::try_load(object, options) {
                Ok(watch) => return Some(watch),
                Err(why) => {
                    let why = format!("{why:?}");
                    // A kernel that does not know the helper for cookies, or what a program is attached as.
                    let is_old = match options.program {
                        "on_site" => why.contains("unknown#174"),
                        "on_site_multi" => {
                            is_uprobe_multi_supported(UProbeMultiFeature::LinkCreation).is_ok_and(|is| !is)
                        }
                        _ => false,
                    };
                    let is_root = fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t0\t");
                    assert!(is_old || !is_root, "the verifier refuses {}: {}", options.program, tail(&why));
                    Some(format!(
                        "{}: {}",
                        options.program,
                        if is_old { "the kernel is too old" } else { "root is needed" }
                    ))
                }
            },
        };
        println!("skipped: {}", unsupported.unwrap_or_default());
        None
    }

    fn try_load(object: &[u8], options: Options) -> Result<Self, Box<dyn Error>> {
        let copying = options.copy_only.then(|| Copying::of(object)).transpose()?;
        let object = copying.as_ref().map_or(object, Copying::object);
        let own = fs::metadata("/proc/self/ns/pid").unwrap();
        let namespace = if options.in_pid_namespace {
            PidNamespace::from_stat(own.dev(), own.ino())
        } else {
            PidNamespace::default()
        };
        let context_sets = ContextSet::number_for(options.contexts);
        let mut ebpf = EbpfLoader::new()
            .override_global("CONTEXTS_MASK", &(context_sets - 1), true)
            .override_global("COUNT_READS", &u32::from(options.count_reads), true)
            .override_global("MAY_SLEEP", &u32::from(options.program.ends_with("_multi")), true)
            .override_global("PID_NAMESPACE", &namespace, true)
            .map_max_entries("EVENTS", options.ring)
            .map_max_entries("IN_FLIGHT", options.in_flight)
            .map_max_entries("CONTEXTS", context_sets)
            .map_max_entries("KEPT", options.in_flight.div_ceil(2))
            .map_max_entries("CALLERS", options.callers)
            .load(object)?;
        let program: &mut UProbe = ebpf.program_mut(options.program).unwrap().try_into().unwrap();
        program.load()?;
        // Older kernels give up after a million; what they prune less of is not known here.
        let verified = program.info().unwrap().verified_instruction_count();
        println!("{}: {verified:?} instructions verified", options.program);
        assert!(verified.is_none_or(|verified| verified < 300_000), "{verified:?}");
        let events = RingBuf::try_from(ebpf.take_map("EVENTS").unwrap()).unwrap();
        let mut watch = Self { ebpf, events, options, slot: SLOT };
        watch.enable(true);
        Ok(watch)
    }

    /// Turns all programs on or off.
    pub(crate) fn enable(&mut self, enabled: bool) {
        let settings =
            Settings { enabled: enabled.into(), reserved: 0, wake_bytes: u64::from(self.options.ring / 4) };
        self.array("SETTINGS").set(0, &settings, 0).unwrap();
    }

    /// Describes a binary under its id, which is the index of its layout here.
    pub(crate) fn add_layout(&mut self, id: u32, layout: &Layout) {
        self.array("LAYOUTS").set(id, layout, 0).unwrap();
    }

    /// An array by its name.
    pub(crate) fn array<V: Pod>(&mut self, name: &str) -> Array<&mut MapData, V> {
        self.ebpf.map_mut(name).unwrap().try_into().unwrap()
    }

    /// A hash map by its name.
    pub(crate) fn hash<K: Pod, V: Pod>(&mut self, name: &str) -> HashMap<&mut MapData, K, V> {
        self.ebpf.map_mut(name).unwrap().try_into().unwrap()
    }

    /// Selects a process.
    pub(crate) fn select(&mut self, tgid: u32, process: Process) {
        self.select_as(SLOT, tgid, process);
    }

    /// Selects a process, or does so anew, with an element of `COUNTERS` that is still empty.
    pub(crate) fn select_as(&mut self, slot: u32, tgid: u32, process: Process) {
        self.slot = slot;
        let mut processes = self.hash("PROCESSES");
        processes.insert(&tgid, &Process { counters: slot, ..process }, 0).unwrap();
    }

    /// Attaches to sites of a file, for the kernel with one link; `tgid` matters where the kernel has no cookies.
    pub(crate) fn attach(&mut self, path: &Path, tgid: u32, sites: &[PlacedSite]) {
        if self.options.program == "on_site_by_address" {
            let mut map = self.hash::<Site, u64>("SITES");
            for site in sites {
                map.insert(&Site { tgid, reserved: 0, address: site.address }, &site.cookie.0, 0).unwrap();
            }
        }
        let has_cookies = self.options.program != "on_site_by_address";
        let points = sites.iter().map(|site| UProbeAttachPoint {
            location: UProbeAttachLocation::AbsoluteOffset(site.offset),
            cookie: has_cookies.then_some(site.cookie.0),
        });
        let program: &mut UProbe = self.ebpf.program_mut(self.options.program).unwrap().try_into().unwrap();
        program.attach(points, path, UProbeScope::AllProcesses).unwrap();
    }

    /// Collects records while `work` is done and for up to ten seconds after, until there are `wanted`.
    pub(crate) fn collect<T: Send>(
        &mut self,
        wanted: usize,
        work: impl FnOnce() -> T + Send,
    ) -> (Vec<Vec<u8>>, T) {
        let mut records = Vec::new();
        let done = thread::scope(|scope| {
            let worker = scope.spawn(work);
            while !worker.is_finished() {
                self.drain(&mut records);
                thread::sleep(Duration::from_millis(5));
            }
            worker.join().unwrap()
        });
        let deadline = Instant::now() + Duration::from_secs(10);
        while records.len() < wanted && Instant::now() < deadline {
            self.drain(&mut records);
            thread::sleep(Duration::from_millis(5));
        }
        (records, done)
    }

    /// Takes the records that wait.
    pub(crate) fn drain(&mut self, records: &mut Vec<Vec<u8>>) {
        while let Some(record) = self.events.next() {
            records.push(record.to_vec());
        }
    }

    /// A counter of the process under test, or of no process.
    pub(crate) fn counter(&self, counter: Counter) -> u64 {
        let slot = if counter == Counter::UnselectedProcess { 0 } else { self.slot };
        let counters: PerCpuArray<_, Counters> = self.ebpf.map("COUNTERS").unwrap().try_into().unwrap();
        counters.get(&slot, 0).unwrap().iter().map(|counters| counters.0[counter as usize]).sum()
    }

    /// The counters that are not 0, but for waits, which are the machine's business.
    pub(crate) fn counters(&self) -> Vec<(Counter, u64)> {
        let counters = Counter::ALL.iter().filter(|counter| **counter != Counter::PageWaits);
        counters.map(|counter| (*counter, self.counter(*counter))).filter(|(_, value)| *value != 0).collect()
    }

    /// How many spans are open.
    pub(crate) fn open_spans(&self) -> usize {
        let map: HashMap<_, InFlightKey, InFlight> = self.ebpf.map("IN_FLIGHT").unwrap().try_into().unwrap();
        map.iter().filter_map(Result::ok).filter(|(_, entry)| entry.state & state::IDLE == 0).count()
    }

    /// How often the program ran and for how long, as the kernel counts it while its statistics are on.
    pub(crate) fn runs(&self) -> (u64, Duration) {
        let program: &UProbe = self.ebpf.program(self.options.program).unwrap().try_into().unwrap();
        let info = program.info().unwrap();
        (info.run_count(), info.run_time())
    }
}

/// The end of a long message.
fn tail(message: &str) -> &str {
    let start = message.len().saturating_sub(2000);
    message.get(start..).unwrap_or(message)
}
