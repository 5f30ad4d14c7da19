//! TLS for the TCP link: the receiver proves who it is, and the device too where it is asked.
//!
//! In: PEM files: the authority that signed the receiver's certificate (that one alone is believed,
//! no list of the world's), the name in that certificate, and as wished a certificate and key of the
//! device's own. Out: a stream that others can neither read nor change, or an error: there is no way
//! to leave a check out. TLS 1.2 and 1.3 by rustls, its arithmetic by *ring*. A file that cannot be
//! read is found when the link is made, not with the first record.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::SettingsError;
use super::framed::Stream;

/// What the configuration says of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// Certificates of the authorities that are believed.
    pub ca: PathBuf,
    /// The receiver's name, or its address, as its certificate has it.
    pub name: String,
    pub client: Option<ClientSettings>,
}

/// By what the receiver knows the device.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientSettings {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Makes connections safe.
pub struct TlsClient {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsClient {
    pub fn new(settings: &TlsSettings) -> Result<Self, SettingsError> {
        let name = ServerName::try_from(settings.name.clone());
        let name = name.map_err(|error| SettingsError::Table {
            reason: format!("security.tls.name: {error}"),
        })?;
        let roots = authorities(&settings.ca)?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| refused(&settings.ca, error))?
            .with_root_certificates(roots);
        let config = match &settings.client {
            None => builder.with_no_client_auth(),
            Some(client) => builder
                .with_client_auth_cert(certificates(&client.certificate)?, key(&client.key)?)
                .map_err(|error| refused(&client.certificate, error))?,
        };
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Self { connector, name })
    }

    /// Shakes hands.
    pub async fn secure(&self, stream: TcpStream) -> std::io::Result<Stream> {
        let secured = self.connector.connect(self.name.clone(), stream).await?;
        Ok(Box::new(secured))
    }
}

fn authorities(path: &Path) -> Result<RootCertStore, SettingsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| refused(path, error))?;
    }
    Ok(roots)
}

/// At least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = read.map_err(|error| refused(path, error))?;
    if found.is_empty() {
        return Err(refused(path, "no certificate"));
    }
    Ok(found)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, SettingsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| refused(path, error))
}

fn refused(path: &Path, reason: impl ToString) -> SettingsError {
    SettingsError::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
