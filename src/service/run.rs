//! Carries out what the service decides: one thread for files, lines and timers, one for digitizing,
//! one for capturing.
//!
//! In: the configuration, the nets, a place to say things. Out: pages become records at every
//! destination, until the process is told to end. A page is accepted when it is durable in the
//! spool, and only then leaves the watched folder or is shown as accepted; a record is delivered when
//! a destination has acknowledged it. A disk that fails while the service runs is shown as an error
//! and tried again; a spool that cannot be opened ends it. What is said names record ids, never files
//! or pages.

mod answer;
mod intake;
mod panel;
mod tell;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc as orders;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal as UnixSignal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use super::beats::{Beats, Part, delivery_ms_max};
use super::capturing::{self, Order, Told};
use super::config::{Config, ConfigError, Destination, Reference};
use super::gate::Gate;
use super::work::{self, Died, Finished, Pulse};
use super::{Action, Event, Outcome, State, notify};
use crate::capture::watched::Watched;
use crate::deliver::link::{Link, LinkError, Outgoing, RecordId};
use crate::deliver::spool::{
    Cause, ErrorKind, Failure, JobId, RealDisk, Settings, Spool, SpoolError, Start,
};
use crate::digitize::Options;
use crate::front::{PanelError, PanelEvent};
use crate::limits;
use crate::nets::Nets;
use crate::record::Origin;
use crate::web::{self, Counts, DestinationReport, Report, Request, SourceReport};

pub use tell::{Entry, Level, Line, Voice};

const _: () = assert!(limits::SERVICE_NEWS_MAX > limits::SPOOL_DESTINATIONS_MAX + 1);

const LOOK: Duration = Duration::from_millis(500);
/// Deliveries that may still be under way when the service ends: they are in the spool.
const END: Duration = Duration::from_millis(500);
const PERMANENT_ERRORS_MAX: u32 = 3;

/// Why the service ended by itself, or never began.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("[panel]: {0}")]
    Panel(#[from] PanelError),
    #[error("[web]: {0}")]
    Web(#[from] web::WebError),
    #[error("the spool: {0}")]
    Spool(#[from] SpoolError),
    #[error("the system: {0}")]
    System(#[from] std::io::Error),
}

/// What comes back from what was begun.
enum News {
    Digitized(JobId, Result<Finished, Died>),
    Sent(usize, JobId, Result<(), LinkError>),
    /// The disk did not let a page be begun.
    NotBegun,
    /// There was nothing to send to a destination after all.
    Unsent(usize, Outcome),
}

/// Serves until SIGINT or SIGTERM, or until the machine is to be switched off. `models` names the
/// nets in the records.
pub fn serve<N>(
    config: &Config,
    nets: N,
    models: Vec<String>,
    voice: Voice,
) -> Result<(), ServeError>
where
    N: Nets + Send + Sync + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = LocalSet::new().block_on(&runtime, async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (service, ears) = Service::new(config, nets, models, voice).await?;
        service.run(ears, [&mut interrupt, &mut terminate]).await
    });
    runtime.shutdown_timeout(END);
    if ended? {
        switch_off(&config.switch_off)?;
    }
    Ok(())
}

fn switch_off(command: &[String]) -> Result<(), ServeError> {
    let Some((program, rest)) = command.split_first() else {
        return Ok(());
    };
    std::process::Command::new(program).args(rest).spawn()?;
    Ok(())
}

/// Where events come from.
struct Ears {
    news: mpsc::Receiver<News>,
    told: mpsc::Receiver<Told>,
    asks: mpsc::Receiver<Request>,
    panel: mpsc::Receiver<PanelEvent>,
}

struct Service<N> {
    spool: Spool<RealDisk>,
    watched: Option<Watched>,
    /// What a file's name says of its page.
    named: Reference,
    lines: Vec<mpsc::Sender<(JobId, Rc<Outgoing>)>>,
    news: mpsc::Sender<News>,
    bed: orders::Sender<Order>,
    capture: intake::Capture,
    panel: panel::Front,
    nets: Arc<N>,
    models: Vec<String>,
    options: Options,
    pulse: Pulse,
    state: State,
    beats: Beats,
    report: Report,
    reports: watch::Sender<Arc<Report>>,
    began: Instant,
    looks: u64,
    /// The last thing that was wrong with the folder or the spool: told once.
    trouble: Option<String>,
    /// What is wrong with the spool's disk, until it takes a file again.
    disk_trouble: Option<String>,
    /// Why no page would be accepted, where the spool is full.
    shortage: Option<String>,
    /// A record that the disk has not taken yet.
    unkept: Option<(JobId, Finished)>,
    voice: Voice,
}

impl<N: Nets + Send + Sync + 'static> Service<N> {
    async fn new(
        config: &Config,
        nets: N,
        models: Vec<String>,
        mut voice: Voice,
    ) -> Result<(Self, Ears), ServeError> {
        let (destinations, sources) = (config.destinations()?, config.sources()?);
        let mut report = blank_report(config, &destinations);
        report.sources = sources
            .iter()
            .map(|source| SourceReport::of(&source.name))
            .collect();
        let names = destinations.iter().map(|d| d.name.clone()).collect();
        let spool = open_spool(config, names, &mut voice)?;
        let (news, news_in) = mpsc::channel(limits::SERVICE_NEWS_MAX);
        let (tell, told) = mpsc::channel(1);
        let (ask, asks) = mpsc::channel(limits::WEB_ASKS_MAX);
        let (reports, latest) = watch::channel(Arc::new(report.clone()));
        let door = web::open(&config.doors()).await?;
        if let Some(address) = door.address() {
            let text = format!("health at http://{address}/healthz");
            voice.say(Level::Info, "web", None, &text);
        }
        tokio::task::spawn_local(web::serve(door, latest, ask));
        let state = State::new(sources.len(), destinations.len());
        let bed = capturing::begin(sources, Gate::new(config.checks()), tell)?;
        let (panel, panel_events) = panel::Front::start(config.panel.as_ref())?;
        let lines = destinations
            .into_iter()
            .enumerate()
            .map(|(k, destination)| begin(k, destination, news.clone()))
            .collect();
        let watched = config.watch.as_ref();
        let service = Self {
            spool,
            watched: watched.map(|watch| Watched::new(watch.folder.clone(), watch.settle_ms)),
            named: watched.map(|watch| watch.reference).unwrap_or_default(),
            lines,
            news,
            bed,
            capture: intake::Capture::default(),
            panel,
            nets: Arc::new(nets),
            models,
            options: Options::usual(),
            pulse: Pulse::default(),
            state,
            beats: Beats::default(),
            report,
            reports,
            began: Instant::now(),
            looks: 0,
            trouble: None,
            disk_trouble: None,
            shortage: None,
            unkept: None,
            voice,
        };
        let ears = Ears {
            news: news_in,
            told,
            asks,
            panel: panel_events,
        };
        Ok((service, ears))
    }

    /// Whether the machine is to be switched off after it.
    async fn run(
        mut self,
        mut ears: Ears,
        [interrupt, terminate]: [&mut UnixSignal; 2],
    ) -> Result<bool, ServeError> {
        let text = format!("ready, {} jobs in the spool", self.spool.jobs().count());
        self.voice.say(Level::Info, "ready", None, &text);
        notify::ready();
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut feed = tokio::time::interval(notify::watchdog_every().unwrap_or(LOOK));
        loop {
            let event = tokio::select! {
                Some(news) = ears.news.recv() => self.take_in(news)?,
                Some(told) = ears.told.recv() => self.hear(told)?,
                Some(event) = ears.panel.recv() => self.touched(event),
                Some(request) = ears.asks.recv() => self.answer(request)?,
                _ = tick.tick() => Some(self.look()?),
                _ = feed.tick() => { self.feed(); None }
                _ = interrupt.recv() => Some(Event::End),
                _ = terminate.recv() => Some(Event::End),
            };
            let Some(event) = event else { continue };
            let (seen, now_ms, random) = (self.seen(), self.now_ms(), tell::random());
            let actions = self.state.step(event, &seen, now_ms, random);
            self.voice.note(event, &seen, now_ms, random, &actions);
            for action in actions {
                if let Action::Ended { switch_off } = action {
                    notify::ending();
                    self.voice.say(Level::Info, "ended", None, "ended");
                    return Ok(switch_off);
                }
                self.act(action)?;
            }
            self.publish(&seen);
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn act(&mut self, action: Action) -> Result<(), ServeError> {
        match action {
            Action::Capture {
                source,
                even_if_doubtful,
            } => self.order_capture(source, even_if_doubtful),
            Action::GiveUpCapture => self.capture.stop.stop(),
            Action::CheckSource { source } => self.order(Order::Check { source }),
            Action::Show(condition) => self.show(condition),
            Action::Signal(signal) => self.panel.signal(signal),
            Action::Digitize(job) => self.digitize(job)?,
            Action::Send { destination, job } => self.send(destination, job)?,
            Action::Degraded { destination } => {
                let name = &self.report.destinations[destination].name;
                let text = format!("{name} takes no records: they queue up");
                self.voice.say(Level::Warning, "degraded", None, &text);
            }
            Action::Restored { destination } => {
                let name = &self.report.destinations[destination].name;
                let text = format!("{name} takes records again");
                self.voice.say(Level::Info, "restored", None, &text);
            }
            Action::Ended { .. } => unreachable!("the caller ends"),
        }
        Ok(())
    }

    fn digitize(&mut self, job: JobId) -> Result<(), ServeError> {
        let mut page = Vec::new();
        let (origin, cause) = match self.start(job, &mut page) {
            Ok(started) => started,
            // The spool has set it aside: the next start of the job finds it lost.
            Err(error @ SpoolError::Damaged { .. }) => {
                let reason = error.to_string();
                self.bring(News::Digitized(job, Err(Died { reason })));
                return Ok(());
            }
            Err(error) => {
                self.disk_failed(error)?;
                self.bring(News::NotBegun);
                return Ok(());
            }
        };
        let (nets, options, news) = (self.nets.clone(), self.options.clone(), self.news.clone());
        let (pulse, now_ms) = (self.pulse.clone(), self.now_ms());
        self.beats
            .begin(Part::Digitize, limits::DIGITIZE_STILL_MS_MAX, now_ms);
        tokio::task::spawn_blocking(move || {
            let done = match cause {
                None => work::work(page, &*nets, &options, origin, &pulse),
                Some(reason) => work::given_up(&options, origin, reason),
            };
            // Nobody listens any more where the service has ended.
            let _ = news.blocking_send(News::Digitized(job, done));
        });
        Ok(())
    }

    /// Counts an attempt and reads the page; why it is not to be digitized, where it is not.
    fn start(
        &mut self,
        job: JobId,
        page: &mut Vec<u8>,
    ) -> Result<(Origin, Option<String>), SpoolError> {
        let origin = self.origin(job)?;
        let cause = match self.spool.begin(job)? {
            Start::Digitize => {
                self.spool.page(job, page)?;
                None
            }
            Start::Reject(Cause::Attempts { count }) => {
                Some(format!("the page was given up after {count} attempts"))
            }
            Start::Reject(Cause::PageLost) => Some("the page was lost on the disk".to_owned()),
        };
        Ok((origin, cause))
    }

    fn origin(&self, job: JobId) -> Result<Origin, SpoolError> {
        let accepted = &self.spool.job(job)?.facts.accepted;
        Ok(Origin {
            device: self.report.device.clone(),
            job: job.to_string(),
            reference: accepted.reference.clone(),
            accepted: accepted.clock,
            version: self.report.version.to_owned(),
            models: self.models.clone(),
        })
    }

    fn send(&mut self, destination: usize, job: JobId) -> Result<(), ServeError> {
        let mut bytes = Vec::new();
        match self.spool.record(job, &mut bytes) {
            Ok(()) => {}
            // The spool has set it aside, and it is made again from its page.
            Err(error @ SpoolError::Damaged { .. }) => {
                let text = error.to_string();
                self.voice.say(Level::Warning, "damaged", Some(job), &text);
                self.bring(News::Unsent(destination, Outcome::Refused));
                return Ok(());
            }
            Err(error) => {
                self.disk_failed(error)?;
                self.bring(News::Unsent(destination, Outcome::Failed));
                return Ok(());
            }
        }
        let still_ms_max = delivery_ms_max(bytes.len());
        match Outgoing::new(RecordId::from(job), bytes.into()) {
            Ok(outgoing) => {
                let now_ms = self.now_ms();
                self.beats
                    .begin(Part::Destination(destination), still_ms_max, now_ms);
                let given = self.lines[destination].try_send((job, Rc::new(outgoing)));
                given.expect("one record at a time is given to a destination");
            }
            Err(error) => {
                let (fault, reason) = (Failure::Permanent, error.to_string());
                let error = LinkError { fault, reason };
                self.bring(News::Sent(destination, job, Err(error)));
            }
        }
        Ok(())
    }

    /// News of something that was over at once.
    fn bring(&self, news: News) {
        let brought = self.news.try_send(news);
        assert!(
            brought.is_ok(),
            "there is room for one piece of news a destination and a page"
        );
    }

    fn take_in(&mut self, news: News) -> Result<Option<Event>, ServeError> {
        match news {
            News::Digitized(job, Ok(done)) => {
                self.beats.end(Part::Digitize);
                self.unkept = Some((job, done));
                self.keep()
            }
            News::Digitized(job, Err(died)) => {
                self.beats.end(Part::Digitize);
                self.report.counts.died += 1;
                let text = died.to_string();
                self.voice.say(Level::Error, "died", Some(job), &text);
                Ok(Some(Event::Digitized))
            }
            News::NotBegun => Ok(Some(Event::NotBegun)),
            News::Unsent(destination, outcome) => Ok(Some(Event::Sent {
                destination,
                outcome,
            })),
            News::Sent(destination, job, outcome) => {
                self.beats.end(Part::Destination(destination));
                let outcome = self.sent(destination, job, outcome)?;
                Ok(Some(Event::Sent {
                    destination,
                    outcome,
                }))
            }
        }
    }

    /// Keeps the record that was made last; where the disk does not take it, it is tried again.
    fn keep(&mut self) -> Result<Option<Event>, ServeError> {
        let Some((job, done)) = self.unkept.take() else {
            return Ok(None);
        };
        match self.spool.finish(job, done.verdict, &done.record) {
            Ok(()) => {
                self.count_finished(done.verdict);
                let line = &done.line;
                self.voice.say(Level::Info, "digitized", Some(job), line);
                Ok(Some(Event::Digitized))
            }
            // Purged while it was digitized, or held until it is read again.
            Err(SpoolError::Unknown { .. } | SpoolError::Held { .. }) => Ok(Some(Event::Digitized)),
            Err(error) => {
                self.disk_failed(error)?;
                self.unkept = Some((job, done));
                Ok(None)
            }
        }
    }

    /// A disk that fails is no end: what is in the spool is still sent, and it may come back.
    fn disk_failed(&mut self, error: SpoolError) -> Result<(), ServeError> {
        if error.kind() == ErrorKind::Bug {
            return Err(error.into());
        }
        let text = format!("the spool: {error}");
        if self.disk_trouble.is_none() {
            self.voice.say(Level::Error, "disk", None, &text);
        }
        self.disk_trouble = Some(text);
        Ok(())
    }

    fn sent(
        &mut self,
        destination: usize,
        job: JobId,
        outcome: Result<(), LinkError>,
    ) -> Result<Outcome, ServeError> {
        let to = &mut self.report.destinations[destination];
        let Err(error) = outcome else {
            to.delivered += 1;
            to.reason = None;
            // A job that was purged while its record was on its way has nobody to be told of.
            if self.spool.job(job).is_ok() {
                let noted = self.spool.delivered(job, &to.name);
                let text = format!("delivered to {}", to.name);
                if let Err(error) = noted {
                    self.disk_failed(error)?;
                }
                self.voice.say(Level::Info, "delivered", Some(job), &text);
                return Ok(Outcome::Delivered);
            }
            let text = format!("delivered to {}", to.name);
            self.voice.say(Level::Info, "delivered", Some(job), &text);
            return Ok(Outcome::Delivered);
        };
        to.failed += 1;
        to.reason = Some(error.reason.clone());
        let text = format!("not delivered to {}: {}", to.name, error.reason);
        self.voice
            .say(Level::Warning, "not_delivered", Some(job), &text);
        if self.spool.job(job).is_ok() {
            let noted = self.spool.failed(job, &to.name, error.fault, &error.reason);
            if let Err(error) = noted {
                self.disk_failed(error)?;
            }
        }
        Ok(match error.fault {
            Failure::Permanent => Outcome::Refused,
            Failure::Temporary => Outcome::Failed,
        })
    }
}

fn open_spool(
    config: &Config,
    destinations: Vec<String>,
    voice: &mut Voice,
) -> Result<Spool<RealDisk>, SpoolError> {
    let settings = settings(config, destinations);
    let (spool, damaged) = Spool::open(RealDisk, &config.spool.folder, settings)?;
    for file in &damaged {
        let text = format!("spool: {} is damaged: set aside", file.name);
        voice.say(Level::Warning, "quarantined", None, &text);
    }
    Ok(spool)
}

fn settings(config: &Config, destinations: Vec<String>) -> Settings {
    Settings {
        jobs_max: config.spool.jobs_max,
        bytes_max: config.spool.mib_max << 20,
        free_bytes_min: config.spool.free_mib_min << 20,
        pages_kept_max: config.spool.pages_kept_max,
        sent_max: limits::SPOOL_SENT_MAX,
        refusals_max: PERMANENT_ERRORS_MAX,
        destinations,
    }
}

fn blank_report(config: &Config, destinations: &[Destination]) -> Report {
    let blank = |destination: &Destination| DestinationReport {
        name: destination.name.clone(),
        ..DestinationReport::default()
    };
    Report {
        device: config.device.clone(),
        version: env!("CARGO_PKG_VERSION"),
        counts: Counts::default(),
        destinations: destinations.iter().map(blank).collect(),
        ..Report::default()
    }
}

/// The task of one destination: one record after another.
fn begin(
    index: usize,
    destination: Destination,
    news: mpsc::Sender<News>,
) -> mpsc::Sender<(JobId, Rc<Outgoing>)> {
    let (give, mut take) = mpsc::channel::<(JobId, Rc<Outgoing>)>(1);
    let mut link: Box<dyn Link> = destination.link;
    tokio::task::spawn_local(async move {
        loop {
            let given = tokio::select! {
                given = take.recv() => given,
                never = link.rest() => match never {},
            };
            let Some((job, record)) = given else { break };
            let outcome = link.deliver(&record).await;
            if news.send(News::Sent(index, job, outcome)).await.is_err() {
                break;
            }
        }
    });
    give
}
