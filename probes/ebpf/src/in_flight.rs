//! Open spans.

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_ktime_get_boot_ns};
use lightfoot_probes_abi::{
    Counter, InFlight, InFlightKey, Layout, Process, RecordKind,
    in_flight::{HeaderName, Slice, state},
    layout::NONE,
    limits::{LEVELS, SMALL_STRUCT},
    process::process_flags,
    record::{Http, VERSION},
};

use crate::{
    counters::count,
    maps::{EMPTY, IN_FLIGHT, KEPT},
    memory::{read_user, read_word, word},
};

const NO_STRING: Slice = Slice { pointer: 0, length: 0 };
/// Words of a record's fixed part.
const RECORD: usize = size_of::<Http>() / 8;

/// The id of the goroutine `g`, or 0 if it cannot be read. (0 is that of the scheduler's own, which runs none of our sites.)
#[inline(always)]
pub fn goid(slot: u32, layout: &Layout, g: u64) -> u64 {
    field(slot, g, layout.g.goid)
}

/// How deep `stack_pointer` lies in the stack of the goroutine `g`, in bytes, or 0 if that cannot be told.
#[inline(never)]
pub fn depth(slot: u32, layout: &Layout, g: u64, stack_pointer: u64) -> u64 {
    let hi = field(slot, g, layout.g.stack_hi);
    if hi == 0 { 0 } else { hi.wrapping_sub(stack_pointer) }
}

/// A word of the goroutine `g`, or 0 if it cannot be read or nobody knows where it is.
#[inline(always)]
fn field(slot: u32, g: u64, offset: u64) -> u64 {
    if offset == NONE { 0 } else { read_word(slot, g.wrapping_add(offset)) }
}

/// Opens a span for a function whose stack pointer at its entry is this one, or returns null and counts the loss.
///
/// What the goroutine has open at the same depth or deeper is dead: those frames are gone, and their end was missed.
/// The first word of the scratch memory is the goroutine's `g.m`, or 0.
#[inline(never)]
pub fn open(g: u64, stack_pointer: u64, tgid: u32, process: &Process, layout: &Layout) -> *mut InFlight {
    let slot = process.counters;
    let goid = goid(slot, layout, g);
    if goid == 0 {
        count(slot, Counter::NoGoroutine);
        return core::ptr::null_mut();
    }
    let mut entry = take(tgid, goid, 0);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    if let Some(outermost) = unsafe { entry.as_mut() } {
        outermost.counters = slot;
        outermost.depth = read_g(outermost, layout, g, stack_pointer);
        if outermost.depth == 0 {
            remove(tgid, goid, 0);
            count(slot, Counter::NoGoroutine);
            return core::ptr::null_mut();
        }
    } else {
        // SAFETY: as above.
        let Some(outermost) = (unsafe { find(tgid, goid, 0).as_mut() }) else {
            count(slot, Counter::InFlightFull);
            return core::ptr::null_mut();
        };
        entry = open_within(outermost, layout, g, stack_pointer);
    }
    // SAFETY: as above.
    if let Some(entry) = unsafe { entry.as_mut() } {
        entry.counters = slot;
        entry.instance = process.instance;
        let header = &mut entry.record.header;
        header.version = VERSION;
        header.tgid = tgid;
        header.goid = goid;
        header.binary = process.binary;
        // SAFETY: without arguments.
        header.start = unsafe { bpf_ktime_get_boot_ns() };
    }
    entry
}

/// The goroutine's open span at this level, or null.
#[inline(never)]
pub fn find(tgid: u32, goid: u64, level: u32) -> *mut InFlight {
    let key = InFlightKey { tgid, level, goid };
    let Some(entry) = IN_FLIGHT.get_ptr_mut(&key) else { return core::ptr::null_mut() };
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    if unsafe { (*entry).state } & state::IDLE != 0 { core::ptr::null_mut() } else { entry }
}

/// The open span of a gRPC client's stream, or null.
#[inline(always)]
pub fn find_stream(tgid: u32, stream: u64) -> *mut InFlight {
    find(tgid, stream, InFlightKey::STREAM)
}

/// Forgets the span of a stream, which has ended.
#[inline(always)]
pub fn forget_stream(tgid: u32, stream: u64) {
    let _ = IN_FLIGHT.remove(&InFlightKey { tgid, level: InFlightKey::STREAM, goid: stream });
}

/// The goroutine's outermost open span whose function starts at this depth or deeper, or null.
#[inline(never)]
pub fn find_from(tgid: u32, goid: u64, depth: u64) -> *mut InFlight {
    let mut level = 0;
    while level < LEVELS as u32 {
        let entry = find(tgid, goid, level);
        // SAFETY: the kernel hands out elements that live at least until the program ends.
        if unsafe { entry.as_ref() }.is_none_or(|entry| entry.depth >= depth) {
            return entry;
        }
        level += 1;
    }
    core::ptr::null_mut()
}

/// The goroutine's innermost open span, or null.
#[inline(never)]
pub fn innermost(tgid: u32, goid: u64) -> *mut InFlight {
    let mut innermost = core::ptr::null_mut();
    let mut level = 0;
    while level < LEVELS as u32 {
        let entry = find(tgid, goid, level);
        if entry.is_null() {
            break;
        }
        innermost = entry;
        level += 1;
    }
    innermost
}

/// Forgets a span that has ended, and those that were open within it: their end was missed.
#[inline(never)]
pub fn forget(entry: &mut InFlight) {
    let header = &entry.record.header;
    let (tgid, goid, level, slot) = (header.tgid, header.goid, entry.level, entry.counters);
    let may_hold_some = level != 0 || entry.state & state::NESTED != 0;
    if entry.state & (state::WITHIN_KEPT | state::KEPT) == state::WITHIN_KEPT {
        keep_within(entry);
    }
    if entry.state & state::KEPT != 0 {
        lay_down(entry);
    } else {
        let _ = IN_FLIGHT.remove(&InFlightKey { tgid, level, goid });
    }
    if may_hold_some {
        abandon(tgid, goid, level + 1, slot);
    }
}

/// The same for the request of a connection that may bring more: its entry is kept for them, if there is room.
#[inline(never)]
pub fn rest(entry: &mut InFlight, process: &Process) {
    if entry.state & state::KEPT == 0 && process.flags & process_flags::CONNECTIONS != 0 {
        keep(entry);
    }
    forget(entry);
}

/// Forgets a connection that has ended. Returns its last request if that is open.
#[inline(never)]
pub fn part(tgid: u32, goid: u64) -> *mut InFlight {
    let key = InFlightKey { tgid, level: 0, goid };
    let Some(entry) = IN_FLIGHT.get_ptr_mut(&key) else { return core::ptr::null_mut() };
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let state = unsafe { (*entry).state };
    let mut level = 0;
    while level < LEVELS as u32 && state & state::KEPT != 0 {
        release(tgid, goid, level);
        if state & state::KEEPS_WITHIN == 0 {
            break;
        }
        level += 1;
    }
    if state & state::IDLE != 0 { core::ptr::null_mut() } else { entry }
}

/// Keeps an entry no longer than its span.
#[inline(never)]
fn release(tgid: u32, goid: u64, level: u32) {
    let key = InFlightKey { tgid, level, goid };
    let _ = KEPT.remove(&key);
    let Some(entry) = IN_FLIGHT.get_ptr_mut(&key) else { return };
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let entry = unsafe { &mut *entry };
    if entry.state & state::IDLE != 0 {
        let _ = IN_FLIGHT.remove(&key);
    } else {
        // Not of one that was removed: another processor may have the element by now.
        entry.state &= !state::KEPT;
    }
}

/// Keeps the entry beyond its span, if there is room.
#[inline(always)]
fn keep(entry: &mut InFlight) {
    let header = &entry.record.header;
    let key = InFlightKey { tgid: header.tgid, level: entry.level, goid: header.goid };
    if KEPT.insert(&key, &0, u64::from(BPF_NOEXIST)).is_ok() {
        entry.state |= state::KEPT;
    }
}

/// The same for one within a kept one.
#[inline(never)]
fn keep_within(entry: &mut InFlight) {
    let header = &entry.record.header;
    let key = InFlightKey { tgid: header.tgid, level: 0, goid: header.goid };
    if let Some(outer) = IN_FLIGHT.get_ptr_mut(&key) {
        keep(entry);
        // SAFETY: the kernel hands out elements that live at least until the program ends.
        unsafe { (*outer).state |= state::KEEPS_WITHIN };
    }
}

/// Has a kept entry wait for the next span.
#[inline(always)]
fn lay_down(entry: &mut InFlight) {
    // Without a span id it is no open span for who looks at it while it is taken up again.
    entry.record.header.span_id = 0;
    entry.state = entry.state & state::KEEPS_WITHIN | state::KEPT | state::IDLE;
}

/// Forgets the open spans at this level and within it, whose end was missed. Returns their number.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn abandon(tgid: u32, goid: u64, level: u32, slot: u32) -> u32 {
    let mut within = 0;
    while within < LEVELS as u32 {
        if !remove(tgid, goid, level + within) {
            break;
        }
        count(slot, Counter::Abandoned);
        within += 1;
    }
    within
}

/// Opens a span of a goroutine that has some, whose scratch memory is free between its own hits.
#[inline(never)]
fn open_within(outer: &mut InFlight, layout: &Layout, g: u64, stack_pointer: u64) -> *mut InFlight {
    outer.state |= state::NESTED;
    let slot = outer.counters;
    let depth = read_g(outer, layout, g, stack_pointer);
    let (tgid, goid) = (outer.record.header.tgid, outer.record.header.goid);
    let m = outer.scratch[0];
    if depth == 0 {
        count(slot, Counter::NoGoroutine);
        return core::ptr::null_mut();
    }
    let level = drop_dead(tgid, goid, depth, stack_pointer, slot);
    if level >= LEVELS as u32 {
        count(slot, Counter::TooDeep);
        return core::ptr::null_mut();
    }
    let is_kept = outer.state & state::KEPT != 0;
    let entry = if is_kept || level == 0 { take(tgid, goid, level) } else { insert(tgid, goid, level) };
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    if let Some(entry) = unsafe { entry.as_mut() } {
        entry.depth = depth;
        entry.level = level;
        entry.scratch[0] = m;
        if is_kept && level != 0 {
            entry.state |= state::WITHIN_KEPT;
        }
    } else {
        count(slot, Counter::InFlightFull);
    }
    entry
}

/// Makes an empty entry, or returns null if there is one or no room.
#[inline(never)]
fn insert(tgid: u32, goid: u64, level: u32) -> *mut InFlight {
    let key = InFlightKey { tgid, level, goid };
    let Some(empty) = EMPTY.get(0) else { return core::ptr::null_mut() };
    if IN_FLIGHT.insert(&key, empty, u64::from(BPF_NOEXIST)).is_err() {
        return core::ptr::null_mut();
    }
    IN_FLIGHT.get_ptr_mut(&key).unwrap_or(core::ptr::null_mut())
}

/// Reads the goroutine's structure and returns how deep the stack pointer lies in its stack, or 0 if that cannot be told.
/// Leaves `g.m`, or 0, as the first word of the scratch memory.
#[inline(never)]
fn read_g(entry: &mut InFlight, layout: &Layout, g: u64, stack_pointer: u64) -> u64 {
    let size = layout.g.size as usize;
    let scratch = entry.scratch.as_mut_ptr();
    // SAFETY: the scratch memory has `SMALL_STRUCT` bytes.
    unsafe {
        if size > SMALL_STRUCT || !read_user(entry.counters, scratch.cast(), size, g) {
            return 0;
        }
        let hi = word(scratch, SMALL_STRUCT, layout.g.stack_hi).unwrap_or_default();
        *scratch = word(scratch, SMALL_STRUCT, layout.g.m).unwrap_or_default();
        if hi == 0 { 0 } else { hi.wrapping_sub(stack_pointer) }
    }
}

/// Forgets the spans that a stack pointer at this depth proves dead. Returns how many are left.
#[inline(never)]
fn drop_dead(tgid: u32, goid: u64, depth: u64, stack_pointer: u64, slot: u32) -> u32 {
    let mut left = 0;
    let mut level = 0;
    while level < LEVELS as u32 {
        // SAFETY: the kernel hands out elements that live at least until the program ends.
        let Some(entry) = (unsafe { find(tgid, goid, level).as_ref() }) else { break };
        level += 1;
        if left == level - 1 && has_frame(entry, depth, stack_pointer) {
            left = level;
        } else if remove(tgid, goid, level - 1) {
            count(slot, Counter::Abandoned);
        }
    }
    left
}

/// Whether the span's function still has its frame on the stack, where a stack pointer lies at this depth.
///
/// The end of a client's span can be missed while its caller is new. Then its return address may tell that it is gone.
#[inline(always)]
pub fn has_frame(entry: &InFlight, depth: u64, stack_pointer: u64) -> bool {
    if entry.depth >= depth {
        return false;
    }
    let frame = stack_pointer.wrapping_add(depth).wrapping_sub(entry.depth);
    entry.caller == 0 || read_word(entry.counters, frame) == entry.caller
}

/// Forgets one open span.
#[inline(never)]
fn remove(tgid: u32, goid: u64, level: u32) -> bool {
    let key = InFlightKey { tgid, level, goid };
    let Some(entry) = IN_FLIGHT.get_ptr_mut(&key) else { return false };
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let entry = unsafe { &mut *entry };
    if entry.state & state::IDLE != 0 {
        return false;
    }
    if entry.state & state::KEPT != 0 {
        lay_down(entry);
        return true;
    }
    IN_FLIGHT.remove(&key).is_ok()
}

/// An empty entry, kept or new, or null if there is an open span or no room.
#[inline(never)]
fn take(tgid: u32, goid: u64, level: u32) -> *mut InFlight {
    let key = InFlightKey { tgid, level, goid };
    match IN_FLIGHT.get_ptr_mut(&key) {
        Some(entry) => wake(entry),
        None => insert(tgid, goid, level),
    }
}

/// Empties an entry that rests, but for what all requests of a connection have in common. Null if it does not rest.
#[inline(always)]
fn wake(place: *mut InFlight) -> *mut InFlight {
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let entry = unsafe { &mut *place };
    if entry.state & state::IDLE == 0 {
        return core::ptr::null_mut();
    }
    if entry.record.header.kind != RecordKind::HttpServer as u8 {
        // Something else was called from the connection's goroutine, and has its strings there.
        entry.peer_length = 0;
    }
    entry.state &= state::KEPT | state::KEEPS_WITHIN;
    entry.response = 0;
    entry.caller = 0;
    entry.request = 0;
    entry.request_line = NO_STRING;
    entry.target = NO_STRING;
    entry.host = NO_STRING;
    entry.headers = [NO_STRING; HeaderName::COUNT];
    entry.route_parts = 0;
    entry.context = [0; 2];
    entry.young_goids = [0; 3];
    entry.strings_length = 0;
    let record = (&raw mut entry.record).cast::<u64>();
    let mut word = 0;
    while word < RECORD {
        // SAFETY: within the record. Volatile, or LLVM makes it a call of a function that sets byte by byte.
        unsafe { record.add(word).write_volatile(0) };
        word += 1;
    }
    place
}
