//! The rules of the configuration: what they choose, what `lightfoot targets` says of it, and what becomes of spans.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Agent, Folder, Span, Target, lightfoot, text, wait_for, watching};
use rustix::process::Signal;
use serde_json::Value;

/// Two copies of a server, and a configuration file about them.
struct Stage {
    folder: Folder,
    shop: Target,
    other: Target,
}

impl Stage {
    fn set(test: &str) -> Option<Self> {
        let folder = Folder::for_test(test)?;
        let start = |name: &str, code: &str| {
            let program = folder.copy_of(Program::Lifecycle, name).unwrap();
            let target =
                Target::spawn(Command::new(program).args(["-exit-code", code]).env("TIER", name)).unwrap();
            target.address().unwrap();
            target
        };
        let (shop, other) = (start("shop", "7"), start("other", "8"));
        Some(Self { folder, shop, other })
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config.yaml")
    }

    /// `FOLDER` in it stands for where the servers are.
    fn say(&self, config: &str) {
        let config = config.replace("FOLDER", text(self.folder.path()));
        self.folder.say("config.yaml", &config).unwrap();
    }

    fn agent(&self) -> Agent {
        Agent::start(["--config", text(&self.config())], &[]).unwrap()
    }

    /// What `lightfoot targets` says of the two.
    fn targets(&self, flags: &[&str]) -> [Value; 2] {
        self.targets_with(flags, &[])
    }

    fn targets_with(&self, flags: &[&str], variables: &[(&str, &str)]) -> [Value; 2] {
        [&self.shop, &self.other].map(|target| self.target(target.pid(), flags, variables))
    }

    /// What it says of a process.
    fn target(&self, pid: u32, flags: &[&str], variables: &[(&str, &str)]) -> Value {
        let mut command = Command::new(lightfoot());
        command.args(["targets", "--json", "--config", text(&self.config())]).args(flags);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let all = report.get("targets").and_then(Value::as_array).unwrap();
        all.iter().find(|found| found.get("pid").unwrap() == pid).unwrap().clone()
    }
}

#[test]
fn a_rule_chooses_names_and_leaves_out_paths() {
    let Some(stage) = Stage::set("rules") else { return };
    stage.say(
        "rules:\n- name: health\n  leave_out_paths: [/health*, /internal/**]\n\
         - match: {exe: FOLDER/shop}\n  action: watch\n  service_name: front\n",
    );
    let [shop, other] = stage.targets(&[]);
    assert_eq!((&shop["decision"], &other["decision"]), (&"watch".into(), &"leave".into()));
    assert_eq!(shop["rule"], "rule 2 of the configuration");
    assert_eq!(
        (&shop["service"]["name"], &shop["service"]["named_by"]),
        (&"front".into(), &"rule 2 of the configuration".into())
    );
    assert_eq!(other["rule"], "not what was asked for");

    assert_eq!((&shop["propagates"], &other["propagates"]), (&false.into(), &false.into()));

    let agent = stage.agent();
    agent.watches(stage.shop.pid()).unwrap();
    for path in ["/healthz", "/internal/a/b?c=d", "/health/deep", "/seen"] {
        stage.shop.get(path).unwrap();
        stage.other.get(path).unwrap();
    }
    agent.span("/seen").unwrap();
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.paths(), ["/health/deep", "/seen"], "{}", outcome.messages);
    assert!(outcome.spans.iter().all(|span| span.service() == "front"));
    assert_eq!((outcome.count("spans_left_out"), outcome.count("spans_pushed")), (2, 2));
    assert!(!outcome.messages.contains(&watching(stage.other.pid())), "{}", outcome.messages);
}

#[test]
fn spans_of_other_kinds_can_be_left_out() {
    let Some(stage) = Stage::set("kinds of spans") else { return };
    stage.say("rules:\n- match: {exe: FOLDER/shop}\n  spans: [http-client]\n- match: {exe: FOLDER/*}\n  action: watch\n");
    let agent = stage.agent();
    for target in [&stage.shop, &stage.other] {
        agent.watches(target.pid()).unwrap();
        target.get("/asked").unwrap();
    }
    agent.span("/asked").unwrap();
    agent.counts_to("spans_left_out", 1).unwrap();
    let outcome = agent.stop().unwrap();
    let pids: Vec<_> = outcome.spans.iter().map(Span::pid).collect();
    assert_eq!(pids, [u64::from(stage.other.pid())]);
}

/// What the service calls by gRPC and by HTTP, for one request that its own instrumentation covers.
#[test]
fn spans_of_grpc_and_of_clients_can_be_left_out() {
    let Some(folder) = Folder::for_test("kinds of spans of gRPC") else { return };
    let target = Target::start(&folder.copy_of(Program::HalfTraced, "halftraced").unwrap()).unwrap();
    let pid = target.pid().to_string();
    let (http, called, served) = (["GET"; 1], ["Check", "Watch"], ["served Check", "served Watch"]);
    for (rule, mut wanted) in [
        ("leave_out_paths: [/grpc.health.v1.Health/*]", [&http[..], &called].concat()),
        ("leave_out_paths: [/grpc.health.v1.Health/Ch*]", [&http[..], &called, &served[1..]].concat()),
        ("leave_out_paths: [/grpc.health.v1/*, /Health/*]", [&http[..], &called, &served].concat()),
        ("spans: [grpc-client]", called.to_vec()),
        ("spans: [grpc-server]", served.to_vec()),
        ("spans: [http-client]", http.to_vec()),
        ("spans: [http-server]", vec![]),
    ] {
        let file = folder.say("config.yaml", &format!("rules:\n- {rule}\n")).unwrap();
        let agent = Agent::start(["--pid", &pid, "--config", text(&file)], &[]).unwrap();
        agent.watches(target.pid()).unwrap();
        assert_eq!(target.get("/orders/1").unwrap(), 200);
        agent.counts_to("ended", 5).unwrap();
        let outcome = agent.stop().unwrap();
        let name = |span: &Span| {
            let name = span.name.rsplit('/').next().unwrap_or_default();
            if span.kind == 2 { format!("served {name}") } else { name.to_owned() }
        };
        let mut names: Vec<_> = outcome.spans.iter().map(name).collect();
        names.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(names, wanted, "{rule}: {}", outcome.messages);
        assert_eq!(outcome.count("spans_left_out"), 5 - wanted.len() as u64, "{rule}");
    }
}

#[test]
fn targets_say_what_cannot_be_watched_and_what_waits_for_a_port() {
    let Some(stage) = Stage::set("what is not watched, and why") else { return };
    // Two rules: one asks for this test, which is no Go program; the other for a port that the first server does not have.
    let (own, port) = (std::env::current_exe().unwrap(), stage.other.address().unwrap().port());
    stage.say(&format!(
        "rules:\n- {{match: {{exe: {}}}, action: watch}}\n- {{match: {{exe: FOLDER/*, port: {port}}}, action: watch}}\n",
        text(&own)
    ));
    let [shop, other] = stage.targets(&[]);
    assert_eq!((&shop["decision"], &other["decision"]), (&"wait".into(), &"watch".into()));
    assert_eq!((&shop["rule"], &shop["reason"]), (&"not what was asked for".into(), &Value::Null));
    let test = stage.target(std::process::id(), &[], &[]);
    assert_eq!((&test["decision"], &test["rule"]), (&"cannot".into(), &"rule 1 of the configuration".into()));
    let reason = test["reason"].as_str().unwrap();
    assert!(reason.contains("not a Go program"), "{reason}");
    // The same by flags.
    let [shop, other] = stage.targets(&["--port", &port.to_string()]);
    assert_eq!((&shop["decision"], &other["decision"]), (&"wait".into(), &"watch".into()));
    let pid = std::process::id().to_string();
    let test = stage.target(std::process::id(), &["--pid", &pid], &[]);
    assert_eq!((&test["decision"], &test["rule"]), (&"cannot".into(), &"asked for by its number".into()));
    // On the page, what cannot be watched stands before what waits.
    let mut command = Command::new(lightfoot());
    let output = command.args(["targets", "--all", "--config", text(&stage.config())]).output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    let line = |decision: &str, pid: u32| {
        let is_it = |line: &str| line.starts_with(decision) && line.contains(&format!(" {pid}  "));
        page.lines().position(is_it).unwrap_or_else(|| panic!("no {decision} of {pid} is in {page}"))
    };
    assert!(line("cannot", std::process::id()) < line("wait", stage.shop.pid()));
    assert!(page.lines().nth(line("cannot", std::process::id())).unwrap().ends_with(reason));
}

/// As this host calls a user.
fn name_of(user: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let number = user.to_string();
    let of = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        (fields.nth(1)? == number).then_some(name)
    };
    users.lines().find_map(of).unwrap()
}

#[test]
fn processes_are_chosen_by_all_that_is_known_of_them() {
    let Some(stage) = Stage::set("what rules look at") else { return };
    let port = stage.shop.address().unwrap().port();
    let user = rustix::process::getuid().as_raw();
    let name = name_of(user);
    // Each is true of the first server alone.
    for matching in [
        "{exe: FOLDER/shop}".to_owned(),
        "{command_line: '*-exit-code 7'}".to_owned(),
        format!("{{port: {port}}}"),
        format!("{{port: ['1-2', '{port}-{port}'], user: {user}}}"),
        format!("{{port: {port}, user: [nobody-of-that-name, {name}]}}"),
        "{environment: TIER=sh?p}".to_owned(),
    ] {
        let others = "- {match: {exe: FOLDER/other, environment: TIER}, action: leave, name: rest}\n";
        stage.say(&format!("rules:\n- match: {matching}\n  action: watch\n{others}others: watch\n"));
        let [shop, other] = stage.targets(&[]);
        assert_eq!(shop["decision"], "watch", "{matching}: {shop}");
        assert_eq!(other["rule"], "rule 2 (rest) of the configuration", "{matching}: {other}");
    }
    stage.say("rules:\n- {match: {exe: FOLDER/*, user: [nobody-of-that-name, 4294967294]}, action: watch}\n");
    assert_eq!(stage.targets(&[]).map(|target| target["decision"].clone()), ["leave", "leave"]);
    // Flags are above all rules.
    stage.say("rules:\n- action: leave\n");
    let pid = stage.other.pid().to_string();
    let [shop, other] = stage.targets(&["--pid", &pid]);
    assert_eq!((&shop["decision"], &other["decision"]), (&"leave".into(), &"watch".into()));
    assert_eq!(other["rule"], "asked for by its number");
    // A broad rule finds much that is no Go program, which is no news to `run`, and is explained here.
    stage.say("rules:\n- action: watch\n");
    let agent = Agent::start(["--config", text(&stage.config())], &[]).unwrap();
    agent.watches(stage.shop.pid()).unwrap();
    let outcome = agent.stop().unwrap();
    assert!(!outcome.messages.contains("not a Go program"), "{}", outcome.messages);
}

#[test]
fn a_port_that_is_opened_later_decides_anew() {
    let Some(folder) = Folder::for_test("ports that are opened later") else { return };
    // Nobody else takes ports of this address meanwhile.
    let ports = [0, 0].map(|_| TcpListener::bind(("127.0.0.2", 0)).unwrap());
    let ports = ports.map(|listener| listener.local_addr().unwrap().port());
    let file = folder.path().join("config.yaml");
    let [admin, public] = ports;
    let path = text(folder.path());
    fs::write(
        &file,
        format!(
            "rules:\n- {{match: {{port: {admin}}}, action: leave}}\n- {{match: {{port: {public}}}, action: watch}}\n\
             - {{match: {{exe: {path}/early}}, action: watch}}\n"
        ),
    )
    .unwrap();
    let agent = Agent::start(["--config", text(&file)], &[]).unwrap();
    let start = |name: &str, port: u16| {
        let program = folder.copy_of(Program::Lifecycle, name).unwrap();
        let mut command = Command::new(program);
        let target = Target::spawn(command.args(["-delay", "15s", "-listen", &format!("127.0.0.2:{port}")]));
        target.unwrap()
    };
    let (early, late) = (start("early", admin), start("late", public));
    // One is watched until it opens a port that is not to be; the other is not until it does.
    agent.says(&watching(early.pid())).unwrap();
    assert!(!agent.messages().contains(&watching(late.pid())), "{}", agent.messages());
    late.address().unwrap();
    agent.watches(late.pid()).unwrap();
    late.get("/late").unwrap();
    agent.span("/late").unwrap();
    early.address().unwrap();
    let mut count = 0;
    // The next sweep leaves it.
    wait_for("a request without a span", || {
        count += 1;
        early.get(&format!("/early/{count}")).unwrap();
        late.get(&format!("/after/{count}")).unwrap();
        agent.span(&format!("/after/{count}")).unwrap();
        (agent.count_spans(|span| span.path() == format!("/early/{count}")) == 0).then_some(())
    })
    .unwrap();
    agent.stop().unwrap();
}

#[test]
fn another_file_is_followed_while_it_runs_and_a_wrong_one_changes_nothing() {
    let Some(stage) = Stage::set("another configuration") else { return };
    let only = |name: &str, service: &str| {
        format!("rules:\n- match: {{exe: FOLDER/{name}}}\n  action: watch\n  service_name: {service}\n")
    };
    stage.say(&only("shop", "first"));
    let agent = stage.agent();
    agent.watches(stage.shop.pid()).unwrap();
    stage.shop.get("/1").unwrap();
    assert_eq!(agent.span("/1").unwrap().service(), "first");

    // Another name, while it goes on.
    stage.say(&only("shop", "second"));
    agent.says("following the configuration anew").unwrap();
    let mut path = 0;
    wait_for("the other name", || {
        path += 1;
        stage.shop.get(&format!("/second/{path}")).unwrap();
        (agent.span(&format!("/second/{path}")).unwrap().service() == "second").then_some(())
    })
    .unwrap();

    // A wrong one, by a change and by a signal.
    stage.say("rules:\n- match: {exe: FOLDER/other}\n  acton: watch\n");
    let error = "config.yaml:3: rules[0].acton is no known key; did you mean action?";
    agent.says(error).unwrap();
    agent.signal(Signal::HUP);
    agent.says_times(error, 2).unwrap();
    stage.shop.get("/still").unwrap();
    assert_eq!(agent.span("/still").unwrap().service(), "second");

    // Another service, and a setting that needs a start.
    stage.say(&(only("other", "third") + "log: {level: error}\n"));
    agent.watches(stage.other.pid()).unwrap();
    agent.says("changes that take effect at the next start  sections=log").unwrap();
    stage.shop.get("/unseen").unwrap();
    stage.other.get("/3").unwrap();
    assert_eq!(agent.span("/3").unwrap().service(), "third");
    let outcome = agent.stop().unwrap();
    assert!(!outcome.paths().contains(&"/unseen"));
    assert_eq!(outcome.count("spans_open_at_end"), 0);
}

/// A file of a ConfigMap is a link by way of `..data`, which is replaced by one to another folder.
#[test]
fn a_file_that_kubernetes_replaces_is_followed() {
    let Some(stage) = Stage::set("a configuration of Kubernetes") else { return };
    let mounted = stage.folder.path().join("mounted");
    let publish = |version: &str, name: &str| {
        let folder = mounted.join(version);
        fs::create_dir_all(&folder).unwrap();
        let path = text(stage.folder.path());
        let rules =
            format!("rules:\n- {{match: {{exe: {path}/{name}}}, action: watch, service_name: {version}}}\n");
        fs::write(folder.join("config.yaml"), rules).unwrap();
        symlink(version, mounted.join("..data_tmp")).unwrap();
        fs::rename(mounted.join("..data_tmp"), mounted.join("..data")).unwrap();
    };
    publish("..first", "shop");
    let file = mounted.join("config.yaml");
    symlink("..data/config.yaml", &file).unwrap();
    let agent = Agent::start(["--config", text(&file)], &[]).unwrap();
    agent.watches(stage.shop.pid()).unwrap();
    stage.shop.get("/first").unwrap();
    assert_eq!(agent.span("/first").unwrap().service(), "..first");

    publish("..second", "other");
    fs::remove_dir_all(mounted.join("..first")).unwrap();
    agent.watches(stage.other.pid()).unwrap();
    stage.other.get("/second").unwrap();
    assert_eq!(agent.span("/second").unwrap().service(), "..second");
    publish("..third", "other");
    agent.says_times("following the configuration anew", 2).unwrap();
    let mut path = 0;
    wait_for("the third name", || {
        path += 1;
        stage.other.get(&format!("/third/{path}")).unwrap();
        (agent.span(&format!("/third/{path}")).unwrap().service() == "..third").then_some(())
    })
    .unwrap();
    let outcome = agent.stop().unwrap();
    assert!(!outcome.messages.contains("cannot be followed"), "{}", outcome.messages);
}

#[test]
fn variables_of_other_agents_are_understood_with_a_hint() {
    let Some(stage) = Stage::set("variables of other agents") else { return };
    let (pid, port) = (stage.shop.pid(), stage.shop.address().unwrap().port().to_string());
    let program = format!("{}/shop", text(stage.folder.path()));
    for (name, value, hint) in [
        ("OTEL_GO_AUTO_TARGET_EXE", program.as_str(), "--exe"),
        ("OTEL_EBPF_AUTO_TARGET_EXE", &program.replace("shop", "sh*"), "--exe"),
        ("OTEL_EBPF_EXECUTABLE_PATH", &format!("^{}$", program.replace("shop", "sh.*")), "--exe"),
        ("OTEL_EBPF_OPEN_PORT", &port, "--port"),
    ] {
        let variables = [
            (name, value),
            ("OTEL_EBPF_SERVICE_NAME", "named"),
            ("OTEL_EBPF_TRACE_PRINTER", "json"),
            ("OTEL_CONFIG_FILE", "x"),
            ("OTEL_EBPF_CONFIG_PATH", "x"),
        ];
        let agent = Agent::start([], &variables).unwrap();
        agent.watches(pid).unwrap();
        for target in [&stage.shop, &stage.other] {
            target.get("/asked").unwrap();
        }
        assert_eq!(agent.span("/asked").unwrap().service(), "named");
        let outcome = agent.stop().unwrap();
        let rule = "\"service_name of a rule in the configuration\"";
        for (is_followed, name, here) in [
            ("followed", name, hint),
            ("followed", "OTEL_EBPF_SERVICE_NAME", rule),
            ("followed", "OTEL_EBPF_TRACE_PRINTER", "--format"),
            ("not followed", "OTEL_CONFIG_FILE", "\"--config, "),
            ("not followed", "OTEL_EBPF_CONFIG_PATH", "\"--config, "),
        ] {
            let said = format!("a variable of another agent is {is_followed}  variable={name} here={here}");
            assert!(outcome.messages.contains(&said), "{said} is not in {}", outcome.messages);
        }
        assert_eq!(outcome.spans.len(), 1, "{name}: {}", outcome.messages);
    }
    let mut command = Command::new(lightfoot());
    let refused = command.arg("run").env("OTEL_EBPF_EXECUTABLE_PATH", "(a|b)").output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("OTEL_EBPF_EXECUTABLE_PATH: \"(a|b)\"") && said.contains("--exe"), "{said}");
}

#[test]
fn variables_of_other_agents_are_above_the_file_and_below_the_flags() {
    let Some(stage) = Stage::set("what variables of other agents are above") else { return };
    stage.say(
        "rules:\n- {match: {exe: FOLDER/shop}, action: leave, service_name: of-file}\n\
         - {match: {exe: FOLDER/other}, action: watch, service_name: of-file}\n",
    );
    let program = format!("{}/shop", text(stage.folder.path()));
    let of_both = "OTEL_GO_AUTO_TARGET_EXE and OTEL_EBPF_SERVICE_NAME";
    let variables =
        [("OTEL_GO_AUTO_TARGET_EXE", program.as_str()), ("OTEL_EBPF_SERVICE_NAME", "of-variable")];
    let [shop, other] = stage.targets_with(&[], &variables);
    assert_eq!((&shop["decision"], &shop["rule"]), (&"watch".into(), &of_both.into()));
    let service =
        |target: &Value| [&target["service"]["name"], &target["service"]["named_by"]].map(Value::clone);
    assert_eq!(service(&shop), ["of-variable", of_both]);
    // What one variable chooses is all that the other names.
    assert_eq!((&other["decision"], &other["service"]["name"]), (&"watch".into(), &"of-file".into()));
    let [shop, other] = stage.targets_with(&[], &variables[1..]);
    assert_eq!(shop["decision"], "leave");
    assert_eq!(service(&other), ["of-variable", "OTEL_EBPF_SERVICE_NAME"]);

    let pid = stage.other.pid().to_string();
    let [shop, other] = stage.targets_with(&["--pid", &pid], &variables);
    assert_eq!((&shop["decision"], &other["decision"]), (&"leave".into(), &"watch".into()));
    assert_eq!(other["rule"], "asked for by its number");
}

#[test]
fn without_a_file_a_hangup_ends_it() {
    let Some(stage) = Stage::set("a hangup") else { return };
    let agent = Agent::start(["--pid", &stage.shop.pid().to_string()], &[]).unwrap();
    agent.watches(stage.shop.pid()).unwrap();
    agent.signal(Signal::HUP);
    assert_eq!(agent.wait().unwrap().status.code(), Some(0));
}

#[test]
fn targets_say_to_whose_requests_something_is_added() {
    let Some(stage) = Stage::set("trace contexts of targets") else { return };
    let rule = |propagate: bool| {
        stage.say(&format!(
            "rules:\n- match: {{exe: FOLDER/shop}}\n  propagate: {propagate}\nothers: watch\n"
        ));
    };
    let propagates = |flags: &[&str]| stage.targets(flags).map(|target| target["propagates"] == true);
    rule(true);
    assert_eq!(propagates(&[]), [true, false]);
    assert_eq!(propagates(&["--propagate"]), [true, true]);
    rule(false);
    assert_eq!(propagates(&["--propagate"]), [false, true]);
    // Of what is not watched nothing is said.
    let pid = stage.other.pid().to_string();
    rule(true);
    assert_eq!(propagates(&["--propagate", "--pid", &pid]), [false, true]);
}
