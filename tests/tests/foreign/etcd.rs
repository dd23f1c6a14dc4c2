//! etcd: its HTTP endpoints, and keys and values as JSON.

use std::process::Command;

use crate::driver::Driver;
use crate::service::{Behind, Place, Service};

const CLIENTS: usize = 0;
/// No front: members of a cluster ask there, and this one is alone.
const PEERS: usize = 1;

pub(crate) const ETCD: Service = Service {
    name: "etcd",
    fronts: &["http"],
    health: (CLIENTS, "/health"),
    behind: Behind::Nobody,
    prepare,
    drive,
    crowd: &[(CLIENTS, "/version"), (CLIENTS, "/readyz"), (CLIENTS, "/livez?verbose"), (CLIENTS, "/nothing")],
    output: &[],
    unobserved: &[],
    counted: &[],
};

fn prepare(place: &Place, command: &mut Command) {
    let (clients, peers) = (place.address(CLIENTS), place.address(PEERS));
    command
        .arg("--data-dir")
        .arg(place.path("data"))
        .args(["--name", "only", "--initial-cluster", &format!("only=http://{peers}")])
        .args(["--listen-client-urls", &format!("http://{clients}")])
        .args(["--advertise-client-urls", &format!("http://{clients}")])
        .args(["--listen-peer-urls", &format!("http://{peers}")])
        .args(["--initial-advertise-peer-urls", &format!("http://{peers}")]);
}

fn drive(driver: &mut Driver<'_>) {
    let key = |number: u32| BASE64_KEYS[number as usize % BASE64_KEYS.len()];
    for number in 0..20 {
        let value = "dmFsdWU".repeat(1 + 1_000 * number as usize % 7_000);
        let value = &value[..value.len() / 4 * 4];
        driver.post(CLIENTS, "/v3/kv/put", &format!(r#"{{"key":"{}","value":"{value}"}}"#, key(number)));
        driver.post(CLIENTS, "/v3/kv/range", &format!(r#"{{"key":"{}"}}"#, key(number)));
    }
    // All from "a" on.
    driver.post(CLIENTS, "/v3/kv/range", r#"{"key":"YQ==","range_end":"AA==","keys_only":true}"#);
    driver.post(CLIENTS, "/v3/kv/deleterange", &format!(r#"{{"key":"{}","prev_kv":true}}"#, key(0)));
    driver.post(
        CLIENTS,
        "/v3/kv/txn",
        &format!(
            r#"{{"compare":[{{"key":"{0}","result":"GREATER","target":"VERSION","version":"0"}}],
            "success":[{{"request_range":{{"key":"{0}"}}}}],"failure":[{{"request_put":{{"key":"{0}","value":"eA=="}}}}]}}"#,
            key(1)
        ),
    );
    driver.post(CLIENTS, "/v3/lease/grant", r#"{"TTL":600,"ID":7}"#);
    driver.post(CLIENTS, "/v3/kv/lease/timetolive", r#"{"ID":7}"#);
    driver.post(CLIENTS, "/v3/lease/revoke", r#"{"ID":7}"#);
    driver.post(CLIENTS, "/v3/lease/revoke", r#"{"ID":8}"#);
    driver.post(CLIENTS, "/v3/cluster/member/list", "{}");
    driver.post(CLIENTS, "/v3/maintenance/status", "{}");
    driver.post(CLIENTS, "/v3/kv/range", "{");
    driver.post(CLIENTS, "/v3/kv/nothing", "{}");
    driver.get(CLIENTS, "/v3/kv/range");
    for target in ["/health", "/version", "/readyz?verbose", "/livez", "/metrics", "/nothing", "/debug/vars"]
    {
        driver.get(CLIENTS, target);
    }
}

/// `a` to `e`.
const BASE64_KEYS: [&str; 5] = ["YQ==", "Yg==", "Yw==", "ZA==", "ZQ=="];
