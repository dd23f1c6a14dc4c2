//! What is asked of an object store: S3, unsigned.

use crate::driver::Driver;

/// The one server of such a service.
pub(crate) const S3: usize = 0;

/// What always has the same answer once [`drive`] is done.
pub(crate) const CROWD: &[(usize, &str)] = &[(S3, "/shelf/kept"), (S3, "/shelf?list-type=2&prefix=kept")];

/// Buckets, objects, ranges, lists, a copy, and an upload in parts.
pub(crate) fn drive(driver: &mut Driver<'_>) {
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
