//! `leadscan status`, `capture` and `spool`: what the running service is asked over its socket.
//!
//! In: the configuration, which says where the socket is, or the socket. Out: lines on stdout, or the
//! service's own JSON. Exit status: done, pages failed where the service refused, service where none
//! answers.

use std::path::PathBuf;

use serde_json::Value;

use super::arguments::{CaptureArguments, Reach, SpoolArguments, SpoolCommand, StatusArguments};
use super::console::print;
use super::{ExitStatus, UsageError};
use crate::service::config::Config;
use crate::service::run::ServeError;
use crate::web::{CaptureAsk, ClientError, ask_get, ask_post};

/// How the service stands.
pub fn status(arguments: &StatusArguments) -> Result<ExitStatus, UsageError> {
    let text = get(&arguments.reach, "/status")?;
    told(&text, arguments.reach.json, |status| {
        let mut lines = vec![format!(
            "{} {}: {}",
            word(&status["device"]),
            word(&status["version"]),
            word(&status["condition"])
        )];
        lines.extend(each(&status["reasons"], |reason| {
            format!("! {}", word(reason))
        }));
        lines.extend(each(&status["stuck"], |part| {
            format!("! stands still: {}", word(part))
        }));
        let spool = &status["spool"];
        lines.push(format!(
            "spool: {} to digitize, {} to deliver, {} parked, {} held, {} MiB",
            spool["to_digitize"],
            spool["to_deliver"],
            spool["parked"],
            spool["held"],
            spool["bytes"].as_u64().unwrap_or(0) >> 20
        ));
        lines.extend(each(&status["sources"], |source| {
            format!(
                "source {}: {}",
                word(&source["name"]),
                word(&source["found"])
            )
        }));
        lines.extend(each(&status["destinations"], |to| {
            let reason = match &to["reason"] {
                Value::String(reason) => format!(", last: {reason}"),
                _ => String::new(),
            };
            let (name, delivered, failed) = (word(&to["name"]), &to["delivered"], &to["failed"]);
            format!("to {name}: {delivered} delivered, {failed} failed{reason}")
        }));
        lines
    })
}

/// Captures the page that lies there.
pub fn capture(arguments: &CaptureArguments) -> Result<ExitStatus, UsageError> {
    let ask = CaptureAsk {
        source: arguments.source.clone(),
        reference: arguments.reference.clone(),
    };
    let body = serde_json::to_vec(&ask).map_err(|error| unreadable(&error))?;
    let text = post(&arguments.reach, "/capture", body)?;
    told(&text, arguments.reach.json, |answer| {
        each(&answer["accepted"], |job| format!("{} accepted", word(job)))
    })
}

/// Looks at the spool, and changes what waits there.
pub fn spool(arguments: &SpoolArguments) -> Result<ExitStatus, UsageError> {
    let reach = &arguments.reach;
    let text = match &arguments.command {
        SpoolCommand::Ls => get(reach, "/spool")?,
        SpoolCommand::Show { job } => get(reach, &format!("/spool/{job}"))?,
        SpoolCommand::Retry { job } => post(reach, &format!("/spool/{job}/retry"), Vec::new())?,
        SpoolCommand::Park { job } => post(reach, &format!("/spool/{job}/park"), Vec::new())?,
        SpoolCommand::Purge { job } => post(reach, &format!("/spool/{job}/purge"), Vec::new())?,
    };
    told(&text, reach.json, |answer| {
        match (&arguments.command, answer) {
            (SpoolCommand::Ls, jobs) => each(jobs, |job| {
                let waits = each(&job["waits_for"], |to| word(to).to_owned()).join(" ");
                format!("{} {} {waits}", word(&job["job"]), word(&job["stage"]))
            }),
            (SpoolCommand::Show { .. }, Value::Object(facts)) => facts
                .iter()
                .map(|(name, value)| format!("{name}: {value}"))
                .collect(),
            (_, answer) => vec![format!(
                "{} {}",
                word(&answer["job"]),
                word(&answer["done"])
            )],
        }
    })
}

fn get(reach: &Reach, path: &str) -> Result<String, UsageError> {
    let socket = socket(reach)?;
    wait(async { ask_get(&socket, path).await })
}

fn post(reach: &Reach, path: &str, body: Vec<u8>) -> Result<String, UsageError> {
    let socket = socket(reach)?;
    wait(async { ask_post(&socket, path, body).await })
}

fn socket(reach: &Reach) -> Result<PathBuf, UsageError> {
    if let Some(socket) = &reach.socket {
        return Ok(socket.clone());
    }
    let config = Config::read(&reach.config).map_err(ServeError::Config)?;
    Ok(config.socket())
}

fn wait(asked: impl Future<Output = Result<String, ClientError>>) -> Result<String, UsageError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(UsageError::Runtime)?;
    Ok(runtime.block_on(asked)?)
}

/// Prints an answer, for programs as it came.
fn told(
    text: &str,
    is_json: bool,
    lines: impl FnOnce(&Value) -> Vec<String>,
) -> Result<ExitStatus, UsageError> {
    if is_json {
        print(text);
        return Ok(ExitStatus::Done);
    }
    let answer: Value = serde_json::from_str(text).map_err(|error| unreadable(&error))?;
    for line in lines(&answer) {
        print(&line);
    }
    Ok(ExitStatus::Done)
}

fn unreadable(error: &serde_json::Error) -> UsageError {
    UsageError::Client(ClientError::Broken(error.to_string()))
}

fn each(list: &Value, line: impl Fn(&Value) -> String) -> Vec<String> {
    let items = list.as_array().map_or(&[][..], Vec::as_slice);
    items.iter().map(line).collect()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}
