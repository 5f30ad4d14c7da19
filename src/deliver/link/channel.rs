//! A bad line between a sender and a receiver, in virtual time. For tests.
//!
//! In: a seed, records, how bad the line is. Out: what the receiver's store holds, and the bytes,
//! frames and seconds that it took. Bytes are flipped, dropped and doubled, and now and then the
//! line is cut: what is on it is lost, the device opens it again, and the receiver may have been
//! restarted. Nothing is reordered. Every delivery has to come to its end within a bounded number of
//! frames. Nothing waits: thousands of runs take seconds.

use std::collections::{BTreeMap, VecDeque};

use sha2::{Digest, Sha256};

use super::frame::{self, FrameReader};
use super::receiver::{Committed, Receiver, Store, StoreError};
use super::sender::{Action, Event, Outgoing, Pace, Sender};
use super::wire::{Message, Offer, RecordDigest, RecordId};

/// Knuth's generator; the upper bits are good.
pub fn random(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

/// Records in memory; `stored_count` tells how often one was made durable.
#[derive(Default)]
pub struct MemoryStore {
    pub records: BTreeMap<RecordId, Vec<u8>>,
    pub stored_count: usize,
    pub is_full: bool,
    parts: BTreeMap<RecordId, Vec<u8>>,
}

impl MemoryStore {
    fn room(&self) -> Result<(), StoreError> {
        if !self.is_full {
            return Ok(());
        }
        let (what, error) = ("memory".to_owned(), std::io::ErrorKind::StorageFull.into());
        Err(StoreError { what, error })
    }
}

fn digest_of(bytes: &[u8]) -> RecordDigest {
    RecordDigest(Sha256::digest(bytes).into())
}

impl Store for MemoryStore {
    fn stored(&mut self, id: RecordId) -> Result<Option<RecordDigest>, StoreError> {
        Ok(self.records.get(&id).map(|bytes| digest_of(bytes)))
    }

    fn begin(&mut self, offer: &Offer) -> Result<u32, StoreError> {
        self.room()?;
        let part = self.parts.entry(offer.id).or_default();
        Ok(part.len() as u32)
    }

    fn append(&mut self, offer: &Offer, offset: u32, data: &[u8]) -> Result<u32, StoreError> {
        self.room()?;
        let part = self.parts.entry(offer.id).or_default();
        if part.len() == offset as usize {
            part.extend(data);
        }
        Ok(part.len() as u32)
    }

    fn commit(&mut self, offer: &Offer) -> Result<Committed, StoreError> {
        let part = self.parts.remove(&offer.id).unwrap_or_default();
        if digest_of(&part) != offer.digest {
            return Ok(Committed::WrongDigest);
        }
        self.records.insert(offer.id, part);
        self.stored_count += 1;
        Ok(Committed::Durable)
    }
}

/// How bad a line is, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    /// Of a million bytes, how many are flipped, dropped or doubled.
    pub faults_per_million: u64,
    /// Of a thousand frames, how many are followed by a cut.
    pub cuts_per_thousand: u64,
    pub bytes_per_second: u64,
}

/// One way of the line: bytes that arrive whole milliseconds later.
#[derive(Default)]
struct Way {
    under_way: VecDeque<(u64, Vec<u8>)>,
    free_ms: u64,
    bytes: usize,
}

impl Way {
    fn send(&mut self, message: &Message, now_ms: u64, quality: Quality, seed: &mut u64) {
        let frame = frame::encode(message).expect("a message fits a frame");
        self.bytes += frame.len();
        let took_ms = (1_000 * frame.len() as u64).div_ceil(quality.bytes_per_second);
        self.free_ms = self.free_ms.max(now_ms) + took_ms;
        let mut damaged = Vec::with_capacity(frame.len());
        for byte in frame {
            spoil(byte, quality, seed, &mut damaged);
        }
        self.under_way.push_back((self.free_ms, damaged));
    }

    /// What arrives first.
    fn take(&mut self) -> Vec<u8> {
        let first = self.under_way.pop_front();
        first.map_or(Vec::new(), |(_, bytes)| bytes)
    }

    fn due_ms(&self) -> Option<u64> {
        self.under_way.front().map(|(due_ms, _)| *due_ms)
    }
}

/// Adds the byte as it comes out.
fn spoil(byte: u8, quality: Quality, seed: &mut u64, out: &mut Vec<u8>) {
    if random(seed) % 1_000_000 >= quality.faults_per_million {
        return out.push(byte);
    }
    match random(seed) % 3 {
        0 => out.push(byte ^ (1 << (random(seed) % 8))),
        1 => {}
        _ => out.extend([byte, byte]),
    }
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub frames: usize,
    pub bytes_there: usize,
    pub bytes_back: usize,
    pub ms: u64,
}

/// A device, a receiver and the line between them.
pub struct Channel {
    sender: Sender,
    receiver: Receiver,
    pub store: MemoryStore,
    quality: Quality,
    seed: u64,
    now_ms: u64,
    there: Way,
    back: Way,
    reader_there: FrameReader,
    reader_back: FrameReader,
    frames: usize,
    delivered: bool,
}

impl Channel {
    pub fn new(quality: Quality, seed: u64) -> Self {
        let pace = Pace {
            answer_ms: 250,
            frame_ms: 1_024_000 / quality.bytes_per_second,
        };
        Self {
            sender: Sender::new("bed 7", pace),
            receiver: Receiver::new("ward"),
            store: MemoryStore::default(),
            quality,
            seed,
            now_ms: 0,
            there: Way::default(),
            back: Way::default(),
            reader_there: FrameReader::default(),
            reader_back: FrameReader::default(),
            frames: 0,
            delivered: false,
        }
    }

    pub fn open(&mut self) {
        let actions = self.sender.step(Event::Opened, self.now_ms);
        self.act(actions);
    }

    /// Delivers a record, within `frames_max` frames of both sides.
    pub fn deliver(&mut self, record: Outgoing, frames_max: usize) -> Cost {
        let before = self.cost();
        self.delivered = false;
        let actions = self.sender.step(Event::Give(record), self.now_ms);
        self.act(actions);
        while !self.delivered {
            assert!(self.frames - before.frames <= frames_max, "no end");
            self.go_on();
        }
        let after = self.cost();
        Cost {
            frames: after.frames - before.frames,
            bytes_there: after.bytes_there - before.bytes_there,
            bytes_back: after.bytes_back - before.bytes_back,
            ms: after.ms - before.ms,
        }
    }

    fn cost(&self) -> Cost {
        Cost {
            frames: self.frames,
            bytes_there: self.there.bytes,
            bytes_back: self.back.bytes,
            ms: self.now_ms,
        }
    }

    /// What happens next: bytes arrive on either side, or the sender's patience ends.
    fn go_on(&mut self) {
        let (there, back) = (self.there.due_ms(), self.back.due_ms());
        let due = [there, back, self.sender.due_ms()];
        let now_ms = due.into_iter().flatten().min().expect("nobody waits");
        self.now_ms = now_ms.max(self.now_ms);
        if there == Some(now_ms) {
            self.arrive_there();
        } else if back == Some(now_ms) {
            self.arrive_back();
        } else {
            let actions = self.sender.step(Event::Tick, self.now_ms);
            self.act(actions);
        }
    }

    fn arrive_there(&mut self) {
        let bytes = self.there.take();
        let mut messages = Vec::new();
        self.reader_there
            .read(&bytes, |message| messages.push(message));
        for message in messages {
            let answer = self.receiver.step(message, &mut self.store);
            if let Some(message) = answer.message {
                self.frames += 1;
                self.back
                    .send(&message, self.now_ms, self.quality, &mut self.seed);
            }
        }
    }

    fn arrive_back(&mut self) {
        let bytes = self.back.take();
        let mut messages = Vec::new();
        self.reader_back
            .read(&bytes, |message| messages.push(message));
        for message in messages {
            let actions = self.sender.step(Event::Received(message), self.now_ms);
            self.act(actions);
        }
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(message) => {
                    self.frames += 1;
                    self.there
                        .send(&message, self.now_ms, self.quality, &mut self.seed);
                    if random(&mut self.seed) % 1_000 < self.quality.cuts_per_thousand {
                        return self.cut();
                    }
                }
                Action::Delivered => self.delivered = true,
                Action::Refused(_, reason) | Action::Hang(reason) => panic!("{reason}"),
            }
        }
    }

    fn cut(&mut self) {
        for way in [&mut self.there, &mut self.back] {
            way.under_way.clear();
            way.free_ms = self.now_ms;
        }
        if random(&mut self.seed).is_multiple_of(2) {
            self.receiver = Receiver::new("ward");
            self.reader_there = FrameReader::default();
        }
        self.reader_back = FrameReader::default();
        self.sender.step(Event::Closed, self.now_ms);
        self.now_ms += 1_000;
        self.open();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(k: u8, bytes: usize, seed: &mut u64) -> Outgoing {
        let bytes: Vec<u8> = (0..bytes).map(|_| random(seed) as u8).collect();
        Outgoing::new(RecordId([k; 16]), bytes.into()).unwrap()
    }

    /// Every record arrives once and equal, whatever the line does to it.
    fn check(quality: Quality, seed: u64, frames_max: usize) {
        println!("{quality:?}, seed {seed}");
        let mut channel = Channel::new(quality, seed);
        channel.open();
        let mut seed = seed;
        for k in 0..3 {
            let bytes = [0, 700, 960, 8_000, 20_000][random(&mut seed) as usize % 5];
            let record = record(k, bytes, &mut seed);
            channel.deliver(record.clone(), frames_max);
            assert_eq!(channel.store.records[&record.offer().id], record.bytes());
            // Once more: it is there.
            channel.deliver(record, 200);
        }
        assert_eq!(channel.store.stored_count, 3);
    }

    fn quality(faults_per_million: u64, cuts_per_thousand: u64) -> Quality {
        Quality {
            faults_per_million,
            cuts_per_thousand,
            bytes_per_second: 11_520,
        }
    }

    #[test]
    fn a_good_line_takes_little_more_than_the_record() {
        let mut channel = Channel::new(quality(0, 0), 1);
        channel.open();
        let mut seed = 1;
        let cost = channel.deliver(record(1, 20_000, &mut seed), 60);
        println!("{cost:?}");
        // Hello, offer, 21 chunks and commit, each answered once.
        assert_eq!(cost.frames, 47);
        assert!(cost.bytes_there < 20_900 && cost.bytes_back < 1_000);
        assert!(cost.ms < 1_950, "{cost:?}");
    }

    #[test]
    fn every_record_arrives_once_and_equal() {
        for seed in 0..400 {
            check(quality(0, 0), seed, 60);
            check(quality(100, 1), seed, 600);
            check(quality(500, 10), seed, 2_000);
            check(quality(800, 2), seed, 4_000);
            let slow = Quality {
                bytes_per_second: 960,
                ..quality(200, 5)
            };
            check(slow, seed, 1_000);
        }
    }

    #[test]
    fn faults_cost_no_more_than_what_they_hit_and_a_window() {
        let cost = |faults| {
            let mut frames = 0;
            for seed in 0..50 {
                let mut channel = Channel::new(quality(faults, 0), seed);
                channel.open();
                let mut seed = seed;
                frames += channel.deliver(record(1, 20_000, &mut seed), 1_000).frames;
            }
            frames / 50
        };
        // At 100 faults in a million bytes, every tenth chunk is hit.
        let (clean, bad) = (cost(0), cost(100));
        println!("{clean} frames on a clean line, {bad} on a bad one");
        assert!(bad < 2 * clean, "{bad} frames, {clean} on a clean line");
    }
}
