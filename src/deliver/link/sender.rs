//! The device's end of a link with frames: which message next, and when again.
//!
//! ```text
//! device  hello      --> <--  hello                                                      receiver
//!         offer      --> <--  status: partial, so many bytes are there (or stored)
//!         chunk x 8  --> <--  status: partial, after each that was new or came too far
//!         commit     --> <--  status: stored, once the digest is right and the bytes are durable
//! ```
//!
//! In: what happened (`Event`) and the time. Out: what to do (`Action`). Pure: no byte is moved here.
//! Two answers that say the same show that a chunk was lost; silence makes the device offer the
//! record again, later each time. Whatever comes twice does no harm. Times: milliseconds of a clock
//! that never goes back.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::backoff::Backoff;
use super::wire::{
    CHUNK_BYTES_MAX, Message, NAME_BYTES_MAX, Offer, RecordDigest, RecordId, Refusal, State,
    VERSION, bounded,
};
use crate::limits;

/// Chunks that are under way without an answer, at most.
const WINDOW_CHUNKS: u32 = 8;
/// Answers that say the same show that a chunk was lost.
const SAME_ANSWERS_MAX: u32 = 2;
const CHUNK_BYTES: u32 = CHUNK_BYTES_MAX as u32;
const _: () = assert!(limits::LINK_RECORD_BYTES_MAX <= u32::MAX as usize);

/// A record to be sent. Its bytes have their digest and are `LINK_RECORD_BYTES_MAX` at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    offer: Offer,
    bytes: Arc<[u8]>,
}

/// A record that no link takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record has {found} bytes; at most {max} are sent")]
pub struct TooLong {
    pub found: usize,
    pub max: usize,
}

impl Outgoing {
    pub fn new(id: RecordId, bytes: Arc<[u8]>) -> Result<Self, TooLong> {
        let (found, max) = (bytes.len(), limits::LINK_RECORD_BYTES_MAX);
        let too_long = TooLong { found, max };
        let length = u32::try_from(found).map_err(|_| too_long)?;
        if found > max {
            return Err(too_long);
        }
        let digest = RecordDigest(Sha256::digest(&bytes).into());
        let offer = Offer {
            id,
            bytes: length,
            digest,
        };
        Ok(Self { offer, bytes })
    }

    pub fn offer(&self) -> Offer {
        self.offer
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What happened on the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The line is there, fresh.
    Opened,
    /// The line is gone.
    Closed,
    Received(Message),
    /// The record to be sent next; the one before it is given up.
    Give(Outgoing),
    /// Time went by.
    Tick,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Send(Message),
    /// The receiver has the record on its disk.
    Delivered,
    /// The receiver will not take the record.
    Refused(Refusal, String),
    /// The other end is no receiver for us: close the line.
    Hang(String),
}

/// How soon a line answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Beside the time that the bytes take.
    pub answer_ms: u64,
    /// What a frame of full length takes.
    pub frame_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Closed,
    /// Our hello is out, the receiver's has not come.
    Greeting,
    Open,
}

/// How far the record on its way is.
#[derive(Clone, Debug)]
struct Transfer {
    record: Outgoing,
    /// Bytes that the receiver holds; `None` while it is being asked.
    have: Option<u32>,
    /// The most that the receiver has ever held.
    farthest: u32,
    /// Where the next chunk begins.
    next: u32,
    same_answers: u32,
}

/// The state of the device's end.
#[derive(Clone, Debug)]
pub struct Sender {
    device: String,
    line: Line,
    transfer: Option<Transfer>,
    pace: Pace,
    silence: Backoff,
    due_ms: Option<u64>,
}

impl Sender {
    /// `device` is how the receiver will know us.
    pub fn new(device: &str, pace: Pace) -> Self {
        Self {
            device: bounded(device, NAME_BYTES_MAX),
            line: Line::Closed,
            transfer: None,
            pace,
            silence: Backoff::lines().beginning_at(pace.answer_ms),
            due_ms: None,
        }
    }

    /// When a `Tick` is due, if nothing happens before.
    pub fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// Bytes of the record on its way that the receiver has held.
    pub fn farthest(&self) -> u32 {
        self.transfer
            .as_ref()
            .map_or(0, |transfer| transfer.farthest)
    }

    /// What to do about an event.
    pub fn step(&mut self, event: Event, now_ms: u64) -> Vec<Action> {
        match event {
            Event::Opened => {
                self.line = Line::Greeting;
                self.silence.reset();
                self.ask(now_ms)
            }
            Event::Closed => {
                self.line = Line::Closed;
                self.ask(now_ms)
            }
            Event::Give(record) => {
                self.transfer = Some(Transfer::new(record));
                self.silence.reset();
                match self.line {
                    // Our hello is out already.
                    Line::Greeting => Vec::new(),
                    Line::Closed | Line::Open => self.ask(now_ms),
                }
            }
            Event::Tick if self.due_ms.is_none_or(|due_ms| now_ms < due_ms) => Vec::new(),
            Event::Tick => self.ask(now_ms),
            Event::Received(message) => self.received(message, now_ms),
        }
    }

    /// Asks what the receiver has to say: to our hello, or to the record.
    fn ask(&mut self, now_ms: u64) -> Vec<Action> {
        if let Some(transfer) = &mut self.transfer {
            transfer.have = None;
        }
        let question = match (self.line, &self.transfer) {
            (Line::Closed, _) | (Line::Open, None) => {
                self.due_ms = None;
                return Vec::new();
            }
            (Line::Greeting, _) => Message::Hello {
                version: VERSION,
                name: self.device.clone(),
            },
            (Line::Open, Some(transfer)) => Message::Offer(transfer.record.offer),
        };
        self.due_ms = Some(now_ms + self.silence.next_ms() + self.pace.frame_ms);
        vec![Action::Send(question)]
    }

    fn received(&mut self, message: Message, now_ms: u64) -> Vec<Action> {
        match message {
            Message::Hello { version, .. } if version != VERSION => {
                let reason = format!("the receiver speaks version {version}, we {VERSION}");
                vec![Action::Hang(reason)]
            }
            // One that comes late answers a hello that was asked twice.
            Message::Hello { .. } if self.line != Line::Greeting => Vec::new(),
            Message::Hello { .. } => {
                self.line = Line::Open;
                self.silence.reset();
                self.ask(now_ms)
            }
            Message::Bye { reason } => vec![Action::Hang(reason)],
            Message::Status { id, state } => self.answered(id, state, now_ms),
            // No receiver says these.
            Message::Offer(_) | Message::Chunk { .. } | Message::Commit { .. } => Vec::new(),
        }
    }

    fn answered(&mut self, id: RecordId, state: State, now_ms: u64) -> Vec<Action> {
        let Some(transfer) = self.transfer.as_mut() else {
            return Vec::new();
        };
        if transfer.record.offer.id != id {
            return Vec::new();
        }
        match state {
            State::Stored { digest } if digest == transfer.record.offer.digest => {
                self.end(Action::Delivered)
            }
            State::Stored { .. } => {
                let reason = "the receiver holds another record of this name".to_owned();
                self.end(Action::Refused(Refusal::Never, reason))
            }
            State::Refused { refusal, reason } => self.end(Action::Refused(refusal, reason)),
            // It has been offered again since.
            State::Unknown if transfer.have.is_none() => Vec::new(),
            State::Unknown => self.ask(now_ms),
            State::Partial { have } => self.go_on(have, now_ms),
        }
    }

    fn go_on(&mut self, have: u32, now_ms: u64) -> Vec<Action> {
        let Some(transfer) = &mut self.transfer else {
            return Vec::new();
        };
        let heard = transfer.hear(have);
        let messages = transfer.messages();
        if heard == Heard::News {
            self.silence.reset();
        }
        if heard == Heard::News || !messages.is_empty() {
            let window_ms = self.pace.frame_ms * u64::from(WINDOW_CHUNKS);
            let mut silence = self.silence;
            self.due_ms = Some(now_ms + silence.next_ms() + window_ms);
        }
        messages.into_iter().map(Action::Send).collect()
    }

    fn end(&mut self, action: Action) -> Vec<Action> {
        self.transfer = None;
        self.silence.reset();
        self.due_ms = None;
        vec![action]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    News,
    Same,
    /// An answer from before.
    Old,
}

impl Transfer {
    fn new(record: Outgoing) -> Self {
        Self {
            record,
            have: None,
            farthest: 0,
            next: 0,
            same_answers: 0,
        }
    }

    /// Takes in how much the receiver holds: the first answer to an offer tells where to go on, and
    /// a lost chunk makes us go back.
    fn hear(&mut self, have: u32) -> Heard {
        let have = have.min(self.record.offer.bytes);
        self.farthest = self.farthest.max(have);
        match self.have {
            Some(known) if have < known => return Heard::Old,
            Some(known) if have == known => {
                self.same_answers += 1;
                if self.same_answers == SAME_ANSWERS_MAX {
                    self.next = have;
                }
                return Heard::Same;
            }
            Some(_) => self.next = self.next.max(have),
            None => self.next = have,
        }
        self.same_answers = 0;
        self.have = Some(have);
        Heard::News
    }

    /// The chunks that the window has room for; the commit, once all is there.
    fn messages(&mut self) -> Vec<Message> {
        let Some(have) = self.have else {
            return Vec::new();
        };
        let Offer { id, bytes, .. } = self.record.offer;
        if have == bytes {
            return vec![Message::Commit { id }];
        }
        let end = have.saturating_add(WINDOW_CHUNKS * CHUNK_BYTES).min(bytes);
        let mut messages = Vec::new();
        while self.next < end {
            let offset = self.next;
            self.next = offset.saturating_add(CHUNK_BYTES).min(end);
            let data = self.record.bytes[offset as usize..self.next as usize].to_vec();
            messages.push(Message::Chunk { id, offset, data });
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        answer_ms: 250,
        frame_ms: 0,
    };
    const ID: RecordId = RecordId([7; 16]);

    fn open(bytes: usize) -> Sender {
        let mut sender = Sender::new("bed 7", PACE);
        sender.step(Event::Opened, 0);
        sender.step(Event::Received(hello(VERSION)), 0);
        let record = Outgoing::new(ID, vec![1; bytes].into()).unwrap();
        let actions = sender.step(Event::Give(record), 0);
        assert!(matches!(actions[..], [Action::Send(Message::Offer(_))]));
        sender
    }

    fn hello(version: u16) -> Message {
        let name = "ward".to_owned();
        Message::Hello { version, name }
    }

    fn status(state: State) -> Event {
        Event::Received(Message::Status { id: ID, state })
    }

    fn partial(have: u32) -> Event {
        status(State::Partial { have })
    }

    /// Where the chunks begin that are sent.
    fn offsets(actions: &[Action]) -> Vec<u32> {
        let offset = |action: &Action| match action {
            Action::Send(Message::Chunk { offset, .. }) => Some(*offset),
            _ => None,
        };
        actions.iter().filter_map(offset).collect()
    }

    #[test]
    fn eight_chunks_are_under_way_and_the_commit_comes_last() {
        let mut sender = open(10 * CHUNK_BYTES_MAX);
        let first: Vec<u32> = (0..8).map(|k| k * CHUNK_BYTES).collect();
        assert_eq!(offsets(&sender.step(partial(0), 0)), first);
        let next = sender.step(partial(CHUNK_BYTES), 0);
        assert_eq!(offsets(&next), [8 * CHUNK_BYTES]);
        let next = sender.step(partial(3 * CHUNK_BYTES), 0);
        assert_eq!(offsets(&next), [9 * CHUNK_BYTES]);
        assert_eq!(sender.step(partial(9 * CHUNK_BYTES), 0), []);
        let commit = Action::Send(Message::Commit { id: ID });
        assert_eq!(sender.step(partial(10 * CHUNK_BYTES), 0), [commit]);
        assert_eq!(sender.due_ms(), Some(250));
    }

    #[test]
    fn two_answers_that_say_the_same_bring_back_what_was_lost_once() {
        let mut sender = open(4 * CHUNK_BYTES_MAX);
        sender.step(partial(0), 0);
        let again = [(); 4].map(|()| offsets(&sender.step(partial(0), 0)).len());
        assert_eq!(again, [0, 4, 0, 0]);
        assert_eq!(sender.step(partial(CHUNK_BYTES), 0), []);
        assert_eq!(sender.step(partial(0), 0), [], "from before");
    }

    #[test]
    fn silence_asks_again_later_each_time() {
        let mut sender = Sender::new("bed 7", PACE);
        let mut asked = sender.step(Event::Opened, 0).len();
        let mut due = Vec::new();
        for _ in 0..6 {
            let now_ms = sender.due_ms().unwrap();
            assert_eq!(sender.step(Event::Tick, now_ms - 1), []);
            asked += sender.step(Event::Tick, now_ms).len();
            due.push(now_ms);
        }
        assert_eq!(asked, 7);
        assert_eq!(due, [250, 750, 1_750, 3_750, 7_750, 15_750]);
        sender.step(Event::Closed, 16_000);
        assert_eq!(sender.due_ms(), None);
    }

    #[test]
    fn a_restarted_receiver_is_offered_the_record_once() {
        let mut sender = open(8 * CHUNK_BYTES_MAX);
        sender.step(partial(0), 0);
        let offers = [(); 8].map(|()| sender.step(status(State::Unknown), 0).len());
        assert_eq!(offers, [1, 0, 0, 0, 0, 0, 0, 0]);
        let next = offsets(&sender.step(partial(2 * CHUNK_BYTES), 0));
        assert_eq!(next.first(), Some(&(2 * CHUNK_BYTES)));
        assert_eq!(sender.farthest(), 2 * CHUNK_BYTES);
    }

    #[test]
    fn only_our_own_digest_is_a_delivery() {
        let mut sender = open(3);
        let digest = RecordDigest(Sha256::digest([1; 3]).into());
        let mine = status(State::Stored { digest });
        assert_eq!(sender.clone().step(mine, 0), [Action::Delivered]);
        let digest = RecordDigest([0; 32]);
        let other = sender.step(status(State::Stored { digest }), 0);
        assert!(matches!(other[..], [Action::Refused(Refusal::Never, _)]));
        assert_eq!(sender.due_ms(), None);
    }

    #[test]
    fn another_version_ends_the_line() {
        let mut sender = Sender::new("bed 7", PACE);
        sender.step(Event::Opened, 0);
        let actions = sender.step(Event::Received(hello(VERSION + 1)), 0);
        assert!(matches!(actions[..], [Action::Hang(_)]));
    }

    #[test]
    fn a_record_that_is_too_long_is_none() {
        let max = limits::LINK_RECORD_BYTES_MAX;
        let found = max + 1;
        let long = Outgoing::new(ID, vec![0; found].into());
        assert_eq!(long, Err(TooLong { found, max }));
    }
}
