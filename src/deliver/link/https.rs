//! A link to a web server: each record is one `PUT`.
//!
//! ```text
//! PUT /leadscan/records/01ARZ3NDEKTSV4RRFFQ69G5FAV HTTP/1.1
//! content-type: application/vnd.leadscan.record
//! content-digest: sha-256=:q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=:   (RFC 9530)
//! leadscan-device: bed 7
//! authorization: Bearer TOKEN   (as wished)
//! ```
//!
//! In: records; settings: a URL, what keeps the connection safe (as for `tcp`; `http://` is for
//! addresses of this machine alone), a file with a token. Out: `Ok` on any 2xx, which a server says
//! once the record is durable, or on a 409 whose `repr-digest` or `content-digest` is ours: the
//! record was there before. Only the answer's head is read, `LINK_HEAD_BYTES_MAX` of it. Each
//! record has a connection of its own: one that was kept would have to be found dead with a record
//! on it, and TLS takes up its last session. `hyper` speaks HTTP over the stream that `tcp` opens:
//! its client has no runtime, pool or TLS of its own, so that the checks of `tls.rs` are the only
//! ones.
//!
//! Fails `Permanent` where the server says that it is the record (400, 409, 413, 422 ...), so that
//! it is parked; `Temporary` where it is the line or the server, and where it is the configuration
//! (token, path, redirection): that would park every record. The whole exchange has one bound.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::{Scheme, Uri};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::time::timeout;

use super::answer::AnswerTime;
use super::framed::Line;
use super::secret::SecretFile;
use super::sender::Outgoing;
use super::tcp::{Connection, Security};
use super::wire::RecordDigest;
use super::{Checking, Delivering, Link, LinkError, SettingsError};
use crate::limits;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
const DEVICE: HeaderName = HeaderName::from_static("leadscan-device");
const RECORD: HeaderValue = HeaderValue::from_static("application/vnd.leadscan.record");
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// What the configuration says of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Records are put below it, at `records/ID`.
    pub url: String,
    pub security: Security,
    /// File of the bearer token.
    pub token: Option<SecretFile>,
    #[serde(default)]
    pub answer_ms: AnswerTime,
}

/// The link.
pub struct Https {
    connection: Connection,
    site: Site,
    device: HeaderValue,
    token: Option<SecretFile>,
    answer: AnswerTime,
}

/// The link; it connects with each record.
pub fn new(settings: Settings, device: &str) -> Result<Https, SettingsError> {
    let site = Site::parse(&settings.url, &settings.security)?;
    let connection = Connection::new(site.address.clone(), &settings.security)?;
    if let Some(token) = &settings.token {
        token.read()?;
    }
    let device = HeaderValue::from_bytes(device.as_bytes()).map_err(|_| SettingsError::Table {
        reason: format!("device: {device:?} holds letters that no header takes"),
    })?;
    Ok(Https {
        connection,
        site,
        device,
        token: settings.token,
        answer: settings.answer_ms,
    })
}

impl Https {
    async fn send(&mut self, record: &Outgoing) -> Result<(), LinkError> {
        let request = self.request(record)?;
        let stream = self.connection.open().await.map_err(LinkError::temporary)?;
        let exchange = exchange(TokioIo::new(stream), request);
        let answered = timeout(self.answer.of(record), exchange).await;
        let answered = answered.map_err(|_| LinkError::temporary("the server does not answer"))?;
        let (status, head) = answered.map_err(|error| LinkError::temporary(told(&error)))?;
        verdict(status, &head, &dictionary(record.offer().digest))
    }

    fn request(&self, record: &Outgoing) -> Result<Request<Full<Bytes>>, LinkError> {
        let offer = record.offer();
        let mut request = Request::put(format!("{}/records/{}", self.site.path, offer.id))
            .header(HOST, &self.site.host)
            .header(CONTENT_TYPE, RECORD)
            .header(CONTENT_DIGEST, dictionary(offer.digest))
            .header(DEVICE, &self.device);
        if let Some(token) = &self.token {
            // It was right when the link was made: it is being renewed, or a technician's to mend.
            let token = token.read().map_err(LinkError::temporary)?;
            let value = HeaderValue::try_from(format!("Bearer {token}"));
            let mut value = value.map_err(LinkError::temporary)?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let body = Full::new(Bytes::from_owner(Held(record.clone())));
        request.body(body).map_err(LinkError::temporary)
    }
}

impl Link for Https {
    fn deliver<'a>(&'a mut self, record: &'a Outgoing) -> Delivering<'a> {
        Box::pin(self.send(record))
    }

    fn check(&mut self) -> Checking<'_> {
        Box::pin(async {
            let opened = self.connection.open().await.map_err(LinkError::temporary);
            opened.map(|_| "the server is reached, and is who it should be".to_owned())
        })
    }
}

/// A record's bytes, lent to `hyper` without a copy.
struct Held(Outgoing);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// Where records go.
#[derive(Debug, PartialEq, Eq)]
struct Site {
    /// `HOST:PORT`
    address: String,
    /// As the URL has it.
    host: String,
    /// Without a slash at its end.
    path: String,
}

impl Site {
    fn parse(url: &str, security: &Security) -> Result<Self, SettingsError> {
        let refused = |reason: &str| SettingsError::Table {
            reason: format!("url: {url:?} {reason}"),
        };
        if url.len() > limits::LINK_URL_BYTES_MAX {
            return Err(refused("is too long"));
        }
        let uri: Uri = url.parse().map_err(|_| refused("is no URL"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(refused("does not begin with https://HOST"));
        };
        if authority.as_str().contains('@') {
            return Err(refused("holds a user: use a token"));
        }
        if uri.query().is_some() || url.contains('#') {
            return Err(refused("has something behind its path"));
        }
        let is_https = *scheme == Scheme::HTTPS;
        if !is_https && *scheme != Scheme::HTTP {
            return Err(refused("is neither https:// nor http://"));
        }
        match security {
            Security::Tls(_) if is_https => {}
            Security::Plain if !is_https && is_here(authority.host()) => {}
            Security::Tls(_) => return Err(refused("is not https://, as security.tls has it")),
            Security::Plain => {
                let reason = "with plain security must be http:// to an address of this machine";
                return Err(refused(reason));
            }
        }
        let usual = if is_https { HTTPS_PORT } else { HTTP_PORT };
        let port = authority.port_u16().unwrap_or(usual);
        Ok(Self {
            address: format!("{}:{port}", authority.host()),
            host: authority.as_str().to_owned(),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

/// Whether a host is an address of this machine; a name may be anybody's.
fn is_here(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let parsed: Option<IpAddr> = address.parse().ok();
    parsed.is_some_and(|address| address.is_loopback())
}

/// One request and the head of its answer, over a stream of their own.
async fn exchange(
    stream: TokioIo<super::framed::Stream>,
    request: Request<Full<Bytes>>,
) -> hyper::Result<(StatusCode, HeaderMap)> {
    let (mut sender, line) = http1::Builder::new()
        .max_buf_size(limits::LINK_HEAD_BYTES_MAX)
        .max_headers(limits::LINK_HEAD_LINES_MAX)
        .handshake(stream)
        .await?;
    let mut answering = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = &mut answering => answer,
        // How the line ended, the answer says.
        _ = line => answering.await,
    }?;
    Ok((answer.status(), answer.headers().clone()))
}

/// `hyper` says what it was doing; what went wrong stands behind it.
fn told(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// RFC 9530: a dictionary with one digest.
fn dictionary(digest: RecordDigest) -> String {
    format!("sha-256=:{}:", STANDARD.encode(digest.0))
}

/// What an answer means for the record; `ours` is its digest as the request had it.
fn verdict(status: StatusCode, head: &HeaderMap, ours: &str) -> Result<(), LinkError> {
    let stored = digest_in(head, &REPR_DIGEST);
    let code = status.as_u16();
    match code {
        200..=299 if stored.is_some_and(|digest| digest != ours) => Err(LinkError::temporary(
            format!("the server stored other bytes under this id ({code})"),
        )),
        200..=299 => Ok(()),
        409 if [stored, digest_in(head, &CONTENT_DIGEST)].contains(&Some(ours)) => Ok(()),
        409 => Err(LinkError::permanent(
            "the server has another record of this id (409)",
        )),
        300..=399 => Err(LinkError::temporary(format!(
            "redirected ({code}): set the url that the server wants"
        ))),
        401 | 403 | 407 => Err(LinkError::temporary(format!(
            "the server does not let the device in ({code}): see its token and rights"
        ))),
        404 | 405 => Err(LinkError::temporary(format!(
            "the server takes no records at this url ({code}): see the url"
        ))),
        408 | 421 | 425 | 429 | 500..=599 => Err(LinkError::temporary(format!(
            "the server cannot take the record now ({code})"
        ))),
        400..=499 => Err(LinkError::permanent(format!(
            "the server refuses the record ({code})"
        ))),
        _ => Err(LinkError::temporary(format!(
            "the server's answer is none ({code})"
        ))),
    }
}

/// The SHA-256 member of such a header.
fn digest_in<'a>(head: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let values = head.get_all(name).iter();
    let mut members = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    members.find_map(|member| {
        let member = member.trim();
        member.starts_with("sha-256=:").then_some(member)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::spool::Failure;

    const TLS: &str = "security.tls = { ca = 'ca.pem', name = 'a' }";
    const PLAIN: &str = "security = 'plain'";

    fn site(url: &str, security: &str) -> Result<Site, String> {
        let settings: Settings = toml::from_str(&format!("url = {url:?}\n{security}")).unwrap();
        Site::parse(&settings.url, &settings.security).map_err(|error| error.to_string())
    }

    #[test]
    fn a_url_says_where_records_go() {
        for (url, security, address, path) in [
            ("https://a.example", TLS, "a.example:443", ""),
            ("https://a.example:8443/in/", TLS, "a.example:8443", "/in"),
            ("https://[fe80::1]/in", TLS, "[fe80::1]:443", "/in"),
            ("http://127.0.0.1:8080/", PLAIN, "127.0.0.1:8080", ""),
            ("http://[::1]", PLAIN, "[::1]:80", ""),
        ] {
            let site = site(url, security).unwrap();
            assert_eq!((&*site.address, &*site.path), (address, path), "{url}");
        }
    }

    #[test]
    fn records_go_nowhere_unsafe() {
        for (url, security) in [
            ("http://ward.example", PLAIN),
            ("http://localhost", PLAIN),
            ("http://10.0.0.1", PLAIN),
            ("https://127.0.0.1", PLAIN),
            ("http://127.0.0.1", TLS),
            ("https://me:secret@ward.example", TLS),
            ("https://ward.example/in?key=1", TLS),
            ("https://ward.example/in#top", TLS),
            ("ftp://ward.example", TLS),
            ("ward.example", TLS),
            ("/in", TLS),
        ] {
            assert!(site(url, security).is_err(), "{url} {security}");
        }
        assert!(site(&format!("https://a/{}", "b".repeat(1_000)), TLS).is_err());
    }

    fn ours() -> String {
        dictionary(RecordDigest([0xab; 32]))
    }

    fn fault(code: u16, name: &HeaderName, digest: &str) -> Option<Failure> {
        let mut head = HeaderMap::new();
        head.insert(name, digest.parse().unwrap());
        let status = StatusCode::from_u16(code).unwrap();
        verdict(status, &head, &ours()).err().map(|e| e.fault)
    }

    #[test]
    fn what_an_answer_means() {
        let other = dictionary(RecordDigest([0; 32]));
        let check = |codes: &[u16], expected| {
            for code in codes {
                assert_eq!(fault(*code, &CONTENT_DIGEST, &other), expected, "{code}");
            }
        };
        check(&[200, 201, 202, 204], None);
        check(
            &[400, 406, 409, 410, 413, 415, 422],
            Some(Failure::Permanent),
        );
        let temporary = [
            301, 302, 307, 308, 401, 403, 404, 405, 407, 408, 421, 425, 429, 500, 502, 503, 507,
        ];
        check(&temporary, Some(Failure::Temporary));
        check(&[100, 600, 999], Some(Failure::Temporary));
    }

    #[test]
    fn a_conflict_over_our_own_bytes_is_none() {
        assert_eq!(fault(409, &CONTENT_DIGEST, &ours()), None);
        assert_eq!(fault(409, &REPR_DIGEST, &ours()), None);
        let several = format!("sha-512=:aa==:, {}", ours());
        assert_eq!(fault(409, &REPR_DIGEST, &several), None);
        assert_eq!(fault(409, &DEVICE, &ours()), Some(Failure::Permanent));
        for broken in ["", "sha-256", "sha-256=::", ":::,,", "sha-512=:aa==:"] {
            let found = fault(409, &CONTENT_DIGEST, broken);
            assert_eq!(found, Some(Failure::Permanent), "{broken}");
        }
    }

    #[test]
    fn other_bytes_under_our_id_are_no_delivery() {
        let other = dictionary(RecordDigest([0; 32]));
        assert_eq!(fault(200, &REPR_DIGEST, &ours()), None);
        assert_eq!(fault(200, &REPR_DIGEST, &other), Some(Failure::Temporary));
    }

    #[test]
    fn a_digest_has_the_bytes_that_the_head_shows() {
        let head = include_str!("https.rs");
        assert!(head.contains(&format!("//! content-digest: {} ", ours())));
    }
}
