//! Carries out what the service decides: one thread for files, lines and timers, one for digitizing.
//!
//! In: the configuration, the nets, a place to say things. Out: pages of the watched folder become
//! records at every destination, until the process is told to end. A page is accepted when it is
//! durable in the spool, and only then leaves the folder; a record is delivered when a destination
//! has acknowledged it. Errors of the spool end the service: what was accepted is on the disk. What
//! is said names record ids, never files or pages.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::config::{Config, ConfigError, Destination};
use super::work::{self, Died, Finished};
use super::{Action, Event, Outcome, Queue, State, clock};
use crate::capture::watched::{Fate, WatchError, Watched};
use crate::deliver::link::{Link, LinkError, Outgoing, RecordId};
use crate::deliver::spool::{
    Accepted, Cause, Failure, JobId, RealDisk, Settings, Spool, SpoolError, Start,
};
use crate::digitize::Options;
use crate::limits;
use crate::nn::TractNets;
use crate::units::Hertz;

const _: () = assert!(limits::SERVICE_NEWS_MAX > limits::SPOOL_DESTINATIONS_MAX + 1);

const LOOK: Duration = Duration::from_millis(500);
/// Deliveries that may still be under way when the service ends: they are in the spool.
const END: Duration = Duration::from_millis(500);
const PERMANENT_ERRORS_MAX: u32 = 3;
/// Every how many looks the spool clears up what it could not before.
const CATCH_UP_LOOKS: u64 = 20;

/// Why the service ended by itself, or never began.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the spool: {0}")]
    Spool(#[from] SpoolError),
    #[error("the system: {0}")]
    System(#[from] std::io::Error),
}

/// What comes back from what was begun.
enum News {
    Digitized(JobId, Result<Finished, Died>),
    Sent(usize, JobId, Result<(), LinkError>),
    /// There was nothing to send to a destination after all.
    Unsent(usize),
}

/// Serves until SIGINT or SIGTERM.
pub fn serve(config: &Config, nets: TractNets, say: impl Fn(&str)) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = LocalSet::new().block_on(&runtime, async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let service = Service::new(config, nets, &say)?;
        service.run([&mut interrupt, &mut terminate]).await
    });
    runtime.shutdown_timeout(END);
    ended
}

struct Service<'a> {
    spool: Spool<RealDisk>,
    watched: Option<Watched>,
    names: Vec<String>,
    lines: Vec<mpsc::Sender<(JobId, Rc<Outgoing>)>>,
    news: mpsc::Sender<News>,
    inbox: mpsc::Receiver<News>,
    nets: Arc<TractNets>,
    options: Options,
    state: State,
    began: Instant,
    looks: u64,
    /// The last thing that was wrong with the folder or the spool: told once.
    trouble: Option<String>,
    say: &'a dyn Fn(&str),
}

impl<'a> Service<'a> {
    fn new(config: &Config, nets: TractNets, say: &'a dyn Fn(&str)) -> Result<Self, ServeError> {
        let destinations = config.destinations()?;
        let names: Vec<String> = destinations.iter().map(|d| d.name.clone()).collect();
        let settings = settings(config, names.clone());
        let (spool, damaged) = Spool::open(RealDisk, &config.spool.folder, settings)?;
        for file in &damaged {
            say(&format!("spool: {} is damaged: set aside", file.name));
        }
        let (news, inbox) = mpsc::channel(limits::SERVICE_NEWS_MAX);
        let lines = destinations
            .into_iter()
            .enumerate()
            .map(|(k, destination)| begin(k, destination, news.clone()))
            .collect();
        Ok(Self {
            spool,
            watched: config
                .watch
                .as_ref()
                .map(|watch| Watched::new(watch.folder.clone(), watch.settle_ms)),
            state: State::new(names.len()),
            names,
            lines,
            news,
            inbox,
            nets: Arc::new(nets),
            options: Options {
                sample_rate: Hertz(500.0),
                speed: None,
                gain: None,
                layout: None,
            },
            began: Instant::now(),
            looks: 0,
            trouble: None,
            say,
        })
    }

    async fn run(mut self, [interrupt, terminate]: [&mut Signal; 2]) -> Result<(), ServeError> {
        (self.say)(&format!(
            "ready, {} jobs in the spool",
            self.spool.jobs().count()
        ));
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                Some(news) = self.inbox.recv() => self.take_in(news)?,
                _ = tick.tick() => self.look()?,
                _ = interrupt.recv() => Event::End,
                _ = terminate.recv() => Event::End,
            };
            let (queue, now_ms) = (self.queue(), self.now_ms());
            for action in self.state.step(event, &queue, now_ms, random()) {
                if action == Action::Ended {
                    (self.say)("ended");
                    return Ok(());
                }
                self.act(action)?;
            }
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn queue(&self) -> Queue {
        Queue {
            to_digitize: self.spool.to_digitize(),
            to_send: self
                .names
                .iter()
                .map(|name| self.spool.next(name))
                .collect(),
        }
    }

    /// Accepts what has settled in the folder.
    fn look(&mut self) -> Result<Event, ServeError> {
        if self.looks.is_multiple_of(CATCH_UP_LOOKS) {
            self.spool.catch_up()?;
        }
        self.looks += 1;
        let now_ms = self.now_ms();
        let Some(watched) = &mut self.watched else {
            return Ok(Event::Looked);
        };
        match watched.look(now_ms) {
            Ok(found) => {
                for path in found {
                    if let Err(trouble) = self.accept(&path) {
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

    /// Takes one file; an error leaves it where it is.
    fn accept(&mut self, path: &Path) -> Result<(), String> {
        let about = std::fs::metadata(path).map_err(|error| error.kind().to_string())?;
        if about.len() > limits::SPOOL_BODY_BYTES_MAX as u64 {
            (self.say)("a file is too large to be a page: set aside");
            return self.put_away(path, Fate::Failed);
        }
        let page = std::fs::read(path).map_err(|error| error.kind().to_string())?;
        let accepted = Accepted {
            clock: clock::now(),
            reference: None,
            hash: Sha256::digest(&page).into(),
        };
        match self.spool.accept(&page, accepted) {
            Ok(job) => (self.say)(&format!("{job} accepted")),
            Err(SpoolError::Duplicate { of }) => (self.say)(&format!("{of} came again")),
            Err(error) => return Err(error.to_string()),
        }
        self.put_away(path, Fate::Done)
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
            (self.say)(&trouble);
            self.trouble = Some(trouble);
        }
    }

    fn act(&mut self, action: Action) -> Result<(), ServeError> {
        match action {
            Action::Digitize(job) => self.digitize(job)?,
            Action::Send { destination, job } => self.send(destination, job)?,
            Action::Degraded { destination } => {
                let name = &self.names[destination];
                (self.say)(&format!("{name} takes no records: they queue up"));
            }
            Action::Restored { destination } => {
                (self.say)(&format!("{} takes records again", self.names[destination]));
            }
            Action::Ended => unreachable!("the caller ends"),
        }
        Ok(())
    }

    fn digitize(&mut self, job: JobId) -> Result<(), ServeError> {
        let mut page = Vec::new();
        let cause = match self.spool.begin(job)? {
            Start::Digitize => match self.spool.page(job, &mut page) {
                Ok(()) => None,
                // The spool has set it aside: the next start of the job finds it lost.
                Err(error @ SpoolError::Damaged { .. }) => {
                    let reason = error.to_string();
                    self.bring(News::Digitized(job, Err(Died { reason })));
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            },
            Start::Reject(Cause::Attempts { count }) => {
                Some(format!("the page was given up after {count} attempts"))
            }
            Start::Reject(Cause::PageLost) => Some("the page was lost on the disk".to_owned()),
        };
        let (nets, options, news) = (self.nets.clone(), self.options.clone(), self.news.clone());
        tokio::task::spawn_blocking(move || {
            let done = match cause {
                None => work::work(page, &nets, &options),
                Some(reason) => work::given_up(&options, reason),
            };
            // Nobody listens any more where the service has ended.
            let _ = news.blocking_send(News::Digitized(job, done));
        });
        Ok(())
    }

    fn send(&mut self, destination: usize, job: JobId) -> Result<(), ServeError> {
        let mut bytes = Vec::new();
        match self.spool.record(job, &mut bytes) {
            Ok(()) => {}
            // The spool has set it aside, and it is made again from its page.
            Err(error @ SpoolError::Damaged { .. }) => {
                (self.say)(&error.to_string());
                self.bring(News::Unsent(destination));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        match Outgoing::new(RecordId::from(job), bytes.into()) {
            Ok(outgoing) => {
                let given = self.lines[destination].try_send((job, Rc::new(outgoing)));
                given.expect("one record at a time is given to a destination");
            }
            Err(error) => {
                let (fault, reason) = (Failure::Permanent, error.to_string());
                self.bring(News::Sent(
                    destination,
                    job,
                    Err(LinkError { fault, reason }),
                ));
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

    fn take_in(&mut self, news: News) -> Result<Event, ServeError> {
        match news {
            News::Digitized(job, Ok(done)) => {
                self.spool.finish(job, done.verdict, &done.record)?;
                (self.say)(&format!("{job} {}", done.line));
                Ok(Event::Digitized)
            }
            News::Digitized(job, Err(died)) => {
                (self.say)(&format!("{job} {died}"));
                Ok(Event::Digitized)
            }
            News::Unsent(destination) => Ok(Event::Sent {
                destination,
                outcome: Outcome::Refused,
            }),
            News::Sent(destination, job, outcome) => {
                let outcome = self.sent(destination, job, outcome)?;
                Ok(Event::Sent {
                    destination,
                    outcome,
                })
            }
        }
    }

    fn sent(
        &mut self,
        destination: usize,
        job: JobId,
        outcome: Result<(), LinkError>,
    ) -> Result<Outcome, ServeError> {
        let name = &self.names[destination];
        let Err(error) = outcome else {
            self.spool.delivered(job, name)?;
            (self.say)(&format!("{job} delivered to {name}"));
            return Ok(Outcome::Delivered);
        };
        (self.say)(&format!("{job} not delivered to {name}: {}", error.reason));
        self.spool.failed(job, name, error.fault, &error.reason)?;
        Ok(match error.fault {
            Failure::Permanent => Outcome::Refused,
            Failure::Temporary => Outcome::Failed,
        })
    }
}

fn settings(config: &Config, destinations: Vec<String>) -> Settings {
    Settings {
        jobs_max: config.spool.jobs_max,
        bytes_max: config.spool.mib_max << 20,
        free_bytes_min: config.spool.free_mib_min << 20,
        pages_kept_max: 0,
        sent_max: limits::SPOOL_SENT_MAX,
        refusals_max: PERMANENT_ERRORS_MAX,
        destinations,
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

/// What is wrong with the folder, without the name of a file.
fn told(error: &WatchError) -> String {
    match error {
        WatchError::Folder { .. } | WatchError::Crowded { .. } => error.to_string(),
        WatchError::Move { to, error, .. } => {
            format!("a page cannot be moved to {}: {error}", to.display())
        }
    }
}

/// For the spread of tries among devices; nothing secret hangs on it.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
