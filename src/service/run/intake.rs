//! How pages come in: from the watched folder, and from the sources.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::{Level, ServeError, Service};
use crate::capture::source::Stop;
use crate::capture::watched::{Fate, WatchError};
use crate::deliver::spool::{Accepted, JobId, SpoolError};
use crate::limits;
use crate::nets::Nets;
use crate::service::beats::Part;
use crate::service::capturing::{Kept, Order, Told};
use crate::service::config::Reference;
use crate::service::{Captured, Event, Seen, clock};
use crate::web::{Answer, Refusal};

/// Every how many looks the spool clears up what it could not before.
const CATCH_UP_LOOKS: u64 = 20;
/// A spool that is fuller than this wants a look.
const STRAINED_SHARE: f64 = 0.75;
/// A page about as large as pages are: whether there would be room.
const USUAL_PAGE_BYTES: usize = 4 << 20;

/// The capture that is under way, or was last.
#[derive(Default)]
pub struct Capture {
    pub stop: Stop,
    pub reference: Option<String>,
    /// What it has taken.
    pub jobs: Vec<JobId>,
    /// Who waits for its end.
    pub caller: Option<oneshot::Sender<Answer>>,
}

impl<N: Nets + Send + Sync + 'static> Service<N> {
    pub(super) fn seen(&mut self) -> Seen {
        let next = |to: &crate::web::DestinationReport| self.spool.next(&to.name);
        let (to_digitize, to_send) = (
            self.spool.to_digitize(),
            self.report.destinations.iter().map(next).collect(),
        );
        let room = self.spool.make_room(USUAL_PAGE_BYTES);
        self.shortage = match room {
            Err(error @ SpoolError::Full(_)) => Some(error.to_string()),
            // What else is wrong is found, and told, by who writes.
            Ok(()) | Err(_) => None,
        };
        let share = self.spool.fullness();
        Seen {
            to_digitize,
            to_send,
            is_full: self.shortage.is_some() || self.disk_trouble.is_some(),
            is_strained: share > STRAINED_SHARE
                || !clock::is_plausible()
                || self.panel.trouble.is_some(),
        }
    }

    /// Accepts what has settled in the folder.
    pub(super) fn look(&mut self) -> Result<Event, ServeError> {
        if self.looks.is_multiple_of(CATCH_UP_LOOKS) {
            self.look_after_disk()?;
        }
        self.looks += 1;
        if let Some(event) = self.keep()? {
            return Ok(event);
        }
        let now_ms = self.now_ms();
        let Some(watched) = &mut self.watched else {
            return Ok(Event::Looked);
        };
        match watched.look(now_ms) {
            Ok(found) => {
                for path in found {
                    if let Err(trouble) = self.accept_file(&path) {
                        self.tell_once(trouble);
                        break;
                    }
                    self.trouble = None;
                }
            }
            Err(error) => self.tell_once(told(&error)),
        }
        Ok(Event::Looked)
    }

    /// Clears up what could not be before, and sees whether a disk that failed takes files again.
    fn look_after_disk(&mut self) -> Result<(), ServeError> {
        if self.disk_trouble.is_some() && self.spool.try_out().is_ok() {
            self.voice
                .say(Level::Info, "disk", None, "the spool: the disk works again");
            self.disk_trouble = None;
        }
        if let Err(error) = self.spool.catch_up() {
            self.disk_failed(error)?;
        }
        Ok(())
    }

    /// Takes one file; an error leaves it where it is.
    fn accept_file(&mut self, path: &Path) -> Result<(), String> {
        let about = std::fs::metadata(path).map_err(|error| error.kind().to_string())?;
        if about.len() > limits::SPOOL_BODY_BYTES_MAX as u64 {
            let text = "a file is too large to be a page: set aside";
            self.voice.say(Level::Warning, "too_large", None, text);
            return self.put_away(path, Fate::Failed);
        }
        let Ok(reference) = reference(path, self.named) else {
            let text = "a file's name is no reference (64 bytes of text): set aside";
            self.voice.say(Level::Warning, "no_reference", None, text);
            return self.put_away(path, Fate::Failed);
        };
        let page = std::fs::read(path).map_err(|error| error.kind().to_string())?;
        self.accept(&page, reference)
            .map_err(|error| error.to_string())?;
        self.put_away(path, Fate::Done)
    }

    /// Makes a page durable; one that is here already is as good.
    fn accept(&mut self, page: &[u8], reference: Option<String>) -> Result<JobId, SpoolError> {
        let accepted = Accepted {
            clock: clock::now(),
            reference,
            hash: Sha256::digest(page).into(),
        };
        match self.spool.accept(page, accepted) {
            Ok(job) => {
                self.report.counts.accepted += 1;
                self.voice
                    .say(Level::Info, "accepted", Some(job), "accepted");
                Ok(job)
            }
            Err(SpoolError::Duplicate { of }) => {
                self.report.counts.duplicates += 1;
                self.voice
                    .say(Level::Info, "duplicate", Some(of), "came again");
                Ok(of)
            }
            Err(error) => Err(error),
        }
    }

    fn put_away(&mut self, path: &Path, fate: Fate) -> Result<(), String> {
        let Some(watched) = &mut self.watched else {
            return Ok(());
        };
        let moved = watched.put_away(path, fate);
        moved.map(|_: PathBuf| ()).map_err(|error| told(&error))
    }

    fn tell_once(&mut self, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            self.voice.say(Level::Warning, "trouble", None, &trouble);
            self.trouble = Some(trouble);
        }
    }

    pub(super) fn order_capture(&mut self, source: usize, even_if_doubtful: bool) {
        self.capture.stop = Stop::default();
        self.capture.jobs.clear();
        let now_ms = self.now_ms();
        self.beats
            .begin(Part::Capture, limits::CAPTURE_STILL_MS_MAX, now_ms);
        let order = Order::Capture {
            source,
            even_if_doubtful,
            reference: self.capture.reference.take(),
            stop: self.capture.stop.clone(),
        };
        self.order(order);
    }

    pub(super) fn order(&self, order: Order) {
        let given = self.bed.send(order);
        assert!(given.is_ok(), "the capture thread ends after the service");
    }

    /// What the capture thread tells.
    pub(super) fn hear(&mut self, told: Told) -> Result<Option<Event>, ServeError> {
        match told {
            Told::Page {
                page,
                reference,
                reply,
            } => {
                let kept = match self.accept(&page, reference) {
                    Ok(job) => {
                        self.capture.jobs.push(job);
                        Kept::Yes
                    }
                    Err(error) => Kept::No {
                        reason: error.to_string(),
                    },
                };
                let event = (kept == Kept::Yes).then_some(Event::Accepted);
                // Who does not wait any more has nothing to go on with.
                let _ = reply.send(kept);
                Ok(event)
            }
            Told::Checked { source, found } => {
                let is_well = found.is_ok();
                let found = found.unwrap_or_else(|error| error.to_string());
                self.found(source, is_well, found);
                Ok(Some(Event::Checked { source, is_well }))
            }
            Told::Captured {
                source,
                captured,
                advice,
            } => {
                self.beats.end(Part::Capture);
                self.captured(source, captured, advice);
                Ok(Some(Event::Captured(captured)))
            }
        }
    }

    /// What a look at a source found, which is said where it is news.
    fn found(&mut self, source: usize, is_well: bool, found: String) {
        let report = &mut self.report.sources[source];
        if report.found == found {
            return;
        }
        let text = format!("{}: {found}", report.name);
        report.found = found;
        let level = if is_well { Level::Info } else { Level::Error };
        self.voice.say(level, "source", None, &text);
    }

    fn captured(&mut self, source: usize, captured: Captured, advice: Option<String>) {
        let count = self.capture.jobs.len();
        let level = match captured {
            Captured::Pages | Captured::Cancelled => Level::Info,
            Captured::Doubtful | Captured::Refused => {
                self.report.counts.refused += 1;
                Level::Warning
            }
            Captured::Failed => {
                self.report.counts.captures_failed += 1;
                self.report.sources[source].found = advice.clone().unwrap_or_default();
                Level::Error
            }
        };
        let text = match &advice {
            Some(advice) => format!("capture: {advice}"),
            None => format!("capture: {count} pages"),
        };
        self.voice.say(level, "captured", None, &text);
        let Some(caller) = self.capture.caller.take() else {
            return;
        };
        let jobs = serde_json::json!({ "accepted": self.capture.jobs, "advice": advice });
        let answer = match captured {
            Captured::Pages => Ok(jobs),
            Captured::Doubtful | Captured::Refused => {
                Err(Refusal::Conflict(advice.unwrap_or_default()))
            }
            Captured::Cancelled => Err(Refusal::Conflict("cancelled".to_owned())),
            Captured::Failed => Err(Refusal::Failed(advice.unwrap_or_default())),
        };
        // Who asked may have gone.
        let _ = caller.send(answer);
    }
}

/// The name of a file that is no text, or longer than a reference.
struct NoReference;

/// What a file's name says of its page. A name that cannot be taken as it is, is not cut.
fn reference(path: &Path, named: Reference) -> Result<Option<String>, NoReference> {
    match named {
        Reference::None => Ok(None),
        Reference::FileName => {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let fits = |stem: &&str| stem.len() <= limits::SPOOL_REFERENCE_BYTES_MAX;
            let stem = stem.filter(fits).ok_or(NoReference)?;
            Ok(Some(stem.to_owned()))
        }
    }
}

/// What is wrong with the folder, without the name of a file.
fn told(error: &WatchError) -> String {
    match error {
        WatchError::Folder { .. } | WatchError::Crowded { .. } => error.to_string(),
        WatchError::Move { to, error, .. } => {
            format!("a page cannot be moved to {}: {error}", to.display())
        }
    }
}
