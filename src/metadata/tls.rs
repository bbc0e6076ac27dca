//! TLS for the domain service: a certificate chain and its key, nothing asked of clients.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Error, Kind};

/// What speaks TLS for the certificate chain in one file and the key in another, both PEM.
///
/// # Errors
/// [`Kind::Tls`] when a file cannot be read, holds nothing of its kind, or the two do not belong together.
pub fn acceptor(chain: &Path, key: &Path) -> Result<TlsAcceptor, Error> {
    let failed = |path: &Path| Error::new(Kind::Tls, format!("read {}", path.display()));
    let certificates = CertificateDer::pem_file_iter(chain).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| failed(chain).because(error))?;
    if certificates.is_empty() {
        return Err(failed(chain).because("it holds no certificate in PEM"));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key).because(error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, secret))
        .map_err(|error| Error::new(Kind::Tls, "set up TLS").because(error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
