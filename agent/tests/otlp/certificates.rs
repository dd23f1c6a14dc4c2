//! An authority of our own, and certificates of it for both ends.

use std::fs;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;

/// A name of the server that only a proxy knows.
pub(super) const REMOTE: &str = "collector.test";

/// Paths of PEM files.
pub(super) struct Certificates {
    pub(super) authority: PathBuf,
    pub(super) server: PathBuf,
    pub(super) server_key: PathBuf,
    pub(super) client: PathBuf,
    pub(super) client_key: PathBuf,
    /// Of another authority, for the same server.
    pub(super) stranger: PathBuf,
    _folder: TempDir,
}

impl Certificates {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let authority = authority("ours");
        let signed = |name: &str, usage: ExtendedKeyUsagePurpose| {
            let names = ["localhost", "127.0.0.1", REMOTE].map(str::to_owned);
            let mut parameters = CertificateParams::new(names).unwrap();
            parameters.extended_key_usages = vec![usage];
            let key = KeyPair::generate().unwrap();
            let certificate = parameters.signed_by(&key, &authority.1).unwrap();
            (write(name, certificate.pem()), write(&format!("{name}.key"), key.serialize_pem()))
        };
        let (server, server_key) = signed("server", ExtendedKeyUsagePurpose::ServerAuth);
        let (client, client_key) = signed("client", ExtendedKeyUsagePurpose::ClientAuth);
        Self {
            authority: write("authority", authority.0.clone()),
            server,
            server_key,
            client,
            client_key,
            stranger: write("stranger", self::authority("another").0),
            _folder: folder,
        }
    }
}

/// Its certificate, and what signs with it.
fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    (certificate.pem(), Issuer::new(parameters, key))
}
