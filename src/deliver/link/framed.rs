//! Frames over a line that opens and breaks: records until the receiver has them.
//!
//! In: a `Line` that can be opened, records. Out: `Ok` once the receiver has said that the record
//! lies on its disk under our digest. What the frames say is decided in `sender.rs`; this moves
//! bytes. A line that takes nothing for `LINK_WRITE_MS_MAX` is broken. A broken line is opened again,
//! and the record goes on where the receiver has it; after `LINK_BREAKS_MAX` breaks in a row that
//! brought it no further, or `LINK_STANDSTILL_MS_MAX` in which an open line did not, it is the
//! service's turn to wait (`Failure::Temporary`). The line stays open between records.

use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::backoff::Backoff;
use super::frame::{self, FrameReader};
use super::sender::{Action, Event, Outgoing, Pace, Sender};
use super::wire::Refusal;
use super::{Checking, Delivering, Link, LinkError};
use crate::limits;

const READ_BYTES: usize = 512;
/// Where nothing is asked, nothing is waited for; a wait has an end all the same.
const IDLE_MS: u64 = 1_000;

/// Bytes there and back.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> ByteStream for S {}

/// A line that is open.
pub type Stream = Box<dyn ByteStream>;

/// A line being opened.
pub type Opening<'a> = Pin<Box<dyn Future<Output = std::io::Result<Stream>> + 'a>>;

/// What can be opened, and opened again after a break.
pub trait Line {
    fn open(&mut self) -> Opening<'_>;
    fn pace(&self) -> Pace;
}

/// A link that speaks in frames over a `Line`.
pub struct Framed<L> {
    line: L,
    device: String,
    talk: Option<Talk>,
}

impl<L: Line> Framed<L> {
    /// `device` is how the receiver will know us.
    pub fn new(line: L, device: &str) -> Self {
        Self {
            line,
            device: device.to_owned(),
            talk: None,
        }
    }

    async fn send(&mut self, record: &Outgoing) -> Result<(), LinkError> {
        let mut backoff = Backoff::lines();
        let mut breaks = 0;
        let mut farthest = 0;
        loop {
            let reason = match self.attempt(record, &mut farthest).await {
                Attempt::Delivered => return Ok(()),
                Attempt::Refused(error) => return Err(error),
                Attempt::Further(reason) => {
                    breaks = 0;
                    backoff.reset();
                    reason
                }
                Attempt::Broken(reason) => reason,
            };
            breaks += 1;
            if breaks > limits::LINK_BREAKS_MAX {
                return Err(LinkError::temporary(reason));
            }
            sleep(Duration::from_millis(backoff.next_ms())).await;
        }
    }

    /// As far as the line leads this time.
    async fn attempt(&mut self, record: &Outgoing, farthest: &mut u32) -> Attempt {
        if self.talk.is_none() {
            match self.line.open().await {
                Ok(stream) => {
                    let sender = Sender::new(&self.device, self.line.pace());
                    self.talk = Some(Talk::new(stream, sender));
                }
                Err(error) => return Attempt::Broken(error.to_string()),
            }
        }
        let Some(talk) = &mut self.talk else {
            return Attempt::Broken("the line is closed".to_owned());
        };
        let broken = match talk.deliver(record).await {
            Ok(Ok(())) => return Attempt::Delivered,
            Ok(Err(error)) => return Attempt::Refused(error),
            Err(broken) => broken,
        };
        let reached = talk.sender.farthest();
        self.talk = None;
        match broken {
            Broken::Hung(reason) => Attempt::Refused(LinkError::temporary(reason)),
            Broken::Line(reason) if reached > *farthest => {
                *farthest = reached;
                Attempt::Further(reason)
            }
            Broken::Line(reason) => Attempt::Broken(reason),
        }
    }
}

impl<L: Line> Link for Framed<L> {
    fn deliver<'a>(&'a mut self, record: &'a Outgoing) -> Delivering<'a> {
        Box::pin(self.send(record))
    }

    fn check(&mut self) -> Checking<'_> {
        Box::pin(async {
            let opened = self.line.open().await.map_err(LinkError::temporary);
            opened.map(|_| "the line opens".to_owned())
        })
    }
}

enum Attempt {
    Delivered,
    Refused(LinkError),
    /// The line broke, and more of the record is there than before.
    Further(String),
    Broken(String),
}

/// Why nothing more comes over a line.
enum Broken {
    Line(String),
    /// The other end is no receiver for us, or says nothing: opening the line again is of no use.
    Hung(String),
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Self::Line(error.to_string())
    }
}

/// What is said over one line, from its opening to its end.
struct Talk {
    stream: Stream,
    sender: Sender,
    reader: FrameReader,
    began: Instant,
    is_greeted: bool,
}

impl Talk {
    fn new(stream: Stream, sender: Sender) -> Self {
        Self {
            stream,
            sender,
            reader: FrameReader::default(),
            began: Instant::now(),
            is_greeted: false,
        }
    }

    /// How the record ended, or why the line did.
    async fn deliver(&mut self, record: &Outgoing) -> Result<Result<(), LinkError>, Broken> {
        let mut actions = self.step(Event::Give(record.clone()));
        if !std::mem::replace(&mut self.is_greeted, true) {
            actions.extend(self.step(Event::Opened));
        }
        let mut farthest = 0;
        let mut moved = Instant::now();
        loop {
            for action in actions {
                if let Some(ended) = self.act(action).await? {
                    return Ok(ended);
                }
            }
            if self.sender.farthest() > farthest {
                farthest = self.sender.farthest();
                moved = Instant::now();
            }
            if moved.elapsed() > Duration::from_millis(limits::LINK_STANDSTILL_MS_MAX) {
                return Err(Broken::Hung("the receiver does not answer".to_owned()));
            }
            actions = self.wait().await?;
        }
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        let now_ms = self.now_ms();
        self.sender.step(event, now_ms)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Carries out one action; how the record ended, if this is its end.
    async fn act(&mut self, action: Action) -> Result<Option<Result<(), LinkError>>, Broken> {
        match action {
            Action::Send(message) => {
                // Every message of the sender keeps within a frame; if not, no line will take it.
                let frame = match frame::encode(&message) {
                    Ok(frame) => frame,
                    Err(error) => return Ok(Some(Err(LinkError::permanent(error.to_string())))),
                };
                write(&mut self.stream, &frame).await?;
                Ok(None)
            }
            Action::Delivered => Ok(Some(Ok(()))),
            Action::Refused(Refusal::Later, reason) => Ok(Some(Err(LinkError::temporary(reason)))),
            Action::Refused(Refusal::Never, reason) => Ok(Some(Err(LinkError::permanent(reason)))),
            Action::Hang(reason) => Err(Broken::Hung(reason)),
        }
    }

    /// What to do next: after bytes came, or after the silence was long enough.
    async fn wait(&mut self) -> Result<Vec<Action>, Broken> {
        let mut bytes = [0; READ_BYTES];
        let now_ms = self.now_ms();
        let due_ms = self.sender.due_ms().unwrap_or(now_ms + IDLE_MS);
        let due = self.began + Duration::from_millis(due_ms);
        let Ok(read) = timeout_at(due, self.stream.read(&mut bytes)).await else {
            return Ok(self.step(Event::Tick));
        };
        let count = read?;
        if count == 0 {
            return Err(Broken::Line("the receiver closed the line".to_owned()));
        }
        let now_ms = self.now_ms();
        let (sender, mut actions) = (&mut self.sender, Vec::new());
        self.reader.read(&bytes[..count], |message| {
            actions.extend(sender.step(Event::Received(message), now_ms));
        });
        Ok(actions)
    }
}

/// Writes all bytes, or fails after `LINK_WRITE_MS_MAX`.
pub async fn write(stream: &mut Stream, bytes: &[u8]) -> std::io::Result<()> {
    let written = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    let bound = Duration::from_millis(limits::LINK_WRITE_MS_MAX);
    match timeout(bound, written).await {
        Ok(written) => written,
        Err(_) => Err(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            "the line takes no bytes",
        )),
    }
}
