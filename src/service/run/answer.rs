//! What people and programs ask of the running service: captures, and jobs of the spool.

use serde_json::{Value, json};

use super::{Level, ServeError, Service};
use crate::deliver::spool::{ErrorKind, Job, JobId, Progress, SpoolError, Stage};
use crate::limits;
use crate::nets::Nets;
use crate::service::Event;
use crate::web::{Answer, Ask, CaptureAsk, Refusal, Request};

/// Jobs that are told of at once.
const JOBS_TOLD_MAX: usize = 1_000;
const BY_HAND: &str = "parked by hand";

impl<N: Nets + Send + Sync + 'static> Service<N> {
    /// Answers at once, or begins what the answer will be of.
    pub(super) fn answer(&mut self, request: Request) -> Result<Option<Event>, ServeError> {
        let Request { ask, reply } = request;
        let answer = match ask {
            Ask::Capture(ask) => match self.wanted(ask) {
                Ok(source) => {
                    self.capture.caller = Some(reply);
                    return Ok(Some(Event::Wanted { source }));
                }
                Err(refusal) => Err(refusal),
            },
            Ask::Cancel => {
                let _ = reply.send(Ok(json!({})));
                return Ok(Some(Event::Cancelled));
            }
            Ask::Jobs => {
                let jobs = self.spool.jobs().take(JOBS_TOLD_MAX);
                Ok(jobs.map(|(id, job)| in_short(id, job)).collect())
            }
            Ask::Job(id) => self.with(&id, |service, id| {
                service.spool.job(id).map(|job| in_full(id, job))
            }),
            Ask::Retry(id) => self.change(&id, "retried", |service, id| service.spool.retry(id)),
            Ask::Park(id) => {
                self.change(&id, "parked", |service, id| service.spool.park(id, BY_HAND))
            }
            Ask::Purge(id) => self.change(&id, "purged", |service, id| service.spool.purge(id)),
        };
        // Who asked may have gone.
        let _ = reply.send(answer);
        Ok(Some(Event::Looked))
    }

    /// Which source a caller means, where it can capture now.
    fn wanted(&mut self, ask: CaptureAsk) -> Result<usize, Refusal> {
        let sources = &self.report.sources;
        let source = match &ask.source {
            None => (!sources.is_empty()).then_some(0),
            Some(name) => sources.iter().position(|source| source.name == *name),
        };
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        let unknown = || Refusal::Unknown(format!("there are the sources: {}", names.join(", ")));
        let source = source.ok_or_else(unknown)?;
        if self.capture.caller.is_some() || self.state.is_capturing() {
            return Err(Refusal::Conflict("a capture is under way".to_owned()));
        }
        if self.seen().is_full {
            let reason = "the spool takes no pages: see `leadscan status`";
            return Err(Refusal::Conflict(reason.to_owned()));
        }
        let max = limits::SPOOL_REFERENCE_BYTES_MAX;
        if ask
            .reference
            .as_ref()
            .is_some_and(|reference| reference.len() > max)
        {
            let reason = format!("a reference has at most {max} bytes");
            return Err(Refusal::Conflict(reason));
        }
        self.capture.reference = ask.reference;
        Ok(source)
    }

    fn with(
        &mut self,
        id: &str,
        ask: impl Fn(&mut Self, JobId) -> Result<Value, SpoolError>,
    ) -> Answer {
        let unknown = |_| Refusal::Unknown(format!("{id:?} is not the id of a job"));
        let id: JobId = id.parse().map_err(unknown)?;
        ask(self, id).map_err(|error| match &error {
            SpoolError::Unknown { .. } => Refusal::Unknown(error.to_string()),
            _ if error.kind() == ErrorKind::Operator => Refusal::Conflict(error.to_string()),
            _ => Refusal::Failed(error.to_string()),
        })
    }

    fn change(
        &mut self,
        id: &str,
        done: &'static str,
        change: impl Fn(&mut Self, JobId) -> Result<(), SpoolError>,
    ) -> Answer {
        self.with(id, |service, id| {
            change(service, id)?;
            service.voice.say(Level::Warning, done, Some(id), "by hand");
            Ok(json!({ "job": id, "done": done }))
        })
    }
}

fn stage(job: &Job) -> &'static str {
    match job.stage() {
        _ if job.held.is_some() => "held",
        Stage::Accepted => "accepted",
        Stage::PageLost => "page_lost",
        Stage::Digitized => "digitized",
        Stage::Settled => "settled",
    }
}

fn in_short(id: JobId, job: &Job) -> Value {
    let waits = |delivery: &&crate::deliver::spool::Delivery| {
        matches!(
            delivery.progress,
            Progress::Waiting { .. } | Progress::Parked { .. }
        )
    };
    let waiting = job.facts.deliveries.iter().filter(waits);
    let waiting: Vec<&str> = waiting
        .map(|delivery| delivery.destination.as_str())
        .collect();
    json!({
        "job": id,
        "stage": stage(job),
        "accepted_ms": job.facts.accepted.clock.wall_ms,
        "waits_for": waiting,
    })
}

fn in_full(id: JobId, job: &Job) -> Value {
    let deliveries = job.facts.deliveries.iter().map(|delivery| {
        let (progress, reason) = match &delivery.progress {
            Progress::Waiting { refusals } => ("waiting", json!({ "refusals": refusals })),
            Progress::Delivered => ("delivered", Value::Null),
            Progress::Parked { reason } => ("parked", json!(reason)),
            Progress::Abandoned => ("abandoned", Value::Null),
        };
        json!({ "destination": delivery.destination, "progress": progress, "reason": reason })
    });
    let clock = &job.facts.accepted.clock;
    json!({
        "job": id,
        "stage": stage(job),
        "held": job.held,
        "accepted_ms": clock.wall_ms,
        "clock_synced": clock.wall_synced,
        "attempts": job.facts.attempts,
        "deliveries": deliveries.collect::<Vec<Value>>(),
        "page_bytes": job.files.page,
        "record_bytes": job.files.record,
    })
}
