//! What is told of an agent as metrics: one table of names, units and meanings, whose values all come from a [`Status`].
//!
//! `docs/metrics.md` has it as a page. Each counter is in it, losses all as one metric by their cause.

use std::collections::BTreeMap;
use std::fmt;

use super::{MapFill, Process, Status};
use crate::counters::{self, Counted};

/// A metric.
#[derive(Clone, Debug)]
pub struct Metric {
    /// Its name in OpenTelemetry.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
    /// Its unit, as UCUM has it.
    pub unit: &'static str,
    /// What tells its values apart.
    pub attributes: &'static [&'static str],
    /// One sentence, without its full stop.
    pub help: String,
    source: Source,
}

/// What the values of a metric are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They only grow, from 0 at the agent's start.
    Counter,
    /// They go up and down.
    Gauge,
}

/// A value with what tells it from others of the metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Names and values.
    pub attributes: Vec<(&'static str, String)>,
    /// The value.
    pub value: Value,
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Of a counter.
    Count(u64),
    /// Of a gauge.
    Level(f64),
}

#[derive(Clone, Debug)]
enum Source {
    /// A counter, by its name.
    Count(&'static str),
    /// All counters of what was lost.
    Losses,
    /// What became of the spans of each service.
    Services,
    /// How full maps are, or may be.
    Maps(fn(&MapFill) -> usize),
    /// The traps that counts tell of.
    Traps,
    /// How spans were linked to their parents.
    Parents,
    /// What the watched processes were built from.
    Versions,
    Level(fn(&Status) -> Option<f64>),
    Version,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        })
    }
}

/// A gauge: name, unit, help, value.
type Level = (&'static str, &'static str, &'static str, fn(&Status) -> Option<f64>);

const LEVELS: &[Level] = &[
    ("uptime", "s", "For how long the agent has run", |status| Some(status.uptime_seconds)),
    ("ready", "1", "Whether all processes that were there at the start have been looked at", |status| {
        Some(flag(status.ready))
    }),
    ("paused", "1", "Whether watching is paused, for some programs or for all", |status| {
        Some(flag(status.paused != "nothing"))
    }),
    ("processes.watched", "{process}", "Processes that are watched", |status| {
        Some(number(status.processes.len()))
    }),
    // Of those that are forgotten nobody knows whether they still run.
    (
        "processes.refused",
        "{process}",
        "Processes that run, were to be watched and cannot be, 1,024 at most",
        |status| Some(number(status.refused.len())),
    ),
    ("processes.silent", "{process}", "Processes that are watched and have no spans yet", |status| {
        Some(number(status.processes.iter().filter(|process| process.spans == 0).count()))
    }),
    ("spans.open", "{span}", "Spans that are open", |status| {
        Some(wide(status.processes.iter().map(|process| process.open).sum()))
    }),
    ("sites", "{site}", "Places that are probed, of each process that is watched", |status| {
        Some(number(status.processes.iter().map(|process| process.sites).sum()))
    }),
    ("queue.spans", "{span}", "Spans that wait for the endpoint or are on their way", |status| {
        Some(wide(status.delivery.waiting_spans))
    }),
    ("queue.size", "By", "Bytes of the spans that wait for the endpoint or are on their way", |status| {
        Some(wide(status.delivery.waiting_bytes))
    }),
    ("queue.limit", "By", "Bytes of spans that may wait", |status| Some(wide(status.delivery.max_bytes))),
    ("ring.size", "By", "Bytes that the last read of the ring buffer found", |status| {
        Some(wide(status.ring.last_bytes))
    }),
    (
        "ring.size.most",
        "By",
        "The most bytes that a read of the ring buffer found since the start",
        |status| Some(wide(status.ring.most_bytes)),
    ),
    ("ring.limit", "By", "Bytes that the ring buffer has room for", |status| {
        Some(wide(status.ring.size_bytes))
    }),
    (
        "memory.resident",
        "By",
        "Resident memory of the agent, in which the data of the ring buffer count twice",
        |status| status.memory.resident_bytes.map(wide),
    ),
    ("memory.maps", "By", "Memory that BPF maps take, the ring buffer among them", |status| {
        status.memory.map_bytes.map(wide)
    }),
    ("trap.price.estimated", "s", "What a trap is taken to cost the program that runs into it", |status| {
        Some(status.trap_price.nanoseconds / 1e9)
    }),
    ("endpoint.up", "1", "Whether the last try to send something to the endpoint did not fail", |status| {
        status.delivery.endpoint.as_ref().map(|_| flag(!status.delivery.down))
    }),
    (
        "counts.age",
        "s",
        "How old the counts of processes are: more than a moment if the agent is busy",
        |status| status.counts_age_seconds,
    ),
];

/// The counters that tell of no loss: their names, their units, and what the metric is called if it is not the same.
const COUNTS: &[(&str, &str, Option<&str>)] = &[
    ("started", "{span}", Some("spans.started")),
    ("ended", "{span}", Some("spans.recorded")),
    ("unsampled", "{span}", Some("spans.unsampled")),
    ("spans_left_out", "{span}", Some("spans.left_out")),
    ("spans_pushed", "{span}", Some("spans.pushed")),
    ("spans_exported", "{span}", Some("spans.exported")),
    ("spans_printed", "{span}", Some("spans.printed")),
    ("spans_discarded", "{span}", Some("spans.discarded")),
    ("export_retries", "{request}", None),
    ("end_without_start", "{hit}", None),
    ("unknown_protocol", "{request}", None),
    ("foreign_binary", "{hit}", None),
    ("unknown_site", "{hit}", None),
    ("unselected_process", "{hit}", None),
    ("route_site", "{hit}", None),
    ("router_site", "{hit}", None),
    ("route_of_copy", "{span}", None),
    ("without_route", "{span}", None),
    ("request_gone", "{request}", None),
    ("read_fault", "{attribute}", None),
    ("page_waits", "{read}", None),
    ("unexpected", "{attribute}", None),
    ("header_bound", "{request}", None),
    ("bad_traceparent", "{header}", None),
    ("tracestate_dropped", "{header}", None),
    ("cut_string", "{string}", None),
    ("context_bound", "{chain}", None),
    ("context_evicted", "{context}", None),
    ("callers_full", "{caller}", None),
    ("ended_by_outer", "{span}", None),
    ("nested_client", "{hit}", None),
    ("hidden_stream", "{stream}", None),
    ("propagated", "{request}", None),
    ("propagation_own", "{request}", None),
    ("propagation_no_room", "{request}", None),
    ("propagation_shared", "{request}", None),
    ("propagation_unknown", "{request}", None),
    ("propagation_unproven", "{request}", None),
    ("propagated_states", "{request}", None),
    ("propagation_state_dropped", "{request}", None),
    ("propagation_state_evicted", "{request}", None),
    ("join_site", "{hit}", None),
    ("join_unproven", "{request}", None),
    ("recursion_misses", "{hit}", None),
    ("stack_checks_failed", "{hit}", None),
    ("wakeups", "{wakeup}", None),
    ("user_reads", "{read}", None),
    ("process_events_full", "{event}", None),
    ("processes_unidentified", "{process}", None),
    ("context_types_left_out", "{type}", None),
    ("unclean_stops", "{agent}", None),
    ("log_lines_dropped", "{line}", None),
    ("segments", "{span}", None),
    ("paused_seconds", "s", Some("paused.time")),
    ("programs_suspended", "{program}", None),
    ("processes_without_pod", "{process}", None),
    ("pods_left_out", "{pod}", None),
    ("pod_attributes_left_out", "{attribute}", None),
    ("kubernetes_failures", "{request}", None),
    ("joined", "{span}", None),
    ("join_ambiguous", "{span}", None),
    ("join_unmatched", "{request}", None),
    ("join_full", "{request}", None),
];

/// All metrics, in the order in which they are told.
pub fn table() -> Vec<Metric> {
    let metric = |name: &str, kind, unit, help: &str, source| Metric {
        name: format!("lightfoot.{name}"),
        kind,
        unit,
        attributes: match &source {
            Source::Losses => &["cause"],
            Source::Services => &["service.name", "outcome"],
            Source::Version => &["version"],
            Source::Maps(_) => &["map"],
            Source::Parents => &["rule"],
            Source::Versions => &["module", "version"],
            Source::Count(_) | Source::Level(_) | Source::Traps => &[],
        },
        help: sentence(help),
        source,
    };
    let counted = counters::all();
    let help = |name: &str| counted.iter().find(|one| one.name == name).map_or("", |one| one.help);
    let counts = COUNTS.iter().map(|(counter, unit, name)| {
        metric(name.unwrap_or(counter), Kind::Counter, unit, help(counter), Source::Count(counter))
    });
    let levels = LEVELS
        .iter()
        .map(|(name, unit, help, value)| metric(name, Kind::Gauge, unit, help, Source::Level(*value)));
    let others = [
        metric("info", Kind::Gauge, "1", "Always 1; which version it is", Source::Version),
        metric(
            "processes.versions",
            Kind::Gauge,
            "{process}",
            "Processes that are watched, by the version of Go and of each module of which a library is looked for",
            Source::Versions,
        ),
        metric(
            "map.entries",
            Kind::Gauge,
            "{entry}",
            "Entries of each map of the kernel that can run full",
            Source::Maps(|map| map.entries),
        ),
        metric(
            "map.limit",
            Kind::Gauge,
            "{entry}",
            "Entries that each of these maps has room for",
            Source::Maps(|map| map.limit),
        ),
        metric(
            "traps.estimated",
            Kind::Counter,
            "{trap}",
            "Traps of processes that are watched, as far as counts tell: there were at least so many",
            Source::Traps,
        ),
        metric(
            "spans.parents",
            Kind::Counter,
            "{span}",
            "Spans by the rule that found their parents, and those that have none",
            Source::Parents,
        ),
        metric("spans.lost", Kind::Counter, "{span}", "Spans that nobody will see, by cause", Source::Losses),
        metric(
            "service.spans",
            Kind::Counter,
            "{span}",
            "What became of the spans of a service after the kernel's programs",
            Source::Services,
        ),
    ];
    others.into_iter().chain(levels).chain(counts).collect()
}

impl Metric {
    /// Its name in OpenMetrics, as the specification of OpenTelemetry makes it, but for the suffix of counters.
    pub fn plain_name(&self) -> String {
        self.name.replace('.', "_")
    }

    /// Its values now.
    pub fn samples(&self, status: &Status) -> Vec<Sample> {
        let plain = |value| vec![Sample { attributes: Vec::new(), value }];
        let of = |name: &str| Value::Count(status.counts.get(name).copied().unwrap_or(0));
        match &self.source {
            Source::Count(name) => plain(of(name)),
            Source::Level(value) => value(status).map(|value| plain(Value::Level(value))).unwrap_or_default(),
            Source::Version => {
                vec![Sample {
                    attributes: vec![("version", status.version.clone())],
                    value: Value::Level(1.0),
                }]
            }
            Source::Losses => counters::all()
                .iter()
                .filter(|one| one.is_loss)
                .map(|one| Sample {
                    attributes: vec![("cause", cause(one).to_owned())],
                    value: of(&one.name),
                })
                .collect(),
            Source::Maps(value) => {
                let sample = |map: &MapFill| Sample {
                    attributes: vec![("map", map.name.clone())],
                    value: Value::Level(number(value(map))),
                };
                status.maps.iter().map(sample).collect()
            }
            Source::Traps => plain(Value::Count(status.estimated_traps)),
            Source::Parents => {
                let sample = |(rule, count): (&String, &u64)| Sample {
                    attributes: vec![("rule", rule.clone())],
                    value: Value::Count(*count),
                };
                status.parents.iter().map(sample).collect()
            }
            Source::Versions => versions(&status.processes),
            Source::Services => {
                let of_service = |(service, counts): (&String, &BTreeMap<String, u64>)| {
                    let sample = |(name, count): (&String, &u64)| Sample {
                        attributes: vec![
                            ("service.name", service.clone()),
                            ("outcome", name.trim_start_matches("spans_").to_owned()),
                        ],
                        value: Value::Count(*count),
                    };
                    // What is counted there and no span is told of above.
                    let spans = counts.iter().filter(|(name, _)| name.starts_with("spans_"));
                    spans.map(sample).collect::<Vec<_>>()
                };
                status.delivery.services.iter().flat_map(of_service).collect()
            }
        }
    }
}

/// How many processes have which version of what.
fn versions(processes: &[Process]) -> Vec<Sample> {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for process in processes {
        let go = process.go.as_deref().map(|version| ("go", version));
        let modules = process.modules.iter().map(|(path, version)| (path.as_str(), version.as_str()));
        for version in go.into_iter().chain(modules) {
            *counts.entry(version).or_default() += 1;
        }
    }
    let sample = |((module, version), count): ((&str, &str), u64)| Sample {
        attributes: vec![("module", module.to_owned()), ("version", version.to_owned())],
        value: Value::Level(wide(count)),
    };
    counts.into_iter().map(sample).collect()
}

/// The first one, as such and without its full stop.
fn sentence(help: &str) -> String {
    let help = help.trim();
    let first = help.split_once(". ").map_or(help, |(first, _)| first).trim_end_matches('.');
    let mut characters = first.chars();
    characters.next().into_iter().flat_map(char::to_uppercase).chain(characters).collect()
}

/// What a loss is called where it is clear that it is one.
fn cause(counted: &Counted) -> &str {
    let name = counted.name.as_str();
    name.strip_prefix("spans_lost_").or_else(|| name.strip_prefix("spans_")).unwrap_or(name)
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

/// Beyond 2^53 it is rounded, which nobody sees.
#[expect(clippy::cast_precision_loss, reason = "nothing here comes near it")]
fn wide(number: u64) -> f64 {
    number as f64
}

fn number(number: usize) -> f64 {
    wide(u64::try_from(number).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Delivery, Memory, Refused, Ring, TrapPrice};

    #[test]
    fn each_counter_is_told_once() {
        for counted in counters::all() {
            let rows = COUNTS.iter().filter(|(name, ..)| *name == counted.name).count();
            assert_eq!(rows, usize::from(!counted.is_loss), "{}", counted.name);
        }
        let mut names: Vec<_> = table().into_iter().map(|metric| metric.plain_name()).collect();
        assert_eq!(names.len(), LEVELS.len() + COUNTS.len() + 8);
        assert!(COUNTS.iter().all(|(name, ..)| counters::all().iter().any(|one| one.name == *name)));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), LEVELS.len() + COUNTS.len() + 8);
        assert!(table().iter().all(|metric| !metric.help.is_empty() && !metric.help.ends_with('.')));
    }

    #[test]
    fn values_are_those_of_the_status() {
        let process = |spans, open, sites| Process {
            spans,
            open,
            sites,
            go: Some("go1.26.8".to_owned()),
            modules: (spans != 0).then(|| ("grpc".to_owned(), "v1.83.0".to_owned())).into_iter().collect(),
            ..Process::default()
        };
        let of_shop = [("spans_exported".to_owned(), 4), ("export_retries".to_owned(), 2)];
        let status = Status {
            version: "1.2.3".to_owned(),
            uptime_seconds: 12.5,
            paused: "some programs".to_owned(),
            processes: vec![process(0, 1, 5), process(9, 2, 6)],
            refused: vec![Refused::default(); 3],
            refused_forgotten: 7,
            parents: [("none".to_owned(), 6)].into(),
            ring: Ring { size_bytes: 4096, last_bytes: 8, most_bytes: 512 },
            trap_price: TrapPrice { nanoseconds: 2000.0, ..TrapPrice::default() },
            estimated_traps: 12,
            maps: vec![MapFill { name: "callers".to_owned(), entries: 3, limit: 16 }],
            memory: Memory { resident_bytes: Some(1 << 20), map_bytes: None },
            delivery: Delivery {
                endpoint: Some("http://x".to_owned()),
                down: true,
                services: [("shop".to_owned(), of_shop.into())].into(),
                ..Delivery::default()
            },
            counts: [
                ("ring_full".to_owned(), 3),
                ("spans_lost_refused".to_owned(), 8),
                ("started".to_owned(), 9),
            ]
            .into(),
            ..Status::default()
        };
        let table = table();
        let of = |name: &str| table.iter().find(|one| one.name == name).unwrap().samples(&status);
        let level = |name: &str| match of(name)[..] {
            [Sample { value: Value::Level(value), .. }] => Some(value),
            _ => None,
        };
        for (name, value) in [
            ("lightfoot.uptime", 12.5),
            ("lightfoot.paused", 1.0),
            ("lightfoot.ready", 0.0),
            ("lightfoot.processes.watched", 2.0),
            ("lightfoot.processes.silent", 1.0),
            ("lightfoot.processes.refused", 3.0),
            ("lightfoot.spans.open", 3.0),
            ("lightfoot.sites", 11.0),
            ("lightfoot.ring.size", 8.0),
            ("lightfoot.ring.size.most", 512.0),
            ("lightfoot.ring.limit", 4096.0),
            ("lightfoot.trap.price.estimated", 0.000_002),
            ("lightfoot.map.entries", 3.0),
            ("lightfoot.map.limit", 16.0),
            ("lightfoot.endpoint.up", 0.0),
            ("lightfoot.memory.resident", 1_048_576.0),
        ] {
            assert_eq!(level(name), Some(value), "{name}");
        }
        assert_eq!(level("lightfoot.counts.age"), None);
        assert_eq!(level("lightfoot.memory.maps"), None);
        assert_eq!(of("lightfoot.info")[0].attributes, [("version", "1.2.3".to_owned())]);
        assert_eq!(of("lightfoot.spans.started")[0].value, Value::Count(9));
        let lost = |cause: &str| {
            let samples = of("lightfoot.spans.lost");
            samples.into_iter().find(|one| one.attributes == [("cause", cause.to_owned())]).unwrap().value
        };
        assert_eq!([lost("ring_full"), lost("refused"), lost("open_at_end")], [3, 8, 0].map(Value::Count));
        let versions = of("lightfoot.processes.versions").into_iter().map(|sample| {
            let [(_, module), (_, version)] = &sample.attributes[..] else { panic!("{sample:?}") };
            (format!("{module} {version}"), sample.value)
        });
        assert_eq!(
            versions.collect::<Vec<_>>(),
            [("go go1.26.8".to_owned(), Value::Level(2.0)), ("grpc v1.83.0".to_owned(), Value::Level(1.0))]
        );
        assert_eq!(of("lightfoot.traps.estimated")[0].value, Value::Count(12));
        let parents = of("lightfoot.spans.parents");
        assert_eq!(
            parents,
            [Sample { attributes: vec![("rule", "none".to_owned())], value: Value::Count(6) }]
        );
        let services = of("lightfoot.service.spans");
        let attributes = vec![("service.name", "shop".to_owned()), ("outcome", "exported".to_owned())];
        assert_eq!(services, [Sample { attributes, value: Value::Count(4) }]);
    }
}
