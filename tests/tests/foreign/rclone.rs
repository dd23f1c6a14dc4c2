//! rclone as an object store: S3 from a folder.

use std::process::Command;

use lightfoot_tests::live::text;

use crate::s3::{self, S3};
use crate::service::{Behind, Place, Service};

pub(crate) const RCLONE: Service = Service {
    name: "rclone",
    fronts: &["http"],
    health: (S3, "/"),
    behind: Behind::Nobody,
    prepare,
    drive: s3::drive,
    crowd: s3::CROWD,
    output: &["objects/shelf/kept", "objects/shelf/parts"],
    unobserved: &[],
    counted: &[],
};

fn prepare(place: &Place, command: &mut Command) {
    place.write("objects/first/there", "before it started\n");
    let address = place.address(S3).to_string();
    command.args(["serve", "s3", "--addr", &address, "--config", text(&place.path("none"))]);
    command.args(["--vfs-cache-mode", "off", text(&place.path("objects"))]);
}
