use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use lightfoot_symbolizer::build_info::Module;
use opentelemetry::{Key, Value};
use serde_json::json;
use tempfile::TempDir;

use super::environment::{AttributesError, Environment, MAX_VALUE, parse_attributes};
use super::*;
use crate::clock::Reading;

const POD: &str = "0f3a1b2c-1111-2222-3333-444455556666";

/// A procfs with one process, number 42.
struct Process(TempDir);

impl Process {
    fn new(environ: &[u8]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let process = root.path().join("42");
        fs::create_dir(&process).unwrap();
        // A command that looks like the rest of the line.
        let fields = "S 1 42 42 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 7 0 123456 1 1";
        fs::write(process.join("stat"), format!("42 (ser) ver (x) {fields}\n")).unwrap();
        fs::write(process.join("environ"), environ).unwrap();
        fs::write(process.join("status"), "Name:\tserver\nNSpid:\t42\t7\nThreads:\t1\n").unwrap();
        let cgroup = format!("0::/kubepods/burstable/pod{POD}/{}\n", "c0".repeat(32));
        fs::write(process.join("cgroup"), cgroup).unwrap();
        symlink("/opt/bin/serverd (deleted)", process.join("exe")).unwrap();
        Self(root)
    }

    fn identity(&self, build_info: &BuildInfo) -> ProcessIdentity {
        ProcessIdentity::read(self.0.path(), 42, build_info, None, &host(), &clock()).unwrap()
    }
}

fn host() -> Host {
    let os = Os { name: Some("Debian GNU/Linux".into()), version: Some("12".into()), description: None };
    Host {
        name: "node-1".into(),
        id: Some("d0".repeat(16)),
        architecture: "amd64",
        os,
        boot_id: "b".into(),
        ticks_per_second: 100,
    }
}

fn clock() -> Clock {
    Clock::from_reading(Reading { before: 0, wall: 1_700_000_000_000_000_000, after: 0 })
}

fn build(module: Option<(&str, &str)>, package: Option<&str>) -> BuildInfo {
    let main = module.map(|(path, version)| Module {
        path: path.into(),
        version: version.into(),
        replaced_by: None,
    });
    BuildInfo { go_version: "go1.26.8".into(), path: package.map(Into::into), main, ..BuildInfo::default() }
}

fn get(identity: &ProcessIdentity, key: &'static str) -> Option<String> {
    identity.resource.get(&Key::from_static_str(key)).map(|value| value.to_string())
}

#[test]
fn a_resource_says_all_that_is_known() {
    let process = Process::new(b"PATH=/bin\0OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=prod\0");
    let identity = process.identity(&build(Some(("github.com/acme/shop", "v1.4.0")), None));
    let mut all: Vec<_> = identity.resource.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    all.sort();
    let id = get(&identity, name::SERVICE_INSTANCE_ID).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let container = "c0".repeat(32);
    let expected = [
        ("container.id", container.as_str()),
        ("deployment.environment.name", "prod"),
        ("host.arch", "amd64"),
        ("host.id", "d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0"),
        ("host.name", "node-1"),
        ("k8s.pod.uid", POD),
        ("os.name", "Debian GNU/Linux"),
        ("os.type", "linux"),
        ("os.version", "12"),
        ("process.creation.time", "2023-11-14T22:33:54.560Z"),
        ("process.executable.name", "serverd"),
        ("process.executable.path", "/opt/bin/serverd"),
        ("process.parent_pid", "1"),
        ("process.pid", "42"),
        ("process.runtime.description", "go version go1.26.8 linux/amd64"),
        ("process.runtime.name", "go"),
        ("process.runtime.version", "go1.26.8"),
        ("process.vpid", "7"),
        ("service.instance.id", id.as_str()),
        ("service.name", "shop"),
        ("service.version", "v1.4.0"),
        ("telemetry.distro.name", "lightfoot"),
        ("telemetry.distro.version", version),
        ("telemetry.sdk.language", "go"),
        ("telemetry.sdk.name", "lightfoot"),
        ("telemetry.sdk.version", version),
    ];
    assert_eq!(all, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(identity.resource.schema_url(), Some("https://opentelemetry.io/schemas/1.44.0"));
    assert_eq!(identity.resource.get(&Key::new("process.pid")), Some(Value::I64(42)));
    assert_eq!(identity.start_time, 123_456);
    assert_eq!(identity.problems, []);
}

#[test]
fn the_service_is_named_by_the_first_that_says_something() {
    let module = Some(("github.com/acme/shop", ""));
    let both = b"OTEL_RESOURCE_ATTRIBUTES=service.name=fromlist\0OTEL_SERVICE_NAME=own\0".as_slice();
    let cases: [(&[u8], BuildInfo, &str, NamedBy); 19] = [
        (both, build(module, None), "own", NamedBy::ServiceNameVariable),
        (
            b"OTEL_SERVICE_NAME=one\0OTEL_SERVICE_NAME=two\0",
            build(module, None),
            "one",
            NamedBy::ServiceNameVariable,
        ),
        (b"OTEL_SERVICE_NAME= a b \0", build(module, None), "a b", NamedBy::ServiceNameVariable),
        // What follows the last NUL counts, too; an empty value counts as none.
        (
            b"OTEL_SERVICE_NAME=\0OTEL_RESOURCE_ATTRIBUTES=service.name=my%20shop",
            build(module, None),
            "my shop",
            NamedBy::ResourceAttributesVariable,
        ),
        (b"OTEL_RESOURCE_ATTRIBUTES=service.name=\0", build(module, None), "shop", NamedBy::MainModule),
        (
            b"XOTEL_SERVICE_NAME=no\0",
            build(module, Some("github.com/acme/shop")),
            "shop",
            NamedBy::MainModule,
        ),
        (b"", build(module, Some("github.com/acme/shop/cmd")), "shop", NamedBy::MainModule),
        (b"", build(module, Some("command-line-arguments")), "shop", NamedBy::MainModule),
        // Commands of one module.
        (b"", build(module, Some("github.com/acme/shop/cmd/cart")), "cart", NamedBy::MainPackage),
        (b"", build(module, Some("github.com/acme/shop/api/v2")), "api", NamedBy::MainPackage),
        (b"", build(module, Some("github.com/acme/shop/stock/cmd")), "stock", NamedBy::MainPackage),
        (b"", build(Some(("github.com/acme/shop/v2", "")), None), "shop", NamedBy::MainModule),
        (
            b"",
            build(Some(("github.com/acme/shop/v2", "")), Some("github.com/acme/shop/v2")),
            "shop",
            NamedBy::MainModule,
        ),
        (b"", build(Some(("v2", "")), None), "v2", NamedBy::MainModule),
        (b"", build(Some(("acme.org/vault", "")), None), "vault", NamedBy::MainModule),
        (b"", build(None, Some("acme.org/cmd/api")), "api", NamedBy::MainPackage),
        (b"", build(None, Some("command-line-arguments")), "serverd", NamedBy::Executable),
        (b"", build(Some(("", "")), None), "serverd", NamedBy::Executable),
        (b"", build(None, None), "serverd", NamedBy::Executable),
    ];
    for (environ, build_info, service, named_by) in cases {
        let identity = Process::new(environ).identity(&build_info);
        assert_eq!((identity.service_name.as_str(), identity.named_by), (service, named_by), "{environ:?}");
        assert_eq!(get(&identity, name::SERVICE_NAME).as_deref(), Some(service));
    }
}

/// Whoever says something is taken away, one after the other.
#[test]
fn each_that_could_name_the_service_has_its_place() {
    let both = b"OTEL_RESOURCE_ATTRIBUTES=service.name=listed\0OTEL_SERVICE_NAME=own\0".as_slice();
    let (module, package) = (Some(("github.com/acme/shop", "")), Some("github.com/acme/shop/cmd/cart"));
    let nobody = Process::new(b"");
    fs::remove_file(nobody.0.path().join("42/exe")).unwrap();
    fs::write(
        nobody.0.path().join("42/stat"),
        "42 () S 1 42 42 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 7 0 9 1 1\n",
    )
    .unwrap();
    for (named, process, build_info, service, by) in [
        (Some("ruled"), Process::new(both), build(module, package), "ruled", NamedBy::Rule),
        (None, Process::new(both), build(module, package), "own", NamedBy::ServiceNameVariable),
        (
            None,
            Process::new(both.split(|byte| *byte == 0).next().unwrap()),
            build(module, package),
            "listed",
            NamedBy::ResourceAttributesVariable,
        ),
        (None, Process::new(b""), build(module, package), "cart", NamedBy::MainPackage),
        // The main package of the module's own path says nothing else than the module.
        (None, Process::new(b""), build(module, Some("github.com/acme/shop")), "shop", NamedBy::MainModule),
        (None, Process::new(b""), build(module, None), "shop", NamedBy::MainModule),
        (None, Process::new(b""), build(None, None), "serverd", NamedBy::Executable),
        (None, nobody, build(None, None), "unknown_service", NamedBy::Nothing),
    ] {
        let root = process.0.path();
        let identity = ProcessIdentity::read(root, 42, &build_info, named, &host(), &clock()).unwrap();
        assert_eq!((identity.service_name.as_str(), identity.named_by), (service, by));
        assert_eq!(get(&identity, name::SERVICE_NAME).as_deref(), Some(service));
    }
}

#[test]
fn without_exe_the_command_names_the_service() {
    let process = Process::new(b"");
    fs::remove_file(process.0.path().join("42/exe")).unwrap();
    let identity = process.identity(&build(None, None));
    assert_eq!(identity.service_name, "ser) ver (x");
    assert_eq!(get(&identity, name::PROCESS_EXECUTABLE_PATH), None);
}

#[test]
fn a_process_that_has_gone_is_an_error() {
    let process = Process::new(b"");
    let read =
        |pid| ProcessIdentity::read(process.0.path(), pid, &build(None, None), None, &host(), &clock());
    assert!(matches!(read(43), Err(ResourceError::Read { .. })));
    for stat in [
        "",
        "42 server S",
        "42 (server",
        "42 (server) S 1 2 3",
        "42 (x) S a a a a a a a a a a a a a a a a a a a",
    ] {
        fs::write(process.0.path().join("42/stat"), stat).unwrap();
        assert!(matches!(read(42), Err(ResourceError::Malformed { .. })), "{stat:?}");
    }
}

#[test]
fn an_unreadable_environment_is_told_and_survived() {
    let process = Process::new(b"");
    fs::remove_file(process.0.path().join("42/environ")).unwrap();
    let identity = process.identity(&build(None, None));
    assert_eq!(identity.problems, [Problem::Unreadable(std::io::ErrorKind::NotFound)]);
}

#[test]
fn work_trees_have_no_version() {
    for version in ["", "(devel)"] {
        let identity = Process::new(b"").identity(&build(Some(("a/b", version)), None));
        assert_eq!(get(&identity, name::SERVICE_VERSION), None);
    }
}

#[test]
fn the_targets_word_wins_except_on_who_measured() {
    let environ = b"OTEL_RESOURCE_ATTRIBUTES=service.namespace=acme,service.instance.id=mine,service.version=9,host.name=h,telemetry.sdk.name=x\0";
    let identity = Process::new(environ).identity(&build(Some(("a/b", "v1.0.0")), None));
    assert_eq!(get(&identity, "service.namespace").as_deref(), Some("acme"));
    assert_eq!(get(&identity, name::SERVICE_INSTANCE_ID).as_deref(), Some("mine"));
    assert_eq!(get(&identity, name::SERVICE_VERSION).as_deref(), Some("9"));
    assert_eq!(get(&identity, name::HOST_NAME).as_deref(), Some("h"));
    assert_eq!(get(&identity, name::TELEMETRY_SDK_NAME).as_deref(), Some("lightfoot"));
}

#[test]
fn instance_ids_are_stable_and_differ_by_start() {
    let process = Process::new(b"");
    let first = get(&process.identity(&build(None, None)), name::SERVICE_INSTANCE_ID).unwrap();
    assert_eq!(get(&process.identity(&build(None, None)), name::SERVICE_INSTANCE_ID).unwrap(), first);
    assert_eq!(Uuid::parse_str(&first).unwrap().get_version_num(), 5);
    let stat = process.0.path().join("42/stat");
    let later = fs::read_to_string(&stat).unwrap().replace("123456", "123457");
    fs::write(&stat, later).unwrap();
    assert_ne!(get(&process.identity(&build(None, None)), name::SERVICE_INSTANCE_ID).unwrap(), first);
}

#[test]
fn resource_attributes_are_decoded_or_discarded_as_a_whole() {
    let pairs = |list: &[(&str, &str)]| -> Result<Vec<(String, String)>, AttributesError> {
        Ok(list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    };
    let bad = |text: &str| text.to_owned();
    let cases = [
        ("", pairs(&[])),
        ("a=1,b=2", pairs(&[("a", "1"), ("b", "2")])),
        (" a = 1 , b=2 ,", pairs(&[("a", "1"), ("b", "2")])),
        ("a=x%2Cy%3Dz%20%25", pairs(&[("a", "x,y=z %")])),
        ("a%2Cb=1", pairs(&[("a,b", "1")])),
        ("a=b=c", pairs(&[("a", "b=c")])),
        ("a=", pairs(&[("a", "")])),
        ("a=%FF", pairs(&[("a", "\u{fffd}")])),
        ("a=\u{1b}[31m", pairs(&[("a", "\u{1b}[31m")])),
        ("a=1,b", Err(AttributesError::NoValue(bad("b")))),
        ("a=1,=2", Err(AttributesError::NoName(bad("=2")))),
        ("a=%2", Err(AttributesError::BadEscape(bad("a=%2")))),
        ("a=%zz", Err(AttributesError::BadEscape(bad("a=%zz")))),
        ("a=%+1", Err(AttributesError::BadEscape(bad("a=%+1")))),
    ];
    for (list, expected) in cases {
        assert_eq!(parse_attributes(list), expected, "{list:?}");
    }
}

#[test]
fn a_hostile_environment_is_data() {
    let mut environ = b"\0\0=\0OTEL_SERVICE_NAME=\xff\x1b[2J\0OTEL_RESOURCE_ATTRIBUTES=".to_vec();
    environ.extend(std::iter::repeat_n(b'x', MAX_VALUE + 1));
    let identity = Process::new(&environ).identity(&build(None, None));
    assert_eq!(identity.service_name, "\u{fffd}\u{1b}[2J");
    assert_eq!(identity.problems, [Problem::TooLong("OTEL_RESOURCE_ATTRIBUTES")]);

    let mut endless = vec![b'A'; usize::try_from(environment::MAX_ENVIRONMENT).unwrap()];
    endless.extend_from_slice(b"\0OTEL_SERVICE_NAME=beyond\0");
    assert_eq!(Environment::parse(endless.as_slice()).unwrap(), Environment::default());
}

#[test]
fn this_very_process_has_an_identity() {
    let procfs = Path::new("/proc");
    let clock = Clock::start();
    let host = Host::detect(procfs);
    let identity =
        ProcessIdentity::read(procfs, std::process::id(), &build(None, None), None, &host, &clock).unwrap();
    let created = get(&identity, name::PROCESS_CREATION_TIME).unwrap();
    let age = humantime::parse_rfc3339(&created).unwrap().elapsed().unwrap();
    assert!(age.as_secs() < 3600, "{created}");
    let path = get(&identity, name::PROCESS_EXECUTABLE_PATH).unwrap();
    assert_eq!(Path::new(&path), std::env::current_exe().unwrap());
}

/// A pod as the API server writes it, and the container of it.
fn found(pod: serde_json::Value) -> Found {
    Found { pod: Arc::new(serde_json::from_value(pod).unwrap()), container: Some(0) }
}

fn in_pod(environ: &[u8], found: &Found) -> ProcessIdentity {
    let facts = Facts::read(Process::new(environ).0.path(), 42).unwrap();
    let build_info = build(Some(("github.com/acme/shop", "v9")), Some("github.com/acme/shop/cmd/web"));
    ProcessIdentity::new(42, facts, &build_info, None, Some(found), &host(), &clock())
}

#[test]
fn a_pod_says_who_the_process_is() {
    let identity = in_pod(
        b"",
        &found(json!({
            "metadata": {
                "uid": "u", "name": "cart-5d8c7b9f6-abcde", "namespace": "shop", "labels": {"pod-template-hash": "5d8c7b9f6"},
                "annotations": {"resource.opentelemetry.io/team": "blue"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "cart-5d8c7b9f6", "uid": "r", "controller": true}],
            },
            "spec": {"nodeName": "node-7", "containers": [{"name": "server", "image": "r:5/cart:1.4@sha256:aa"}]},
            "status": {"containerStatuses": [{"name": "server", "containerID": "containerd://x", "restartCount": 2}]},
        })),
    );
    for (key, value) in [
        ("service.name", "cart"),
        ("service.namespace", "shop"),
        ("service.version", "1.4@sha256:aa"),
        ("service.instance.id", "shop.cart-5d8c7b9f6-abcde.server"),
        ("k8s.pod.uid", "u"),
        ("k8s.pod.name", "cart-5d8c7b9f6-abcde"),
        ("k8s.namespace.name", "shop"),
        ("k8s.node.name", "node-7"),
        ("k8s.replicaset.name", "cart-5d8c7b9f6"),
        ("k8s.replicaset.uid", "r"),
        ("k8s.deployment.name", "cart"),
        ("k8s.container.name", "server"),
        ("k8s.container.restart_count", "2"),
        ("container.image.name", "r:5/cart"),
        ("container.image.tags", "[\"1.4\"]"),
        ("team", "blue"),
    ] {
        let found = identity.resource.get(&Key::new(key)).map(|value| value.to_string());
        assert_eq!(found.as_deref(), Some(value), "{key}");
    }
    assert_eq!(identity.named_by, NamedBy::PodOwner);
}

/// Whoever says something is taken away, one after the other.
#[test]
fn what_a_pod_says_has_its_order() {
    let mut pod = json!({
        "metadata": {
            "name": "pod", "namespace": "space",
            "labels": {
                "app.kubernetes.io/instance": "instance", "app.kubernetes.io/name": "application",
                "app.kubernetes.io/version": "label",
            },
            "annotations": {
                "resource.opentelemetry.io/service.name": "annotation",
                "resource.opentelemetry.io/service.namespace": "annotation",
                "resource.opentelemetry.io/service.version": "annotation",
                "resource.opentelemetry.io/service.instance.id": "annotation",
                "resource.opentelemetry.io/telemetry.sdk.name": "annotation",
            },
            "ownerReferences": [{"kind": "StatefulSet", "name": "set", "controller": true}],
        },
        "spec": {"containers": [{"name": "box", "image": "image:tag"}]},
    });
    let environ = b"OTEL_RESOURCE_ATTRIBUTES=service.name=own,service.namespace=own,service.version=own,service.instance.id=own";
    let keys = ["service.name", "service.namespace", "service.version", "service.instance.id"];
    let all = |identity: &ProcessIdentity| keys.map(|key| get(identity, key).unwrap());
    assert_eq!(all(&in_pod(environ, &found(pod.clone()))), ["own"; 4]);
    let annotated = in_pod(b"", &found(pod.clone()));
    assert_eq!(all(&annotated), ["annotation"; 4]);
    assert_eq!(get(&annotated, name::TELEMETRY_SDK_NAME).as_deref(), Some("lightfoot"));
    assert_eq!(annotated.named_by, NamedBy::PodAnnotation);
    let metadata =
        |pod: &mut serde_json::Value, key: &str| drop(pod["metadata"].as_object_mut().unwrap().remove(key));
    metadata(&mut pod, "annotations");
    assert_eq!(all(&in_pod(b"", &found(pod.clone()))), ["instance", "space", "label", "space.pod.box"]);
    pod["metadata"]["labels"].as_object_mut().unwrap().remove("app.kubernetes.io/instance");
    assert_eq!(in_pod(b"", &found(pod.clone())).service_name, "application");
    metadata(&mut pod, "labels");
    let owned = in_pod(b"", &found(pod.clone()));
    assert_eq!(all(&owned), ["set", "space", "tag", "space.pod.box"]);
    metadata(&mut pod, "ownerReferences");
    let alone = in_pod(b"", &found(pod.clone()));
    assert_eq!((alone.service_name.as_str(), alone.named_by), ("pod", NamedBy::Pod));
    // Which container it is, is not known.
    let unknown = Found { container: None, ..found(pod) };
    let unknown = in_pod(b"", &unknown);
    assert_eq!(get(&unknown, name::SERVICE_VERSION).as_deref(), Some("v9"), "the module's");
    assert!(Uuid::parse_str(&get(&unknown, name::SERVICE_INSTANCE_ID).unwrap()).is_ok());
    assert_eq!(get(&unknown, name::K8S_CONTAINER_NAME), None);
}
