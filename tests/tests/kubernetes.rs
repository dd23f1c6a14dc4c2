//! Processes of pods where no API server answers. `cluster` has one.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::net::TcpListener;
use std::process::Command;

use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Agent, Folder, PodCgroup, Target, lightfoot, text};
use serde_json::Value;

const POD: &str = "0f3a1b2c-1111-2222-3333-444455556666";
const CONTAINER: &str = "3f1b0d8c5a7e92460d8c5a7e92463f1b8c5a7e9246d03f1b5a7e92463f1b0d8c";
const FAILED: &str = "nothing new is known of the pods of this node";

/// A server in the cgroup of a pod, and a kubeconfig of an API server that nobody runs.
struct Stage {
    folder: Folder,
    target: Target,
    _cgroup: PodCgroup,
}

impl Stage {
    fn set(test: &str) -> Option<Self> {
        let folder = Folder::for_test(test)?;
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{port}'}}}}], \
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}], users: [{{name: u, user: {{token: t}}}}]}}"
        );
        folder.say("kubeconfig", &config).unwrap();
        let program = folder.copy_of(Program::Lifecycle, "cart").unwrap();
        let target = Target::start(&program).unwrap();
        target.address().unwrap();
        let cgroup = PodCgroup::around(target.pid(), POD, CONTAINER).unwrap();
        Some(Self { folder, target, _cgroup: cgroup })
    }

    /// A configuration about the server, in which `EXE` stands for its program.
    fn config(&self, rules: &str) {
        let program = self.folder.path().join("cart");
        self.folder.say("config.yaml", &rules.replace("EXE", text(&program))).unwrap();
    }

    /// An agent that follows it.
    fn ruled(&self, flags: &[&str]) -> Agent {
        let (config, kubeconfig) =
            (self.folder.path().join("config.yaml"), self.folder.path().join("kubeconfig"));
        let mut command = Command::new(lightfoot());
        command.args(["run", "--format", "otlp-json", "--config", text(&config)]).args(flags);
        Agent::spawn(command, &[("KUBECONFIG", text(&kubeconfig))]).unwrap()
    }

    /// What `lightfoot targets` says of the server.
    fn target(&self, flags: &[&str]) -> Value {
        let (config, kubeconfig) =
            (self.folder.path().join("config.yaml"), self.folder.path().join("kubeconfig"));
        let mut command = Command::new(lightfoot());
        command.args(["targets", "--json", "--all", "--config", text(&config)]).args(flags);
        let output = command.env("KUBECONFIG", kubeconfig).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let all = report.get("targets").and_then(Value::as_array).unwrap();
        all.iter().find(|found| found.get("pid").unwrap() == self.target.pid()).unwrap().clone()
    }

    fn agent(&self, flags: &[&str], variables: &[(&str, &str)]) -> Agent {
        let kubeconfig = self.folder.path().join("kubeconfig");
        let pid = self.target.pid().to_string();
        let mut command = Command::new(lightfoot());
        command.args(["run", "--format", "otlp-json", "--pid", &pid]).args(flags);
        let agent =
            Agent::spawn(command, &[variables, &[("KUBECONFIG", text(&kubeconfig))]].concat()).unwrap();
        agent.watches(self.target.pid()).unwrap();
        self.target.get("/seen").unwrap();
        agent
    }
}

#[test]
fn without_an_api_server_it_goes_on_with_what_cgroups_say() {
    let Some(stage) = Stage::set("a pod without an API server") else { return };
    let agent = stage.agent(&["--kubernetes", "on", "--node-name", "node-1"], &[]);
    let span = agent.span("/seen").unwrap();
    assert_eq!((span.resource("k8s.pod.uid"), span.resource("container.id")), (POD, CONTAINER));
    assert_eq!(span.resource("k8s.pod.name"), "");
    agent.counts_to("kubernetes_failures", 2).unwrap();
    let outcome = agent.stop().unwrap();
    // Said once, however often it fails.
    assert_eq!(outcome.messages.matches(FAILED).count(), 1, "{}", outcome.messages);
    assert!(outcome.count("kubernetes_failures") >= 2);
    assert_eq!(outcome.count("processes_without_pod"), 1);
}

#[test]
fn outside_of_kubernetes_nobody_is_asked() {
    let Some(stage) = Stage::set("a pod that asks nobody") else { return };
    let in_pod = [("KUBERNETES_SERVICE_HOST", "127.0.0.1"), ("NODE_NAME", "node-1")];
    for (flags, variables) in
        [(&[][..], &[][..]), (&[], &in_pod[..1]), (&[], &in_pod[1..]), (&["--kubernetes", "off"], &in_pod)]
    {
        let agent = stage.agent(flags, variables);
        assert_eq!(agent.span("/seen").unwrap().resource("k8s.pod.uid"), POD);
        let outcome = agent.stop().unwrap();
        assert!(!outcome.messages.contains("pods of this node"), "{}", outcome.messages);
        assert_eq!((outcome.count("kubernetes_failures"), outcome.count("processes_without_pod")), (0, 0));
    }
    // Asked for in vain.
    let outcome = stage.agent(&["--kubernetes", "on"], &[]).stop().unwrap();
    let said = "Kubernetes is not asked: nothing says what this node is called";
    assert!(outcome.messages.contains(said), "{}", outcome.messages);
}

#[test]
fn a_rule_about_labels_that_nobody_tells_chooses_nothing_and_says_so() {
    let Some(stage) = Stage::set("a rule about a pod that nobody knows") else { return };
    stage.config("rules: [{match: {exe: EXE, kubernetes: {labels: {app: cart}}}, action: watch}]");
    let waiting = stage.target(&[]);
    let said = "a rule asks for what is not known of its pod";
    assert_eq!((waiting["decision"].as_str(), waiting["rule"].as_str()), (Some("wait"), Some(said)));
    let agent = stage.ruled(&[]);
    agent.says("rules ask about pods, and Kubernetes is not asked").unwrap();
    agent.says(&format!("{said}: Kubernetes is not asked")).unwrap();
    stage.target.get("/left").unwrap();
    // That it is of a pod is known without being told.
    stage.config("rules: [{match: {exe: EXE, kubernetes: {}}, action: watch}]");
    agent.watches(stage.target.pid()).unwrap();
    stage.target.get("/watched").unwrap();
    agent.span("/watched").unwrap();
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.paths(), ["/watched"]);
}

#[test]
fn what_a_label_that_is_not_told_yet_may_leave_alone_is_not_watched() {
    let Some(stage) = Stage::set("a rule that leaves a pod that is not known") else { return };
    stage.config(
        "rules:\n- {match: {exe: EXE, kubernetes: {labels: {app: cart}}}, action: leave}\n- {match: {exe: EXE}, action: watch}\n",
    );
    let flags = ["--kubernetes", "on", "--node-name", "node-1"];
    assert_eq!(stage.target(&flags)["decision"], "wait");
    let agent = stage.ruled(&flags);
    // The same program outside of a pod has no labels.
    let outside = Target::start(&stage.folder.path().join("cart")).unwrap();
    outside.address().unwrap();
    agent.watches(outside.pid()).unwrap();
    agent.says("a rule asks for what is not known of its pod: Kubernetes has not told it").unwrap();
    stage.target.get("/left").unwrap();
    outside.get("/watched").unwrap();
    agent.span("/watched").unwrap();
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.paths(), ["/watched"]);
    assert!(!outcome.messages.contains("Kubernetes is not asked"), "{}", outcome.messages);
}
