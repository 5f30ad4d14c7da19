//! From a method and a path to what is asked.

use super::{Ask, CaptureAsk};

/// Something that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Healthy,
    Ready,
    Metrics,
    Status,
    /// For the service; only over the socket.
    Ask(Ask),
}

/// Why a request is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteError {
    Path,
    Method,
    Body(String),
}

/// Reads a request; `body` is all of it.
pub fn route(method: &str, path: &str, body: &[u8]) -> Result<Route, RouteError> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let id = |id: &str| id.to_owned();
    match (method, parts.as_slice()) {
        ("GET", ["healthz"]) => Ok(Route::Healthy),
        ("GET", ["readyz"]) => Ok(Route::Ready),
        ("GET", ["metrics"]) => Ok(Route::Metrics),
        ("GET", ["status"]) => Ok(Route::Status),
        ("POST", ["capture"]) => Ok(Route::Ask(Ask::Capture(capture(body)?))),
        ("POST", ["cancel"]) => Ok(Route::Ask(Ask::Cancel)),
        ("GET", ["spool"]) => Ok(Route::Ask(Ask::Jobs)),
        ("GET", ["spool", job]) => Ok(Route::Ask(Ask::Job(id(job)))),
        ("POST", ["spool", job, "retry"]) => Ok(Route::Ask(Ask::Retry(id(job)))),
        ("POST", ["spool", job, "park"]) => Ok(Route::Ask(Ask::Park(id(job)))),
        ("POST", ["spool", job, "purge"]) => Ok(Route::Ask(Ask::Purge(id(job)))),
        (_, ["healthz" | "readyz" | "metrics" | "status" | "capture" | "cancel" | "spool"])
        | (_, ["spool", _])
        | (_, ["spool", _, "retry" | "park" | "purge"]) => Err(RouteError::Method),
        (_, _) => Err(RouteError::Path),
    }
}

fn capture(body: &[u8]) -> Result<CaptureAsk, RouteError> {
    if body.is_empty() {
        return Ok(CaptureAsk::default());
    }
    serde_json::from_slice(body).map_err(|error| RouteError::Body(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let check = |method: &str, path: &str, expected| {
            assert_eq!(route(method, path, b""), expected, "{method} {path}");
        };
        check("GET", "/healthz", Ok(Route::Healthy));
        check("POST", "/healthz", Err(RouteError::Method));
        check("GET", "/", Err(RouteError::Path));
        check("GET", "/spool", Ok(Route::Ask(Ask::Jobs)));
        let purge = Ask::Purge("X".to_owned());
        check("POST", "/spool/X/purge", Ok(Route::Ask(purge)));
        check("GET", "/spool/X/purge", Err(RouteError::Method));
        check("POST", "/spool/X/eat", Err(RouteError::Path));
    }

    #[test]
    fn a_capture_may_name_its_source_and_whose_page_it_is() {
        let body = br#"{"source": "bed", "reference": "R7"}"#;
        let Ok(Route::Ask(Ask::Capture(ask))) = route("POST", "/capture", body) else {
            panic!("not understood");
        };
        assert_eq!(
            (ask.source.as_deref(), ask.reference.as_deref()),
            (Some("bed"), Some("R7"))
        );
        assert!(!format!("{ask:?}").contains("R7"), "it is never logged");
        let wrong = route("POST", "/capture", br#"{"sauce": "bed"}"#);
        assert!(matches!(wrong, Err(RouteError::Body(_))), "{wrong:?}");
    }
}
