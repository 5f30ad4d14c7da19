//! Asks a running service over its socket: for the command line.
//!
//! In: the socket, a path. Out: the answer's text, or why there is none. The whole answer is waited
//! for `limits::WEB_ANSWER_MS_MAX`; a capture takes as long as its device.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::limits;

const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no service answers at {socket}: {error}; is it running, and may you use its socket?",
        socket = socket.display())]
    Nobody {
        socket: PathBuf,
        error: std::io::Error,
    },
    #[error("the service said: {0}")]
    Refused(String),
    #[error("the service's answer broke off: {0}")]
    Broken(String),
}

/// What is at this path.
pub async fn ask_get(socket: &Path, path: &str) -> Result<String, ClientError> {
    ask(socket, "GET", path, Vec::new()).await
}

/// Tells the service something.
pub async fn ask_post(socket: &Path, path: &str, body: Vec<u8>) -> Result<String, ClientError> {
    ask(socket, "POST", path, body).await
}

async fn ask(
    socket: &Path,
    method: &str,
    path: &str,
    body: Vec<u8>,
) -> Result<String, ClientError> {
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|error| ClientError::Nobody {
        socket: socket.to_owned(),
        error,
    })?;
    let bound = Duration::from_millis(limits::WEB_ANSWER_MS_MAX);
    let exchange = exchange(stream, method, path, body);
    let (is_good, text) = timeout(bound, exchange)
        .await
        .map_err(|_| ClientError::Broken("it did not come in time".to_owned()))??;
    if is_good {
        Ok(text)
    } else {
        Err(ClientError::Refused(text.trim_end().to_owned()))
    }
}

async fn exchange(
    stream: UnixStream,
    method: &str,
    path: &str,
    body: Vec<u8>,
) -> Result<(bool, String), ClientError> {
    let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "leadscan")
        .body(Full::new(Bytes::from(body)));
    let request = request.map_err(|error| ClientError::Broken(error.to_string()))?;
    let (mut sender, line) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let is_good = answer.status().is_success();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await;
        let body = body.map_err(|error| ClientError::Broken(error.to_string()))?;
        Ok((
            is_good,
            String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        ))
    };
    // The line moves only while it is waited for beside the answer.
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        _ = line => answer.await,
    }
}
