use std::time::Duration;

use super::*;
use crate::attach::Method;
use crate::discover::rules;

fn mistakes(text: &str) -> Vec<(u64, String)> {
    let mistakes = Config::parse(text.as_bytes()).unwrap_err();
    mistakes.into_iter().map(|mistake| (mistake.line, mistake.reason)).collect()
}

#[test]
fn what_a_file_says_is_read_with_its_place() {
    let text = "export:\n  endpoint: http://c:4318\n  timeout: 3s\n  headers:\n    a: b c\n    n: 7\n\
                watching:\n  ring_size_kib: 1024\n  segment_after: 1m\n  attach_methods: [tracefs, perf-event]\n\
                log: {level: debug}\n";
    let config = Config::parse(text.as_bytes()).unwrap();
    assert_eq!(config.file.export.timeout, Some(Time(Duration::from_secs(3))));
    assert_eq!(config.file.watching.ring_size_kib, Some(1024));
    assert_eq!(config.file.watching.attach_methods, Some(vec![Method::Tracefs, Method::PerfEvent]));
    assert_eq!(config.file.log.level, Some(crate::logs::Level::Debug));
    let said = |key: &str| config.said.get(key).map(|said| (said.line, said.text.as_str()));
    assert_eq!(said("export.endpoint"), Some((2, "http://c:4318")));
    assert_eq!(said("export.timeout"), Some((3, "3000")));
    assert_eq!(said("export.headers"), Some((4, "a=b%20c,n=7")));
    assert_eq!(said("watching.queries"), None);
}

#[test]
fn an_empty_file_says_nothing() {
    for text in ["", "\n", "# nothing\n", "export:\nlog: {}\n", "---\n"] {
        let config = Config::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
        assert_eq!(config.file, File::default(), "{text:?}");
        assert!(config.said.is_empty(), "{text:?}: {:?}", config.said);
    }
}

#[test]
fn all_mistakes_are_told_at_once_with_line_and_nearest_key() {
    let text = "exprot:\n  endpoint: x\nexport:\n  endpiont: http://c\n  protocol: gprc\n  queue_size_mib: 5000\n\
                \x20 timeout: soon\nendpoint: http://c\nwatching:\n  queries: maybe\n  ring_size_kib: 1000\nlog: 7\n\
                traces:\n  ratio: 1.5\n  unheard_of: 1\n";
    let expected = [
        (1, "exprot is no known key; did you mean export?"),
        (4, "export.endpiont is no known key; did you mean endpoint?"),
        (5, "export.protocol \"gprc\" is none of grpc, http/protobuf, http/json; did you mean grpc?"),
        (6, "export.queue_size_mib 5000 is not from 1 to 4096"),
        (7, "export.timeout \"soon\" is no time such as 500ms, 10s or 5m"),
        (8, "endpoint is no known key; did you mean export.endpoint?"),
        (10, "watching.queries \"maybe\" where true or false belongs"),
        (11, "watching.ring_size_kib 1000 is none of 4, 8, 16"),
        (12, "log 7 where a map of keys belongs"),
        (14, "traces.ratio 1.5 is not from 0 to 1"),
        (15, "traces.unheard_of is no known key"),
    ];
    let found = mistakes(text);
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.0 == expected.0 && found.1.starts_with(expected.1), "{found:?}, not {expected:?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn what_is_no_yaml_is_told_with_its_line() {
    for (text, line) in [
        ("export:\n\tendpoint: x\n", 2),
        ("export: {\n", 1),
        ("log: {}\nlog: {}\n", 2),
        ("a: &x 1\nb: *x\n", 1),
        ("log: {}\n--- \nlog: {}\n", 1),
        ("- a\n", 1),
    ] {
        let found = mistakes(text);
        assert!(matches!(&found[..], [(found, _)] if *found >= line), "{text:?}: {found:?}");
    }
    assert_eq!(Config::parse(b"log: {}\n# \xff\n").unwrap_err()[0].line, 2);
}

#[test]
fn hostile_files_are_refused_within_bounds() {
    let deep = "[".repeat(100_000);
    let long = format!("export:\n{}", "  x: 1\n".repeat(100_000));
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n";
    let wide = format!("traces:\n  known_methods: [{}]\n", "a,".repeat(200_000));
    for text in [deep, long, bomb.to_owned(), wide] {
        assert!(Config::parse(text.as_bytes()).is_err(), "{}", &text[..40]);
    }
    let many: Vec<_> = (0..1000).map(|number| format!("x{number}: 1")).collect();
    let many = many.join("\n");
    assert_eq!(mistakes(&many).len(), check::MAX_MISTAKES);
}

#[test]
fn a_file_that_changes_after_it_was_read_is_another_one() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = Config::load(file.path()).unwrap();
    let now = || FileIdentity::of(file.path()).ok();
    assert!(config.identity.is_some() && config.identity == now());
    fs::write(file.path(), "log: {level: debug}\n").unwrap();
    assert_ne!(config.identity, now());
}

#[test]
fn a_file_of_so_many_bytes_is_read_and_a_larger_one_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let comment = format!("#{}", "x".repeat(usize::try_from(MAX_FILE).unwrap() - 1));
    fs::write(file.path(), &comment).unwrap();
    assert_eq!(Config::load(file.path()).unwrap().file, File::default());
    fs::write(file.path(), comment + "x").unwrap();
    assert!(matches!(Config::load(file.path()), Err(ConfigError::TooLarge { .. })));
}

#[test]
fn lists_and_maps_within_each_other_are_read_up_to_a_depth() {
    for nested in
        [|depth| "[".repeat(depth) + &"]".repeat(depth), |depth| "{a: ".repeat(depth) + &"}".repeat(depth)]
    {
        assert!(Node::parse(&nested(document::MAX_DEPTH)).is_ok());
        assert!(Node::parse(&nested(document::MAX_DEPTH + 1)).is_err());
    }
    let indented = |depth| (0..depth).map(|level| " ".repeat(level) + "a:\n").collect::<String>();
    assert!(Node::parse(&indented(document::MAX_DEPTH)).is_ok());
    assert!(Node::parse(&indented(document::MAX_DEPTH + 1)).is_err());
}

#[test]
fn a_file_has_so_many_parts_and_no_more() {
    // The list, the document and the file begin and end.
    let parts = |count: usize| Node::parse(&"- a\n".repeat(count - 6));
    assert!(parts(document::MAX_EVENTS).is_ok() && parts(document::MAX_EVENTS + 1).is_err());
}

#[test]
fn a_list_of_patterns_has_so_many_and_no_more() {
    let patterns = |count: usize| format!("rules:\n- match:\n    exe: [{}]\n", vec!["a"; count].join(", "));
    let config = Config::parse(patterns(rules::MAX_RULES).as_bytes()).unwrap();
    assert_eq!(config.file.rules[0].matching.exe.as_ref().map(Vec::len), Some(rules::MAX_RULES));
    let reason = "rules[0].match.exe has 257 items, and may have 256".to_owned();
    assert_eq!(mistakes(&patterns(rules::MAX_RULES + 1)), [(3, reason)]);
}

#[test]
fn a_file_cut_anywhere_is_read_or_refused() {
    let text = schema::example();
    for end in 0..=text.len() {
        let _ = Config::parse(&text.as_bytes()[..end]);
    }
}

#[test]
fn a_file_may_be_almost_all_comments() {
    let comments = "  # queries: true\n".repeat(10_000);
    let config =
        Config::parse(format!("watching:\n{comments}export:\n  endpoint: a:1\n").as_bytes()).unwrap();
    assert_eq!(config.said["export.endpoint"].line, 10_003);
}

/// So the schema's defaults, which `config show` and the example print, are ones that can be followed.
#[test]
fn the_example_says_what_holds_without_it() {
    let spelled: String = schema::example().lines().map(|line| line.replacen("#= ", "", 1) + "\n").collect();
    let config = Config::parse(spelled.as_bytes()).unwrap_or_else(|error| panic!("{error:#?}\n{spelled}"));
    let with_default = Setting::all().into_iter().filter(|setting| setting.default_text().is_some());
    for setting in with_default {
        assert!(config.said.contains_key(&setting.key), "{} is not in\n{spelled}", setting.key);
    }
    assert_eq!(Config::parse(schema::example().as_bytes()).unwrap().said.len(), 0);
}

#[test]
fn the_examples_of_settings_can_be_followed() {
    let mut seen = 0;
    for setting in Setting::all() {
        let Some(example) = setting.schema.get("x-example") else { continue };
        let parts: Vec<_> = setting.key.split('.').collect();
        let text = parts.iter().rev().fold(example.to_string(), |text, part| format!("{{{part}: {text}}}"));
        assert!(Config::parse(text.as_bytes()).is_ok_and(|config| config.file != File::default()), "{text}");
        seen += 1;
    }
    assert!(seen > 4, "{seen}");
}

#[test]
fn rules_are_checked_with_their_lines() {
    let text = "rules:\n- match:\n    port: [80, 70000]\n    exe: '[a'\n  action: look\n- macth: {}\n\
                - leave_out_paths: ['{a']\n  match: {environment: ['=x'], user: 0}\nothers: maybe\n";
    let expected = [
        (3, "rules[0].match.port \"70000\" is no port such as 8080, and no range such as 8000-8100"),
        (4, "rules[0].match.exe \"[a\" is no pattern: "),
        (5, "rules[0].action \"look\" is none of watch, leave"),
        (6, "rules[1].macth is no known key; did you mean match?"),
        (7, "rules[2].leave_out_paths \"{a\" is no pattern: "),
        (8, "rules[2].match.environment \"=x\" names no variable"),
        (9, "others \"maybe\" is none of watch, leave"),
    ];
    let found = mistakes(text);
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.0 == expected.0 && found.1.starts_with(expected.1), "{found:?}, not {expected:?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    let many = format!("rules:\n{}", "- action: watch\n".repeat(300));
    assert_eq!(mistakes(&many), [(2, "rules has 300 items, and may have 256".to_owned())]);
}

#[test]
fn headers_that_are_asked_for_are_checked_with_their_lines() {
    let text = "rules:\n- headers: [X-Request-Id, authorization]\n  forwarded: maybe\n- headers:\n  - Cookie\n  - 'a b'\n\
                \x20 - host\n- headers: ''\n- headers: [a, b, c, d, e, f, g]\n";
    let expected = [
        (2, "rules[0].headers \"authorization\" is a secret of whoever sends it, and never recorded"),
        (3, "rules[0].forwarded \"maybe\" where true or false belongs"),
        (5, "rules[1].headers \"Cookie\" is a secret of whoever sends it, and never recorded"),
        (6, "rules[1].headers \"a b\" is no name of a header, such as X-Request-Id"),
        (7, "rules[1].headers \"host\" is no header that is found: net/http takes it out of the others"),
        (8, "rules[2].headers \"\" is no name of a header, such as X-Request-Id"),
        (9, "rules[3].headers has 7 items, and may have 6"),
    ];
    assert_eq!(mistakes(text), expected.map(|(line, reason)| (line, reason.to_owned())));
    let config = Config::parse(b"rules:\n- headers: x-request-ID\n  forwarded: true\n").unwrap();
    assert_eq!(config.file.rules[0].headers.as_deref(), Some(&["x-request-ID".to_owned()][..]));
}
