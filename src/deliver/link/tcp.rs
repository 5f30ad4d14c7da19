//! A link over TCP, with TLS or, where the configuration says `plain`, without.
//!
//! In: records; settings: `HOST:PORT`, and what keeps others from reading and from answering in the
//! receiver's place. There is no default for that, and what is said of it is kept: a receiver that
//! fails the check of its certificate gets nothing (`Temporary`: a board without a clock may fail it
//! until it knows the time). The same frames as on a serial line; the connection is kept between
//! records and opened again after a break. Fails as `Framed` does.

use std::time::Duration;

use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::SettingsError;
use super::framed::{Framed, Line, Opening, Stream};
use super::sender::Pace;
use super::tls::{TlsClient, TlsSettings};
use crate::limits;

/// What the configuration says of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `HOST:PORT`
    pub address: String,
    pub security: Security,
}

/// How the connection is kept safe.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// Not at all: whoever is on the network may read the records.
    Plain,
    Tls(TlsSettings),
}

/// The link; it connects with the first record.
pub fn new(settings: Settings, device: &str) -> Result<Framed<Connection>, SettingsError> {
    let connection = Connection::new(settings.address, &settings.security)?;
    Ok(Framed::new(connection, device))
}

fn check_address(address: &str) -> Result<(), SettingsError> {
    let port = address.rsplit_once(':').map(|(_, port)| port.parse());
    match port {
        Some(Ok(1..=u16::MAX)) => Ok(()),
        Some(Ok(0) | Err(_)) | None => Err(SettingsError::Table {
            reason: format!("address: {address:?} is not HOST:PORT"),
        }),
    }
}

/// A way to one address, as safe as its settings say.
pub struct Connection {
    address: String,
    tls: Option<TlsClient>,
}

impl Connection {
    /// To `HOST:PORT`; nothing is opened yet.
    pub fn new(address: String, security: &Security) -> Result<Self, SettingsError> {
        let tls = match security {
            Security::Plain => None,
            Security::Tls(tls) => Some(TlsClient::new(tls)?),
        };
        check_address(&address)?;
        Ok(Self { address, tls })
    }

    async fn connect(&self) -> std::io::Result<Stream> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(tls) => tls.secure(stream).await,
        }
    }

    async fn connect_in_time(&self) -> std::io::Result<Stream> {
        let bound = Duration::from_millis(limits::LINK_CONNECT_MS_MAX);
        let connected = match timeout(bound, self.connect()).await {
            Ok(connected) => connected,
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        };
        let named = |error| std::io::Error::other(format!("{}: {error}", self.address));
        connected.map_err(named)
    }
}

impl Line for Connection {
    fn open(&mut self) -> Opening<'_> {
        Box::pin(self.connect_in_time())
    }

    /// TCP loses nothing: an answer that is late is on its way, over a radio link for seconds.
    fn pace(&self) -> Pace {
        Pace {
            answer_ms: 2_000,
            frame_ms: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn what_keeps_a_connection_safe_must_be_said() {
        assert!(read("address = 'a:1'").is_err());
        assert!(read("address = 'a:1'\nsecurity = 'none'").is_err());
        assert!(read("address = 'a:1'\nsecurity.tls = { name = 'a' }").is_err());
        let plain = read("address = 'a:1'\nsecurity = 'plain'").unwrap();
        assert!(matches!(plain.security, Security::Plain));
        let tls = read("address = 'a:1'\nsecurity.tls = { ca = 'ca.pem', name = 'a' }").unwrap();
        assert!(matches!(tls.security, Security::Tls(_)));
    }

    #[test]
    fn an_address_has_a_port() {
        for address in ["ward.example:7000", "[::1]:7000"] {
            check_address(address).unwrap();
        }
        for address in ["ward.example", "ward.example:", "ward:70000", "ward:0"] {
            assert!(check_address(address).is_err(), "{address}");
        }
    }
}
