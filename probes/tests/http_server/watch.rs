//! Loads the object, attaches it and reads what it sends.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{Array, HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::UProbe;
use aya::programs::uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeScope};
use aya::{Ebpf, EbpfLoader};
use lightfoot_probes_abi::{Cookie, Counter, Counters, InFlight, InFlightKey, Layout, Process, Settings};

/// Bytes of the ring buffer in tests.
pub const RING: u32 = 4 << 20;
/// The element of `COUNTERS` that the process under test gets.
const SLOT: u32 = 1;
const PROGRAM: &str = "on_site_multi";

/// The loaded programs.
pub struct Watch {
    ebpf: Ebpf,
    events: RingBuf<MapData>,
}

impl Watch {
    /// Loads the object, or says why that is not possible on this machine.
    pub fn load(count_reads: bool) -> Result<Self, String> {
        let object = lightfoot_probes::OBJECT.map_err(|absent| absent.to_string())?;
        let count_reads = u32::from(count_reads);
        let mut ebpf = EbpfLoader::new()
            .override_global("COUNT_READS", &count_reads, true)
            .override_global("MAY_SLEEP", &1_u32, true)
            .map_max_entries("EVENTS", RING)
            .load(object)
            .map_err(|why| format!("{why:?}"))?;
        let program: &mut UProbe = ebpf.program_mut(PROGRAM).unwrap().try_into().unwrap();
        program.load().map_err(|why| format!("{why:?}"))?;
        println!("verified: {:?}", program.info().unwrap().verified_instruction_count());
        let mut settings: Array<_, Settings> = ebpf.map_mut("SETTINGS").unwrap().try_into().unwrap();
        let wake_bytes = u64::from(RING / 4);
        settings.set(0, &Settings { enabled: 1, reserved: 0, wake_bytes }, 0).unwrap();
        let events = RingBuf::try_from(ebpf.take_map("EVENTS").unwrap()).unwrap();
        Ok(Self { ebpf, events })
    }

    /// Describes a binary under its id, which is the index of its layout here.
    pub fn add_layout(&mut self, id: u32, layout: Layout) {
        let mut layouts: Array<_, Layout> = self.ebpf.map_mut("LAYOUTS").unwrap().try_into().unwrap();
        layouts.set(id, &layout, 0).unwrap();
    }

    /// Selects a process.
    pub fn select(&mut self, tgid: u32, process: Process) {
        let mut processes: HashMap<_, u32, Process> =
            self.ebpf.map_mut("PROCESSES").unwrap().try_into().unwrap();
        processes.insert(&tgid, &Process { counters: SLOT, ..process }, 0).unwrap();
    }

    /// Attaches to all sites of a file with one link.
    pub fn attach(&mut self, path: &Path, sites: &[(u64, Cookie)]) {
        let points = sites.iter().map(|(offset, cookie)| UProbeAttachPoint {
            location: UProbeAttachLocation::AbsoluteOffset(*offset),
            cookie: Some(cookie.0),
        });
        let program: &mut UProbe = self.ebpf.program_mut(PROGRAM).unwrap().try_into().unwrap();
        program.attach(points, path, UProbeScope::AllProcesses).unwrap();
    }

    /// Hands each waiting record to `visit`.
    pub fn drain(&mut self, mut visit: impl FnMut(&[u8])) {
        while let Some(record) = self.events.next() {
            visit(&record);
        }
    }

    /// Collects records while `work` is done and for up to ten seconds after, until there are `wanted`.
    pub fn collect<T: Send>(&mut self, wanted: usize, work: impl FnOnce() -> T + Send) -> (Vec<Vec<u8>>, T) {
        let mut records = Vec::new();
        let done = thread::scope(|scope| {
            let worker = scope.spawn(work);
            while !worker.is_finished() {
                self.drain(|record| records.push(record.to_vec()));
                thread::sleep(Duration::from_millis(5));
            }
            worker.join().unwrap()
        });
        let deadline = Instant::now() + Duration::from_secs(10);
        while records.len() < wanted && Instant::now() < deadline {
            self.drain(|record| records.push(record.to_vec()));
            thread::sleep(Duration::from_millis(5));
        }
        (records, done)
    }

    /// A counter of the process under test, or of no process.
    pub fn counter(&self, counter: Counter) -> u64 {
        let slot = if counter == Counter::UnselectedProcess { 0 } else { SLOT };
        let counters: PerCpuArray<_, Counters> = self.ebpf.map("COUNTERS").unwrap().try_into().unwrap();
        counters.get(&slot, 0).unwrap().iter().map(|counters| counters.0[counter as usize]).sum()
    }

    /// The counters that are not 0, but for waits, which are the machine's business.
    pub fn counters(&self) -> Vec<(Counter, u64)> {
        let values = Counter::ALL
            .iter()
            .filter(|counter| **counter != Counter::PageWaits)
            .map(|counter| (*counter, self.counter(*counter)));
        values.filter(|(_, value)| *value != 0).collect()
    }

    /// How many spans are open.
    pub fn open_spans(&self) -> usize {
        let map: HashMap<_, InFlightKey, InFlight> = self.ebpf.map("IN_FLIGHT").unwrap().try_into().unwrap();
        map.keys().count()
    }

    /// How often the program ran and for how long, as the kernel counts it while its statistics are on.
    pub fn runs(&self) -> (u64, Duration) {
        let program: &UProbe = self.ebpf.program(PROGRAM).unwrap().try_into().unwrap();
        let info = program.info().unwrap();
        (info.run_count(), info.run_time())
    }
}
