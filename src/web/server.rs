//! Answers on a TCP port and on a Unix socket.
//!
//! In: open listeners, the latest report, the channel to the service. Out: answers, until the task is
//! dropped. At most `limits::WEB_CONNECTIONS_MAX` are served at once, each for one request; the next
//! ones wait. A listener that fails is tried again, so that a burst that used up all files passes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{StatusCode, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::route::{Route, RouteError, route};
use super::{Ask, Doors, Refusal, Report, Request, metrics};
use crate::limits;

const RETRY: Duration = Duration::from_millis(500);
const BODY_BYTES_MAX: usize = 4_096;
const TOKEN_BYTES_MIN: usize = 16;

/// Why the port or the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    #[error("{door} cannot be opened: {error}")]
    Listen { door: String, error: std::io::Error },
    #[error(
        "{listen} can be reached from other machines: name a token_file, or listen on 127.0.0.1"
    )]
    NoToken { listen: SocketAddr },
    #[error("{path}: {reason}", path = path.display())]
    Token { path: PathBuf, reason: String },
}

/// What was opened.
#[derive(Default)]
pub struct Door {
    tcp: Option<TcpListener>,
    unix: Option<UnixListener>,
    /// SHA-256 of the token.
    token: Option<[u8; 32]>,
}

impl Door {
    /// The address that was asked for, with its port where any would do.
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref()?.local_addr().ok()
    }
}

/// Opens what the settings name.
pub async fn open(doors: &Doors) -> Result<Door, WebError> {
    let mut door = Door::default();
    if let Some(path) = &doors.token_file {
        door.token = Some(token(path)?);
    }
    if let Some(listen) = doors.listen {
        if !listen.ip().is_loopback() && door.token.is_none() {
            return Err(WebError::NoToken { listen });
        }
        let bound = TcpListener::bind(listen).await;
        door.tcp = Some(bound.map_err(|error| WebError::Listen {
            door: listen.to_string(),
            error,
        })?);
    }
    if let Some(path) = &doors.socket {
        let failed = |error| WebError::Listen {
            door: path.display().to_string(),
            error,
        };
        // The spool's lock has told that no other service is here: it is left from an earlier one.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            Ok(()) | Err(_) => {}
        }
        door.unix = Some(UnixListener::bind(path).map_err(failed)?);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o660);
        std::fs::set_permissions(path, mode).map_err(failed)?;
    }
    Ok(door)
}

fn token(path: &Path) -> Result<[u8; 32], WebError> {
    let wrong = |reason: String| WebError::Token {
        path: path.to_owned(),
        reason,
    };
    let about = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    let mode = std::os::unix::fs::PermissionsExt::mode(&about.permissions());
    if mode & 0o077 != 0 {
        return Err(wrong("others may read the token: chmod 600".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let text = text.trim();
    if text.len() < TOKEN_BYTES_MIN {
        let reason = format!("a token has at least {TOKEN_BYTES_MIN} letters");
        return Err(wrong(reason));
    }
    Ok(Sha256::digest(text).into())
}

/// What a connection may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum May {
    Look,
    LookWithToken([u8; 32]),
    Nothing,
    All,
}

#[derive(Clone)]
struct Desk {
    report: watch::Receiver<Arc<Report>>,
    asks: mpsc::Sender<Request>,
    places: Arc<Semaphore>,
}

/// Answers until it is dropped.
pub async fn serve(door: Door, report: watch::Receiver<Arc<Report>>, asks: mpsc::Sender<Request>) {
    let places = Arc::new(Semaphore::new(limits::WEB_CONNECTIONS_MAX));
    let desk = Rc::new(Desk {
        report,
        asks,
        places,
    });
    let tcp = async {
        match &door.tcp {
            None => std::future::pending().await,
            Some(listener) => loop {
                let Ok((stream, from)) = listener.accept().await else {
                    sleep(RETRY).await;
                    continue;
                };
                let may = match door.token {
                    _ if from.ip().is_loopback() => May::Look,
                    Some(token) => May::LookWithToken(token),
                    None => May::Nothing,
                };
                begin(stream, may, &desk).await;
            },
        }
    };
    let unix = async {
        match &door.unix {
            None => std::future::pending().await,
            Some(listener) => loop {
                match listener.accept().await {
                    Ok((stream, _)) => begin(stream, May::All, &desk).await,
                    Err(_) => sleep(RETRY).await,
                }
            },
        }
    };
    let _: ((), ()) = tokio::join!(tcp, unix);
}

async fn begin<S>(stream: S, may: May, desk: &Rc<Desk>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Ok(place) = desk.places.clone().acquire_owned().await else {
        return;
    };
    let desk = desk.clone();
    tokio::task::spawn_local(async move {
        let _place = place;
        let answer = service_fn(|request| {
            let desk = desk.clone();
            async move { Ok::<_, Infallible>(answer(request, may, &desk).await) }
        });
        let head = Duration::from_millis(limits::WEB_HEAD_MS_MAX);
        let mut server = http1::Builder::new();
        server
            .timer(TokioTimer::new())
            .header_read_timeout(head)
            .keep_alive(false)
            .max_buf_size(16 << 10);
        let served = server.serve_connection(TokioIo::new(stream), answer);
        // Who asked and went away has nobody to be told.
        let whole = Duration::from_millis(limits::WEB_ANSWER_MS_MAX);
        let _ = timeout(whole, served).await;
    });
}

type Page = hyper::Response<Full<Bytes>>;

async fn answer(request: hyper::Request<Incoming>, may: May, desk: &Desk) -> Page {
    let given = request.headers().get(AUTHORIZATION);
    let given = given
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let head = Duration::from_millis(limits::WEB_HEAD_MS_MAX);
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    let Ok(Ok(body)) = timeout(head, body).await else {
        return text(
            StatusCode::BAD_REQUEST,
            "the body is too long, or never came",
        );
    };
    if !is_allowed(may, given.as_deref()) {
        return text(
            StatusCode::UNAUTHORIZED,
            "send the token: Authorization: Bearer ...",
        );
    }
    let route = match route(method.as_str(), &path, &body.to_bytes()) {
        Ok(route) => route,
        Err(RouteError::Path) => return text(StatusCode::NOT_FOUND, "there is no such page"),
        Err(RouteError::Method) => {
            return text(StatusCode::METHOD_NOT_ALLOWED, "not by this method");
        }
        Err(RouteError::Body(reason)) => return text(StatusCode::BAD_REQUEST, &reason),
    };
    let report = desk.report.borrow().clone();
    match route {
        Route::Healthy => verdict(report.stuck.is_empty(), &report.stuck),
        Route::Ready => verdict(
            report.takes_pages && report.stuck.is_empty(),
            &report.reasons,
        ),
        Route::Metrics => text(StatusCode::OK, &metrics::text(&report)),
        Route::Status => json(StatusCode::OK, &*report),
        Route::Ask(_) if may != May::All => {
            text(StatusCode::FORBIDDEN, "only over the service's socket")
        }
        Route::Ask(ask) => asked(ask, desk).await,
    }
}

fn is_allowed(may: May, given: Option<&str>) -> bool {
    match may {
        May::All | May::Look => true,
        May::Nothing => false,
        May::LookWithToken(token) => {
            // Digests are compared, so that the time tells nothing of the token.
            let given = given.and_then(|value| value.strip_prefix("Bearer "));
            given.is_some_and(|given| <[u8; 32]>::from(Sha256::digest(given.trim())) == token)
        }
    }
}

async fn asked(ask: Ask, desk: &Desk) -> Page {
    let (reply, told) = oneshot::channel();
    let ended = || text(StatusCode::SERVICE_UNAVAILABLE, "the service ends");
    if desk.asks.send(Request { ask, reply }).await.is_err() {
        return ended();
    }
    match told.await {
        Ok(Ok(value)) => json(StatusCode::OK, &value),
        Ok(Err(Refusal::Unknown(reason))) => text(StatusCode::NOT_FOUND, &reason),
        Ok(Err(Refusal::Conflict(reason))) => text(StatusCode::CONFLICT, &reason),
        Ok(Err(Refusal::Failed(reason))) => text(StatusCode::BAD_GATEWAY, &reason),
        Err(_) => ended(),
    }
}

fn verdict(is_well: bool, reasons: &[String]) -> Page {
    if is_well {
        return text(StatusCode::OK, "ok");
    }
    text(StatusCode::SERVICE_UNAVAILABLE, &reasons.join("\n"))
}

fn text(status: StatusCode, content: &str) -> Page {
    page(
        status,
        "text/plain; charset=utf-8",
        format!("{}\n", content.trim_end()).into(),
    )
}

fn json(status: StatusCode, content: &impl serde::Serialize) -> Page {
    match serde_json::to_vec(content) {
        Ok(bytes) => page(status, "application/json", bytes.into()),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn page(status: StatusCode, kind: &'static str, content: Bytes) -> Page {
    let mut page = hyper::Response::new(Full::new(content));
    *page.status_mut() = status;
    let headers = page.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    page
}
