//! `leadscan serve`: the service, as a process.
//!
//! In: a configuration. Out: an `ExitStatus`: done when it was told to end, usage where the
//! configuration is wrong, which no restart mends. What happens is told on stderr, a line each: for
//! people, as JSON, or, where stderr is the journal, with the priority that it understands.

use std::fs::File;
use std::io::Write;

use super::arguments::{LogForm, ServeArguments};
use super::{ExitStatus, UsageError, load_nets};
use crate::service::config::Config;
use crate::service::run::{self, Level, Line, ServeError, Voice};

/// Serves until it is told to end.
pub fn serve(arguments: &ServeArguments) -> Result<ExitStatus, UsageError> {
    let config = Config::read(&arguments.config).map_err(ServeError::Config)?;
    let threads = config.digitize.threads;
    let nets = load_nets(None, threads)?;
    let form = arguments.log;
    let is_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let mut voice = Voice::new(move |line| say(line, form, is_journal));
    if let Some(path) = &arguments.events {
        let mut file = File::create(path).map_err(|error| UsageError::Events {
            path: path.clone(),
            error,
        })?;
        voice = voice.noting(move |entry| {
            // A note that cannot be written is no reason to stop serving.
            if let Ok(line) = serde_json::to_string(entry) {
                let _ = writeln!(file, "{line}");
            }
        });
    }
    let models = nets.cards().map(|card| card.sha256.clone()).to_vec();
    run::serve(&config, nets, models, voice)?;
    Ok(ExitStatus::Done)
}

fn say(line: &Line, form: LogForm, is_journal: bool) {
    let text = match form {
        LogForm::Text => in_words(line, is_journal),
        LogForm::Json => in_json(line),
    };
    // A log that cannot be written is no reason to stop serving.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn in_words(line: &Line, is_journal: bool) -> String {
    let begin = if is_journal {
        format!("<{}>", priority(line.level))
    } else {
        "leadscan: ".to_owned()
    };
    match line.job {
        Some(job) => format!("{begin}{job} {}", line.text),
        None => format!("{begin}{}", line.text),
    }
}

fn in_json(line: &Line) -> String {
    let level = match line.level {
        Level::Info => "info",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    let value = serde_json::json!({
        "level": level,
        "event": line.event,
        "job": line.job,
        "text": line.text,
    });
    value.to_string()
}

/// As `syslog(3)` numbers them.
fn priority(level: Level) -> u8 {
    match level {
        Level::Info => 6,
        Level::Warning => 4,
        Level::Error => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_for_people_for_the_journal_and_for_programs() {
        let line = Line {
            level: Level::Warning,
            event: "degraded",
            job: None,
            text: "a \"b\"",
        };
        assert_eq!(in_words(&line, false), "leadscan: a \"b\"");
        assert_eq!(in_words(&line, true), "<4>a \"b\"");
        let json = r#"{"event":"degraded","job":null,"level":"warning","text":"a \"b\""}"#;
        assert_eq!(in_json(&line), json);
    }
}
