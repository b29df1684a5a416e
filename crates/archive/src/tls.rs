//! TLS for both clients of this crate: which roots are trusted, and with which cryptography.
//!
//! Both clients are given ring and the roots by hand. So neither depends on a provider that a binary has to install for
//! its process, and neither panics on a machine without root certificates: there, https fails when it is used.

use std::{path::Path, sync::Arc};

use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::cause::Cause;

/// Why a file of certificates is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaFileError {
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Unreadable(#[source] std::io::Error),
    /// The file is not PEM, or what is in it is no certificate.
    #[error("the file holds something that is not a PEM certificate")]
    NotACertificate(#[source] Cause),
    /// The file has no certificate in it.
    #[error("the file holds no certificate")]
    Empty,
}

/// Reads a file of PEM certificates and makes sure that each can be trusted: the S3 client would panic on it later.
pub(crate) async fn read_ca_file(path: &Path) -> Result<Vec<u8>, CaFileError> {
    let pem = tokio::fs::read(path).await.map_err(CaFileError::Unreadable)?;
    check_pem(&pem)?;
    Ok(pem)
}

fn check_pem(pem: &[u8]) -> Result<(), CaFileError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| CaFileError::NotACertificate(Cause::of(&error)))?;
        roots.add(certificate).map_err(|error| CaFileError::NotACertificate(Cause::of(&error)))?;
    }
    if roots.is_empty() { Err(CaFileError::Empty) } else { Ok(()) }
}

/// The machine's own roots, as far as they can be read.
fn native_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// TLS for the download client: ring, the machine's roots, HTTP/1.1.
pub(crate) fn download_config() -> Result<ClientConfig, rustls::Error> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(native_roots())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The HTTP client of the S3 SDK: https with ring, the machine's roots and those of `ca_pem` (already checked), and http.
pub(crate) fn s3_http_client(ca_pem: Option<Vec<u8>>) -> Result<SharedHttpClient, Cause> {
    // The SDK asserts that there is at least one native root if it is told to use them.
    let mut trusted = TrustStore::empty().with_native_roots(!native_roots().is_empty());
    if let Some(pem) = ca_pem {
        trusted = trusted.with_pem_certificate(pem);
    }
    let context =
        TlsContext::builder().with_trust_store(trusted).build().map_err(|error| Cause::of(&error))?;
    Ok(Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(context).build_https())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        assert!(matches!(check_pem(b""), Err(CaFileError::Empty)));
        assert!(matches!(check_pem(b"not pem at all"), Err(CaFileError::Empty)));
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(check_pem(broken), Err(CaFileError::NotACertificate(_))));
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_said_to_be_unreadable() {
        let error = read_ca_file(Path::new("/nonexistent/ca.pem")).await.unwrap_err();
        assert!(matches!(error, CaFileError::Unreadable(_)));
    }

    #[test]
    fn the_download_client_speaks_http_1_only_and_needs_no_installed_provider() {
        let config = download_config().unwrap();
        assert_eq!(config.alpn_protocols, [b"http/1.1".to_vec()]);
    }
}
