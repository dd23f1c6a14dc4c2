//! rclone as an object store: S3 from a folder.

use std::process::Command;

use lightfoot_tests::live::text;

use crate::driver::Driver;
use crate::service::{Behind, Place, Service};

const S3: usize = 0;

pub(crate) const RCLONE: Service = Service {
    name: "rclone",
    fronts: &["http"],
    health: (S3, "/"),
    behind: Behind::Nobody,
    prepare,
    drive,
    crowd: &[(S3, "/shelf/kept"), (S3, "/shelf?list-type=2&prefix=kept")],
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

fn drive(driver: &mut Driver<'_>) {
    driver.ask(S3, "PUT /shelf", "", b"");
    driver.ask(
        S3,
        "PUT /shelf/kept",
        "Content-Type: text/plain\r\nx-amz-meta-owner: nobody\r\n",
        b"kept\nfor later\n",
    );
    for number in 0..15 {
        let object = format!("/shelf/folder/object%20{number}");
        driver.ask(S3, &format!("PUT {object}"), "", &vec![b'0' + number; 10_000 * usize::from(number)]);
        driver.get(S3, &object);
        driver.ask(S3, &format!("HEAD {object}"), "", b"");
    }
    driver.ask(S3, "GET /shelf/folder/object%209", "Range: bytes=10-1009\r\n", b"");
    driver.get(S3, "/shelf?list-type=2");
    driver.get(S3, "/shelf?list-type=2&prefix=folder/&max-keys=5");
    driver.get(S3, "/shelf?list-type=2&delimiter=/");
    driver.ask(S3, "PUT /shelf/copy", "x-amz-copy-source: /shelf/kept\r\n", b"");
    driver.get(S3, "/shelf/copy");
    let begun = driver.ask(S3, "POST /shelf/parts?uploads", "", b"").text();
    let upload = begun.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next()).unwrap().to_owned();
    let mut parts = Vec::new();
    for part in 1..=3 {
        let content = vec![b'a' + part; 5 << 20];
        let answer = driver.exchange(
            S3,
            &format!("PUT /shelf/parts?partNumber={part}&uploadId={upload}"),
            "",
            &content,
        );
        assert_eq!(answer.status, 200, "{answer:?}");
        let etag = answer.header("etag");
        parts.push(format!("<Part><PartNumber>{part}</PartNumber><ETag>{etag}</ETag></Part>"));
    }
    let list = format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.concat());
    let answer = driver.exchange(S3, &format!("POST /shelf/parts?uploadId={upload}"), "", list.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    driver.ask(S3, "HEAD /shelf/parts", "", b"");
    driver.ask(S3, "DELETE /shelf/copy", "", b"");
    driver.get(S3, "/shelf/copy");
    let delete =
        b"<Delete><Object><Key>folder/object 1</Key></Object><Object><Key>none</Key></Object></Delete>";
    driver.ask(S3, "POST /shelf?delete", "", delete);
    driver.ask(S3, "DELETE /shelf", "", b"");
    driver.ask(S3, "DELETE /nowhere", "", b"");
    driver.get(S3, "/nowhere/nothing");
    driver.get(S3, "/");
}
