//! Prometheus: it asks others for their metrics, takes what is written to it, and answers questions.

use std::process::Command;

use lightfoot_tests::live::text;
use serde_json::json;

use crate::driver::Driver;
use crate::service::{Behind, Place, Service};

const WEB: usize = 0;

pub(crate) const PROMETHEUS: Service = Service {
    name: "prometheus",
    fronts: &["http"],
    health: (WEB, "/-/ready"),
    behind: Behind::Files(&[(
        "metrics",
        "# TYPE shop_items gauge\nshop_items{shelf=\"1\"} 5\nshop_items{shelf=\"2\"} 7.5\n",
    )]),
    prepare,
    drive,
    crowd: &[
        (WEB, "/api/v1/query?query=shop_written&time=1700000060"),
        (WEB, "/api/v1/query?query=sum(shop_written)*2&time=1700000060"),
        (WEB, "/api/v1/label/shelf/values"),
        (WEB, "/-/healthy"),
        (WEB, "/api/v1/query?query=("),
    ],
    output: &[],
    unobserved: &[],
    counted: &[],
};

fn prepare(place: &Place, command: &mut Command) {
    let configuration = json!({
        "global": {"scrape_interval": "100ms", "scrape_timeout": "100ms"},
        // What is written has times of long ago.
        "storage": {"tsdb": {"out_of_order_time_window": "10000d"}},
        "scrape_configs": [
            {"job_name": "shop", "static_configs": [{"targets": [place.behind.unwrap()]}]},
            {"job_name": "closed", "static_configs": [{"targets": [place.behind.unwrap()]}], "metrics_path": "/none"},
        ],
    });
    let path = place.write("configuration.yaml", &configuration.to_string());
    command
        .args(["--config.file", &path, "--storage.tsdb.path", text(&place.path("data"))])
        .args(["--web.listen-address", &place.address(WEB).to_string()])
        .args(["--web.enable-remote-write-receiver", "--web.enable-lifecycle"]);
}

fn drive(driver: &mut Driver<'_>) {
    let headers = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
        X-Prometheus-Remote-Write-Version: 0.1.0\r\n";
    for number in 0..10 {
        let written = remote_write(&format!("{number}"), 1_700_000_000_000 + number * 1_000, 1.5);
        driver.ask(WEB, "POST /api/v1/write", headers, &written);
    }
    driver.ask(WEB, "POST /api/v1/write", headers, b"no snappy");
    let from_to = "start=1700000000&end=1700000060&step=10";
    driver.get_until(WEB, "/api/v1/query?query=shop_written&time=1700000060", "shop_written");
    driver.get(WEB, &format!("/api/v1/query_range?query=shop_written&{from_to}"));
    driver.get(WEB, "/api/v1/series?match[]=shop_written&start=1700000000&end=1700000060");
    driver.get(WEB, "/api/v1/labels?start=1700000000&end=1700000060");
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    driver.ask(WEB, "POST /api/v1/query", form, b"query=count(shop_written)&time=1700000060");
    driver.ask(
        WEB,
        "POST /api/v1/query_range",
        form,
        format!("query=rate(shop_written[1m])&{from_to}").as_bytes(),
    );
    // Whatever was scraped last, seen from a time that never comes.
    driver.get_until(WEB, "/api/v1/query?query=last_over_time(shop_items[100y])&time=4000000000", "7.5");
    driver.get_until(
        WEB,
        "/api/v1/query?query=last_over_time(up%7Bjob=%22closed%22%7D[100y])&time=4000000000",
        "value",
    );
    driver.get(WEB, "/api/v1/query?query=nothing");
    driver.get(WEB, "/api/v1/query?query=%28");
    driver.get(WEB, "/api/v1/nothing");
    driver.get(WEB, "/api/v1/rules");
    driver.get(WEB, "/api/v1/status/config");
    driver.get(WEB, "/api/v1/status/buildinfo");
    driver.get(WEB, "/api/v1/targets?state=active");
    driver.get(WEB, "/metrics");
    driver.get(WEB, "/federate?match[]=shop_items");
    driver.ask(WEB, "POST /-/reload", "", b"");
    driver.get(WEB, "/-/healthy");
    driver.ask(WEB, "PUT /api/v1/query", "", b"");
}

/// `prometheus.WriteRequest` with one sample of `shop_written` with that shelf, as one literal of snappy.
fn remote_write(shelf: &str, time: u64, value: f64) -> Vec<u8> {
    let label =
        |name: &str, value: &str| field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat());
    let sample = [&[0x09][..], &value.to_le_bytes(), &[0x10], &varint(time)].concat();
    let series = [label("__name__", "shop_written"), label("shelf", shelf), field(2, &sample)].concat();
    let request = field(1, &series);
    // A literal of up to 256 bytes: 60 in the upper six bits of its tag, then its length less one.
    let length = u8::try_from(request.len() - 1).unwrap();
    [&varint(request.len() as u64)[..], &[60 << 2, length], &request].concat()
}

/// A field of protobuf whose value has a length.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2][..], &varint(value.len() as u64), value].concat()
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
