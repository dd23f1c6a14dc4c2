//! Whom to trust at the other end, and what to present there.

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use super::exporter::Signal;
use crate::variables::Variables;

/// Bundles of all certificates of a system have some 200 KiB; a larger file is a mistake.
const MAX_FILE: u64 = 1 << 20;

/// Something was refused, and is told by the variables.
pub(super) struct Refused;

/// What to present.
struct Identity {
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// The variable that named the key.
    key_name: &'static str,
}

/// The configuration that the variables ask for. Files are read once, now.
pub(super) fn read(variables: &mut Variables<'_>, signal: &Signal) -> Result<Arc<ClientConfig>, Refused> {
    let roots = roots(variables, signal);
    let identity = identity(variables, signal);
    let (builder, identity) = (builder()?.with_root_certificates(roots?), identity?);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { certificates, key, key_name }) => {
            let config = builder.with_client_auth_cert(certificates, key);
            let config = config.map_err(|error| format!("with the client certificate: {error}"));
            refusing(variables, key_name, config)?
        }
    };
    Ok(Arc::new(config))
}

/// A configuration for those who speak no TLS: it trusts nobody.
pub(super) fn unused() -> Result<Arc<ClientConfig>, Refused> {
    Ok(Arc::new(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth()))
}

/// It fails for a provider without ciphers for TLS 1.2 and 1.3, which ring is not.
fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Refused> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    builder.with_safe_default_protocol_versions().map_err(|_| Refused)
}

fn identity(variables: &mut Variables<'_>, signal: &Signal) -> Result<Option<Identity>, Refused> {
    let certificate = variables.first(&signal.client_certificate);
    let key = variables.first(&signal.client_key);
    let (name, reason) = match (certificate, key) {
        (None, None) => return Ok(None),
        (Some((name, _)), None) => (name, "a certificate needs its key, in OTEL_EXPORTER_OTLP_CLIENT_KEY"),
        (None, Some((name, _))) => {
            (name, "a key needs its certificate, in OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")
        }
        (Some((certificate_name, certificate)), Some((key_name, key))) => {
            let certificates = refusing(variables, certificate_name, certificates(&certificate));
            let key = contents(&key).and_then(|bytes| {
                PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| format!("no key in {key:?}: {error}"))
            });
            let key = refusing(variables, key_name, key);
            return Ok(Some(Identity { certificates: certificates?, key: key?, key_name }));
        }
    };
    variables.refuse(name, reason);
    Err(Refused)
}

/// The certificates of `OTEL_EXPORTER_OTLP_CERTIFICATE` alone, or else those of the system.
fn roots(variables: &mut Variables<'_>, signal: &Signal) -> Result<RootCertStore, Refused> {
    let mut roots = RootCertStore::empty();
    let Some((name, path)) = variables.first(&signal.certificate) else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let [_, general] = signal.certificate;
            variables
                .refuse(general, "an https endpoint needs it, for this system has no certificates to trust");
            return Err(Refused);
        }
        return Ok(roots);
    };
    for certificate in refusing(variables, name, certificates(&path))? {
        let added = roots.add(certificate).map_err(|error| format!("{path:?}: {error}"));
        refusing(variables, name, added)?;
    }
    Ok(roots)
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = contents(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(format!("{path:?} holds no certificate in PEM form"))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("{path:?} is no PEM file: {error}")),
    }
}

fn contents(path: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    let length = read.map_err(|error| format!("cannot read {path:?}: {error}"))?;
    if length as u64 > MAX_FILE {
        return Err(format!("{path:?} has more than {MAX_FILE} bytes"));
    }
    Ok(bytes)
}

fn refusing<T>(
    variables: &mut Variables<'_>,
    name: &'static str,
    result: Result<T, String>,
) -> Result<T, Refused> {
    result.map_err(|reason| {
        variables.refuse(name, reason);
        Refused
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_of_so_many_bytes_is_read_and_a_larger_one_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let most = usize::try_from(MAX_FILE).unwrap();
        fs::write(path, vec![b'x'; most]).unwrap();
        assert_eq!(contents(path).unwrap().len(), most);
        fs::write(path, vec![b'x'; most + 1]).unwrap();
        assert!(contents(path).unwrap_err().ends_with("has more than 1048576 bytes"));
    }
}
