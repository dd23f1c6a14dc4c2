//! What `status` shows to people. All texts come from strangers.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anstyle::Style;

use crate::cli::report::{BAD, DEAR, GOOD, HEADING, QUIET};
use crate::escape::printable;
use crate::status::{Delivery, MapFill, Memory, Operation, Process, Refused, Ring, Status, TrapPrice};

/// Counts of processes that are older, in seconds, are told to be.
const FRESH: f64 = 1.0;

/// Writes all of it.
pub(super) fn write(status: &Status, page: &mut impl Write) -> io::Result<()> {
    let Status { version, pid, started, now, .. } = status;
    let [version, started, now] = [version, started, now].map(|text| printable(text));
    writeln!(page, "{HEADING}lightfoot {version}{HEADING:#}, process {pid}, since {started}; now {now}")?;
    if !status.ready {
        writeln!(page, "{DEAR}the processes that were there at its start are still looked at{DEAR:#}")?;
    }
    if status.paused != "nothing" {
        writeln!(page, "{DEAR}paused: {}{DEAR:#}", printable(&status.paused))?;
    }
    match status.counts_age_seconds {
        None => writeln!(page, "{DEAR}it is busy, and has not said anything of processes yet{DEAR:#}")?,
        Some(age) if age >= FRESH => {
            writeln!(page, "{DEAR}it is busy: counts of processes are {age:.1} s old{DEAR:#}")?;
        }
        Some(_) => {}
    }
    delivery(&status.delivery, &status.counts, page)?;
    fills(status, page)?;
    memory(&status.memory, page)?;
    if status.processes.is_empty() {
        let because = status.because.as_deref().map(because).unwrap_or_default();
        writeln!(page, "no process is watched{because}")?;
    }
    status.processes.iter().try_for_each(|one| process(one, &status.trap_price, page))?;
    for Refused { pid, executable, time, reason } in &status.refused {
        let [path, reason, time] = [executable, reason, time].map(|text| printable(text));
        writeln!(page, "{BAD}✗{BAD:#} {pid} {path}: {reason} {QUIET}({time}){QUIET:#}")?;
    }
    if status.refused_forgotten != 0 {
        writeln!(
            page,
            "{QUIET}{} more that were refused before are forgotten{QUIET:#}",
            status.refused_forgotten
        )?;
    }
    if !status.counts.is_empty() {
        writeln!(page, "counts")?;
    }
    status.counts.iter().try_for_each(|(name, count)| writeln!(page, "  {:<28} {count:>12}", printable(name)))
}

fn delivery(delivery: &Delivery, counts: &BTreeMap<String, u64>, page: &mut impl Write) -> io::Result<()> {
    let of = |name: &str| counts.get(name).copied().unwrap_or(0);
    let why = delivery.because.as_deref().map(because).unwrap_or_default();
    if let Some(endpoint) = &delivery.endpoint {
        let (style, state) = state(delivery);
        let Delivery { waiting_spans, waiting_bytes, max_bytes, .. } = delivery;
        writeln!(
            page,
            "{} {style}{state}{style:#}: {} exported{why}, {waiting_spans} wait ({waiting_bytes} of {max_bytes} bytes)",
            printable(endpoint),
            of("spans_exported")
        )?;
    }
    if delivery.printed {
        writeln!(page, "spans are printed: {} so far{why}", of("spans_printed"))?;
    }
    if delivery.endpoint.is_none() && !delivery.printed {
        writeln!(page, "{DEAR}spans are thrown away, as was asked for: {}{DEAR:#}", of("spans_discarded"))?;
    }
    match &delivery.last_error {
        // That is said above.
        Some(_) if delivery.refuses => Ok(()),
        Some(error) => writeln!(page, "  the last failure: {}", printable(error)),
        None => Ok(()),
    }
}

/// What the endpoint does with spans.
fn state(delivery: &Delivery) -> (Style, String) {
    let said = delivery.last_error.as_deref().map(|error| format!(" ({})", printable(error)));
    match delivery {
        Delivery { refuses: true, .. } => {
            (BAD, format!("refuses what it is sent{}", said.unwrap_or_default()))
        }
        Delivery { down: true, .. } => (BAD, "is down".to_owned()),
        _ => (GOOD, "takes spans".to_owned()),
    }
}

/// Why a number before it is zero.
fn because(reason: &str) -> String {
    format!(", because {}", printable(reason))
}

/// How full ring and maps are.
fn fills(status: &Status, page: &mut impl Write) -> io::Result<()> {
    let Ring { size_bytes, last_bytes, most_bytes } = status.ring;
    if size_bytes == 0 {
        return Ok(()); // An older agent does not say it.
    }
    write!(page, "ring buffer: at most {most_bytes} of {size_bytes} bytes, {last_bytes} at the last read")?;
    writeln!(page, "{}", if most_bytes == 0 { ", for no span has come yet" } else { "" })?;
    let map = |MapFill { name, entries, limit }: &MapFill| format!("{} {entries}/{limit}", printable(name));
    let maps: Vec<_> = status.maps.iter().map(map).collect();
    let maps = if maps.is_empty() { "nothing is known of them yet".to_owned() } else { maps.join(", ") };
    writeln!(page, "maps: {maps}")
}

/// What the agent takes of memory, as far as it is known.
fn memory(memory: &Memory, page: &mut impl Write) -> io::Result<()> {
    let Memory { resident_bytes, map_bytes } = *memory;
    let parts = [(resident_bytes, "resident"), (map_bytes, "of BPF maps")];
    let told = parts.iter().filter_map(|(bytes, of)| Some(format!("{} KiB {of}", (*bytes)? / 1024)));
    let told: Vec<_> = told.collect();
    if told.is_empty() { Ok(()) } else { writeln!(page, "memory: {}", told.join(", ")) }
}

fn process(process: &Process, price: &TrapPrice, page: &mut impl Write) -> io::Result<()> {
    let style = if process.lost != 0 {
        BAD
    } else if process.spans == 0 {
        DEAR
    } else {
        GOOD
    };
    let service = process.service.as_deref().unwrap_or("(it ended before its service was known)");
    write!(page, "{style}●{style:#} {HEADING}{}{HEADING:#}", printable(service))?;
    let rule = process.rule.as_deref().map(|rule| format!("; {}", printable(rule))).unwrap_or_default();
    writeln!(page, "  {} {}{QUIET}{rule}{QUIET:#}", process.pid, printable(&process.executable))?;
    versions(process, page)?;
    let Process { spans, lost, open, sites, .. } = process;
    write!(page, "    {spans} spans, {lost} lost, {open} open, {sites} places probed")?;
    match &process.because {
        Some(because) => writeln!(page, "; none, because {}", printable(because))?,
        None => writeln!(page)?,
    }
    cost(process, price, page)?;
    parents(&process.parents, page)?;
    process.operations.iter().try_for_each(|one| operation(one, page))
}

/// What it has cost the process to be watched, by estimate.
fn cost(process: &Process, price: &TrapPrice, page: &mut impl Write) -> io::Result<()> {
    let Process { estimated_traps, estimated_trap_seconds, .. } = process;
    if *estimated_traps == 0 {
        return Ok(()); // There are no spans either, and that has its reason.
    }
    let TrapPrice { nanoseconds, source } = price;
    let milliseconds = estimated_trap_seconds * 1e3;
    writeln!(
        page,
        "    estimated: {estimated_traps} traps, {milliseconds:.3} ms at {nanoseconds:.0} ns each ({})",
        printable(source)
    )
}

/// By which rules its spans were linked to their parents.
fn parents(parents: &BTreeMap<String, u64>, page: &mut impl Write) -> io::Result<()> {
    let told = parents.iter().filter(|(_, count)| **count != 0);
    let told: Vec<_> = told.map(|(rule, count)| format!("{count} {}", printable(rule))).collect();
    if told.is_empty() { Ok(()) } else { writeln!(page, "    parents: {}", told.join(", ")) }
}

/// What it was built from.
fn versions(process: &Process, page: &mut impl Write) -> io::Result<()> {
    let Some(go) = &process.go else { return Ok(()) };
    let modules = process.modules.iter().map(|(path, version)| format!(", {path} {version}"));
    writeln!(page, "    {QUIET}{}{QUIET:#}", printable(&format!("{go}{}", modules.collect::<String>())))
}

fn operation(operation: &Operation, page: &mut impl Write) -> io::Result<()> {
    let [title, reasons] = [&operation.title, &operation.reasons.join("; ")].map(|text| printable(text));
    match operation.state.as_str() {
        "watched" => writeln!(page, "    {GOOD}✓{GOOD:#} {title}, traps: {}", operation.traps),
        "off" => writeln!(page, "    {QUIET}– {title}: off, for {reasons}{QUIET:#}"),
        "left" => writeln!(page, "    – {title}: {reasons}"),
        _ => writeln!(page, "    {BAD}✗{BAD:#} {title}: {reasons}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_stranger_steers_the_terminal() {
        let evil = || "\x1b[2J\u{202e}evil".to_owned();
        let operation = |state: &str| Operation {
            title: evil(),
            state: state.to_owned(),
            reasons: vec![evil()],
            ..Operation::default()
        };
        let process = Process {
            executable: evil(),
            service: Some(evil()),
            rule: Some(evil()),
            go: Some(evil()),
            modules: [(evil(), evil())].into(),
            parents: [(evil(), 1)].into(),
            estimated_traps: 1,
            because: Some(evil()),
            operations: ["watched", "off", "left", "cannot", &evil()].map(operation).into(),
            ..Process::default()
        };
        let status = Status {
            version: evil(),
            started: evil(),
            now: evil(),
            paused: evil(),
            processes: vec![process],
            refused: vec![Refused { executable: evil(), time: evil(), reason: evil(), ..Refused::default() }],
            refused_forgotten: 3,
            delivery: Delivery {
                endpoint: Some(evil()),
                because: Some(evil()),
                last_error: Some(evil()),
                printed: true,
                ..Delivery::default()
            },
            trap_price: TrapPrice { source: evil(), ..TrapPrice::default() },
            ring: Ring { size_bytes: 1, ..Ring::default() },
            maps: vec![MapFill { name: evil(), ..MapFill::default() }],
            counts: [(evil(), 7)].into(),
            ..Status::default()
        };
        let mut page = anstream::StripStream::new(Vec::new());
        write(&status, &mut page).unwrap();
        let page = String::from_utf8(page.into_inner()).unwrap();
        assert_eq!(page.matches("u{202e}evil").count(), 31, "{page}");
        assert!(!page.contains('\u{202e}') && page.contains("\\u{1b}[2J"), "{page}");
        assert!(page.contains("3 more that were refused before are forgotten"), "{page}");
    }

    #[test]
    fn an_endpoint_is_told_to_do_what_it_does() {
        let page = |down, refuses, last_error: Option<&str>| {
            let (endpoint, last_error) = (Some("http://host".to_owned()), last_error.map(str::to_owned));
            let delivery = Delivery { endpoint, down, refuses, last_error, ..Delivery::default() };
            let mut page = anstream::StripStream::new(Vec::new());
            write(&Status { delivery, ..Status::default() }, &mut page).unwrap();
            String::from_utf8(page.into_inner()).unwrap()
        };
        let failed = |page: &str| page.contains("the last failure: ");
        let takes = page(false, false, Some("no answer"));
        assert!(takes.contains("http://host takes spans: 0 exported, ") && failed(&takes), "{takes}");
        let down = page(true, false, Some("no answer"));
        assert!(down.contains("http://host is down: ") && failed(&down), "{down}");
        let refuses = page(true, true, Some("HTTP 401: \x1b[2J"));
        let said = "http://host refuses what it is sent (HTTP 401: \\u{1b}[2J): 0 exported, ";
        assert!(refuses.contains(said) && !failed(&refuses), "{refuses}");
        let silent = page(true, true, None);
        assert!(silent.contains("http://host refuses what it is sent: "), "{silent}");
    }

    #[test]
    fn each_zero_is_told_with_its_reason() {
        let because = |reason: &str| Some(reason.to_owned());
        let delivery = |endpoint: Option<&str>, printed| Delivery {
            endpoint: endpoint.map(str::to_owned),
            printed,
            because: because("of rain"),
            ..Delivery::default()
        };
        for delivery in [delivery(Some("http://host"), false), delivery(None, true)] {
            let status = Status {
                delivery,
                because: because("of snow"),
                ring: Ring { size_bytes: 1, ..Ring::default() },
                ..Status::default()
            };
            let mut page = anstream::StripStream::new(Vec::new());
            write(&status, &mut page).unwrap();
            let page = String::from_utf8(page.into_inner()).unwrap();
            assert!(
                page.contains("0 exported, because of rain") || page.contains("0 so far, because of rain")
            );
            assert!(page.contains("no process is watched, because of snow\n"), "{page}");
            assert!(
                page.contains("for no span has come yet") && page.contains("maps: nothing is known"),
                "{page}"
            );
        }
    }

    #[test]
    fn a_busy_agent_is_told_to_be() {
        let of = |counts_age_seconds| {
            let status =
                Status { counts_age_seconds, ready: true, paused: "nothing".to_owned(), ..Status::default() };
            let mut page = anstream::StripStream::new(Vec::new());
            write(&status, &mut page).unwrap();
            String::from_utf8(page.into_inner()).unwrap()
        };
        assert!(of(None).contains("has not said anything of processes yet"), "{}", of(None));
        assert!(of(Some(2.5)).contains("it is busy: counts of processes are 2.5 s old"), "{}", of(Some(2.5)));
        assert!(!of(Some(0.5)).contains("busy"), "{}", of(Some(0.5)));
    }
}
