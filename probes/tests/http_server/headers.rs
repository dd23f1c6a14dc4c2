//! The values of headers that a process is asked for: what they are, what they cost, and their bounds.

use aya::sys::{Stats, enable_stats};
use lightfoot::attach::wanted_headers;
use lightfoot_probes_abi::process::process_flags;
use lightfoot_probes_abi::record::{CUT_HEADERS, http_flags};
use lightfoot_probes_abi::user::Record;
use lightfoot_probes_abi::{Counter, Process, WantedHeaders, limits};
use lightfoot_tests::go::VERSIONS;
use lightfoot_tests::live::{Client, assert_settles};

use crate::layout::End;
use crate::watch::{Options, Watch};
use crate::{ALWAYS_ON, alone, process, selected, send, watched};

/// Asks for headers, of which the first is shown.
fn wanted(names: &[&str]) -> WantedHeaders {
    let (shown, read) = names.split_first().unwrap();
    wanted_headers(&[(*shown).to_owned()], read.iter().copied())
}

fn asking() -> Process {
    let process = process(ALWAYS_ON);
    Process { flags: process.flags | process_flags::HEADERS, ..process }
}

/// The values in a record as `NAME=VALUE`, with `+` for a further value, `!` for one that is shown and `~` for one that is cut.
fn values(record: &[u8]) -> Vec<String> {
    let Record::HttpServer(_, texts) = Record::parse(record).unwrap() else { panic!() };
    let value = |value: lightfoot_probes_abi::HeaderValue<'_>| {
        let [name, text] = [value.name, value.value].map(String::from_utf8_lossy);
        let name = if name.is_empty() { "+".into() } else { name };
        let mark = |is: bool, mark| if is { mark } else { "" };
        format!("{name}={text}{}{}", mark(value.is_shown, "!"), mark(value.is_cut, "~"))
    };
    texts.headers().map(value).collect()
}

/// What is not asked for costs nothing more. What is takes reads: of the map anew, of each name of a length that is wanted, and three of
/// each header that is found; and no further trap.
#[test]
fn what_is_asked_for_is_read_and_nothing_else() {
    let _alone = alone();
    let _statistics = enable_stats(Stats::RunTime).unwrap();
    let request = |number: usize| {
        format!(
            "GET /body/1 HTTP/1.1\r\nHost: x\r\nAccept: a\r\nAccept: b\r\nX-Request-Id: {number}\r\nX-Other-Name: 7\r\n\r\n"
        )
        .into_bytes()
    };
    for version in VERSIONS {
        let Some(mut watch) = Watch::load(Options { count_reads: true, ..Options::default() }) else {
            return;
        };
        let (server, facts) = selected(&mut watch, version, End::FinishRequest, ALWAYS_ON);
        watch.attach(&server.binary, server.pid(), &facts.sites);
        let mut cost = |asks: bool, names: &[&str]| {
            watch.select(server.pid(), if asks { asking() } else { process(ALWAYS_ON) });
            watch.array("WANTED_HEADERS").set(1, &wanted(names), 0).unwrap();
            let (before, runs) = (watch.counter(Counter::UserReads), watch.runs().0);
            let (records, connections) = watch.collect(50, || send(server.address, 1, 50, request));
            assert_eq!(records.len(), 50);
            // A server notices the end of a connection a moment later.
            assert_settles(&(2 * 50 + connections), || watch.runs().0 - runs);
            let reads = watch.counter(Counter::UserReads) - before;
            (reads, records.iter().map(|record| values(record)).collect::<Vec<_>>())
        };
        let (usual, values) = cost(false, &["X-Request-Id"]);
        assert!(values.iter().all(Vec::is_empty), "{values:?}");
        // The map, whose few headers are in one group.
        let (none, values) = cost(true, &["X-Absent"]);
        assert!(values.iter().all(Vec::is_empty), "{values:?}");
        assert_eq!(none - usual, 2 * 50, "{version}");
        // Two names are as long, one header has two values.
        let (some, values) = cost(true, &["X-Request-Id", "Accept"]);
        for (number, values) in values.iter().enumerate() {
            let mut values = values.clone();
            // A map has no order, but the values of a header have.
            if values[0].starts_with('A') {
                values.rotate_left(2);
            }
            assert_eq!(values, [format!("X-Request-Id={number}!"), "Accept=a".into(), "+=b".into()]);
        }
        assert_eq!(some - none, (3 + 2 * 3 + 2) * 50, "{version}");
        assert_eq!(watch.counter(Counter::ReadFault), 0);
        drop(server.stop());
    }
}

#[test]
fn values_are_cut_and_left_out_at_their_limits() {
    let _alone = alone();
    let Some((mut watch, server)) = watched(Options::default(), ALWAYS_ON) else { return };
    let longest = "X".repeat(limits::HEADER_NAME);
    let names: Vec<_> = (0..limits::WANTED_NAMES - 1).map(|number| format!("X-{number}")).collect();
    let asked: Vec<_> = [&*longest].into_iter().chain(names.iter().map(String::as_str)).collect();
    // Go spells it so.
    let spelled = format!("X{}", longest[1..].to_lowercase());
    let asked: Vec<_> = asked.iter().map(|name| if *name == longest { &*spelled } else { name }).collect();
    watch.array("WANTED_HEADERS").set(1, &wanted(&asked), 0).unwrap();
    watch.select(server.pid(), asking());
    let value = "v".repeat(limits::HEADER_VALUE);
    let header = |name: &str, value: &str| format!("{name}: {value}\r\n");
    let repeated = |count: usize| header("X-0", "a").repeat(count);
    let full: String = names.iter().map(|name| header(name, &value)).collect();
    let many: String = (0..400).map(|number| header(&format!("Y-{number}"), "")).collect();
    let alike: String = (10..100).map(|number| header(&format!("{number}X"), "")).collect();
    let requests = [
        (header(&longest, "short"), vec![format!("{spelled}=short!")], 0),
        (header(&longest, &value), vec![format!("{spelled}={value}!")], 0),
        (header("X-0", &format!("{value}w")), vec![format!("X-0={value}~")], 1),
        (
            repeated(limits::HEADER_VALUES),
            vec!["X-0=a", "+=a", "+=a", "+=a"].into_iter().map(str::to_owned).collect(),
            0,
        ),
        (
            repeated(limits::HEADER_VALUES + 1),
            vec!["X-0=a", "+=a", "+=a", "+=a~"].into_iter().map(str::to_owned).collect(),
            1,
        ),
        (header("X-0", ""), vec!["X-0=".to_owned()], 0),
    ];
    let mut client = Client::tcp(server.address);
    let mut exchange = |headers: &str| {
        let request = format!("GET /body/1 HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        let (records, ()) = watch.collect(1, || _ = client.exchange(request.as_bytes()).unwrap());
        let Record::HttpServer(record, _) = Record::parse(&records[0]).unwrap() else { panic!() };
        (values(&records[0]), record, watch.counter(Counter::CutString), watch.counter(Counter::HeaderBound))
    };
    let mut cut = 0;
    for (headers, expected, is_cut) in requests {
        let (values, record, counted, _) = exchange(&headers);
        assert_eq!(values, expected);
        assert_eq!((counted - cut, record.header.cut), (is_cut, 0), "{headers}");
        cut = counted;
    }
    // Three of the longest values have room, whatever else is short.
    let (values, record, counted, bound) = exchange(&full);
    assert_eq!((values.len(), counted - cut), (3, names.len() as u64 - 3));
    assert_eq!((record.header.cut, bound), (CUT_HEADERS, 0));
    assert_ne!(record.flags & http_flags::HEADERS, 0);
    // Beyond the bounds of a map a header may be found or not.
    let (_, _, counted, bound) = exchange(&(many + &header("X-0", "a")));
    assert_eq!(bound, 2, "the search for a traceparent has found so, too");
    let (_, _, _, bound) = exchange(&(alike + &header("X-0", "a")));
    assert!(bound > 2, "{bound}");
    assert_eq!(counted, cut + names.len() as u64 - 3);
    assert_eq!(watch.counter(Counter::ReadFault), 0);
    drop(server.stop());
}
