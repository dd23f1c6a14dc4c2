//! The maps, which `probes/abi` documents, and the constants that the agent sets before it loads the object.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use lightfoot_probes_abi::{
    Connected, ConnectedKey, ContextKey, ContextSet, Counters, Holder, HolderKey, InFlight, InFlightKey,
    Layout, PidNamespace, Process, Settings, Site, WantedHeaders, grpc::Messages,
};

#[map]
pub static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
#[map]
pub static PROCESSES: HashMap<u32, Process> = HashMap::with_max_entries(1024, 0);
#[map]
pub static WANTED_HEADERS: Array<WantedHeaders> = Array::with_max_entries(512, 0);
#[map]
pub static LAYOUTS: Array<Layout> = Array::with_max_entries(256, 0);
#[map]
pub static SITES: HashMap<Site, u64> = HashMap::with_max_entries(4096, 0);
#[map]
pub static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(512, 0);
#[map]
pub static IN_FLIGHT: HashMap<InFlightKey, InFlight> = HashMap::with_max_entries(8192, 0);
#[map]
pub static KEPT: HashMap<InFlightKey, u32> = HashMap::with_max_entries(4096, 0);
#[map]
pub static CONTEXTS: Array<ContextSet> = Array::with_max_entries(4096, 0);
#[map]
pub static HOLDERS: HashMap<HolderKey, Holder> = HashMap::with_max_entries(16384, 0);
#[map]
pub static ITABS: LruHashMap<ContextKey, Holder> = LruHashMap::with_max_entries(4096, 0);
#[map]
pub static CALLERS: HashMap<Site, u64> = HashMap::with_max_entries(4096, 0);
#[map]
pub static STREAM_ENDS: LruHashMap<ContextKey, u64> = LruHashMap::with_max_entries(1024, 0);
#[map]
pub static MESSAGES: LruHashMap<ContextKey, Messages> = LruHashMap::with_max_entries(4096, 0);
/// Of one element where nobody joins.
#[map]
pub static CONNECTED: LruHashMap<ConnectedKey, Connected> = LruHashMap::with_max_entries(4096, 0);
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);
#[map]
pub static PROCESS_EVENTS: RingBuf = RingBuf::with_byte_size(16 << 10, 0);

/// One element of zeros, from which entries of `IN_FLIGHT` are made: they are too large for the stack.
#[map]
pub static EMPTY: Array<InFlight> = Array::with_max_entries(1, 0);
/// As many programs at once put a connection together.
#[map]
pub static CONNECTING: HashMap<u64, Connected> = HashMap::with_max_entries(256, 0);
/// The same as `EMPTY` for what is put together.
#[map]
pub static NOT_CONNECTED: Array<Connected> = Array::with_max_entries(1, 0);

#[unsafe(no_mangle)]
static PID_NAMESPACE: PidNamespace = PidNamespace { device: 0, inode: 0 };
#[unsafe(no_mangle)]
static COUNT_READS: u32 = 0;
#[unsafe(no_mangle)]
static MAY_SLEEP: u32 = 0;
#[unsafe(no_mangle)]
static CONTEXTS_MASK: u32 = 4095;

/// The PID namespace that process ids are told in.
#[inline(always)]
pub fn pid_namespace() -> PidNamespace {
    // SAFETY: a static. Volatile, because the agent sets it after compilation; the verifier then sees the value.
    unsafe { (&raw const PID_NAMESPACE).read_volatile() }
}

/// One less than the number of elements of `CONTEXTS`, which is a power of two.
#[inline(always)]
pub fn contexts_mask() -> u32 {
    // SAFETY: as above.
    unsafe { (&raw const CONTEXTS_MASK).read_volatile() }
}

/// Whether this is a test that counts reads of user memory.
#[inline(always)]
pub fn counts_reads() -> bool {
    // SAFETY: as above.
    unsafe { (&raw const COUNT_READS).read_volatile() != 0 }
}

/// Whether the program that is loaded may wait for memory: `on_site_multi` and `on_site_grpc_multi` alone.
#[inline(always)]
pub fn may_sleep() -> bool {
    // SAFETY: as above.
    unsafe { (&raw const MAY_SLEEP).read_volatile() != 0 }
}
