//! SeaweedFS: an object store of four servers in one process, which ask each other.

use std::process::Command;

use lightfoot_tests::live::{text, wait_for};

use crate::driver::Driver;
use crate::s3::{self, S3};
use crate::service::{Behind, Place, Service};

pub(crate) const SEAWEEDFS: Service = Service {
    name: "seaweedfs",
    fronts: &["http"],
    health: (S3, "/healthz"),
    behind: Behind::Nobody,
    prepare,
    drive,
    crowd: s3::CROWD,
    output: &[],
    unobserved: &[(is_of_volume, "its volumes are asked by its other servers")],
    counted: &[],
};

fn prepare(place: &Place, command: &mut Command) {
    // Its sockets.
    command.env("TMPDIR", place.path(""));
    command.args(["server", "-master.telemetry=false", "-filer", "-s3"]);
    let ip = place.address(S3).ip();
    command.args([format!("-ip={ip}"), format!("-ip.bind={ip}")]);
    command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-dir", text(&place.path(""))]);
    let servers = ["s3", "master", "volume", "filer"];
    for (number, server) in servers.iter().enumerate() {
        let [http, grpc] = [2 * number, 2 * number + 1].map(|port| place.address(port).port());
        command.args([format!("-{server}.port={http}"), format!("-{server}.port.grpc={grpc}")]);
    }
}

fn drive(driver: &mut Driver<'_>) {
    // It is well before there is room for objects.
    let has_room =
        |driver: &mut Driver<'_>| driver.exchange(S3, "PUT /early/bird", "", b"early").status == 200;
    driver.exchange(S3, "PUT /early", "", b"");
    wait_for("a volume", || has_room(driver).then_some(())).unwrap();
    s3::drive(driver);
}

/// `/3,01637037d6`: a volume and a file in it.
fn is_of_volume(path: &str) -> bool {
    let volume =
        path.strip_prefix('/').and_then(|path| path.split_once(',')).map_or("", |(volume, _)| volume);
    !volume.is_empty() && volume.bytes().all(|byte| byte.is_ascii_digit())
}
