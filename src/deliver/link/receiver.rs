//! The receiver's end of a link with frames: what to answer.
//!
//! In: messages of a device. Out: the answer to each, after the `Store` has done what it says. A
//! record counts as stored when its bytes have their offered length and digest and the store has
//! made them durable; one that is there already is never written again. A chunk that was there
//! before is not answered: an answer to it would read like that to a chunk behind a lost one, and
//! make the device send twice as much for ever. No more than `LINK_RECORD_BYTES_MAX` bytes are taken
//! for a record. What fails in the store is told to the device, which tries again later.

use super::wire::{
    Message, NAME_BYTES_MAX, Offer, REASON_BYTES_MAX, RecordDigest, RecordId, Refusal, State,
    VERSION, bounded,
};
use crate::limits;

/// Where a receiver keeps records: `FolderStore`; tests keep theirs in memory.
pub trait Store {
    /// The digest of a record that is there, whole and durable.
    fn stored(&mut self, id: RecordId) -> Result<Option<RecordDigest>, StoreError>;
    /// Makes room for a record; how many of its bytes are there from before.
    fn begin(&mut self, offer: &Offer) -> Result<u32, StoreError>;
    /// Adds bytes if those before `offset` and no others are there; how many are there then.
    fn append(&mut self, offer: &Offer, offset: u32, data: &[u8]) -> Result<u32, StoreError>;
    /// Makes the record durable if its digest is right, else forgets what is there of it.
    fn commit(&mut self, offer: &Offer) -> Result<Committed, StoreError>;
}

/// What became of a record whose bytes were all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    Durable,
    /// Its bytes are not what was offered.
    WrongDigest,
}

/// Why a store cannot do its part.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {error}")]
pub struct StoreError {
    pub what: String,
    pub error: std::io::Error,
}

/// What a receiver does about a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub message: Option<Message>,
    /// The record that has just become durable.
    pub stored: Option<Offer>,
}

/// The state of the receiver's end towards one device.
#[derive(Clone, Debug)]
pub struct Receiver {
    name: String,
    incoming: Option<Incoming>,
}

/// A record that is coming in, and how much of it is there.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    offer: Offer,
    have: u32,
}

impl Receiver {
    /// `name` is how the device will know us.
    pub fn new(name: &str) -> Self {
        Self {
            name: bounded(name, NAME_BYTES_MAX),
            incoming: None,
        }
    }

    /// What to answer to a message.
    pub fn step(&mut self, message: Message, store: &mut impl Store) -> Answer {
        match message {
            Message::Hello { version, .. } => Answer {
                message: Some(self.greet(version)),
                stored: None,
            },
            Message::Offer(offer) => told(offer.id, self.offered(offer, store)),
            Message::Chunk { id, offset, data } => match self.chunk(id, offset, &data, store) {
                Some(state) => told(id, state),
                None => Answer::default(),
            },
            Message::Commit { id } => self.commit(id, store),
            // No device says these.
            Message::Status { .. } | Message::Bye { .. } => Answer::default(),
        }
    }

    fn greet(&mut self, version: u16) -> Message {
        self.incoming = None;
        if version != VERSION {
            let reason = format!("this receiver speaks version {VERSION}, not {version}");
            return Message::Bye { reason };
        }
        let name = self.name.clone();
        Message::Hello { version, name }
    }

    fn offered(&mut self, offer: Offer, store: &mut impl Store) -> State {
        self.incoming = None;
        match store.stored(offer.id) {
            Ok(Some(digest)) => return State::Stored { digest },
            Ok(None) => {}
            Err(error) => return later(&error),
        }
        if offer.bytes as usize > limits::LINK_RECORD_BYTES_MAX {
            let max = limits::LINK_RECORD_BYTES_MAX;
            return State::Refused {
                refusal: Refusal::Never,
                reason: format!("{} bytes; at most {max} are taken", offer.bytes),
            };
        }
        match store.begin(&offer) {
            Err(error) => later(&error),
            Ok(have) => {
                self.incoming = Some(Incoming { offer, have });
                State::Partial { have }
            }
        }
    }

    /// `None` where the chunk was there before.
    fn chunk(
        &mut self,
        id: RecordId,
        offset: u32,
        data: &[u8],
        store: &mut impl Store,
    ) -> Option<State> {
        let Some(incoming) = self.incoming.as_mut().filter(|i| i.offer.id == id) else {
            return Some(State::Unknown);
        };
        let end = u64::from(offset) + data.len() as u64;
        if end <= u64::from(incoming.have) {
            return None;
        }
        // What does not follow on what is there was sent after something that was lost.
        if offset == incoming.have && end <= u64::from(incoming.offer.bytes) {
            match store.append(&incoming.offer, offset, data) {
                Ok(have) => incoming.have = have,
                Err(error) => {
                    self.incoming = None;
                    return Some(later(&error));
                }
            }
        }
        let have = incoming.have;
        Some(State::Partial { have })
    }

    fn commit(&mut self, id: RecordId, store: &mut impl Store) -> Answer {
        let Some(incoming) = self.incoming.filter(|i| i.offer.id == id) else {
            return told(id, known(id, store));
        };
        let Incoming { offer, have } = incoming;
        if have < offer.bytes {
            return told(id, State::Partial { have });
        }
        self.incoming = None;
        let digest = offer.digest;
        match store.commit(&offer) {
            Ok(Committed::Durable) => Answer {
                stored: Some(offer),
                ..told(id, State::Stored { digest })
            },
            Ok(Committed::WrongDigest) => told(id, State::Unknown),
            Err(error) => told(id, later(&error)),
        }
    }
}

fn told(id: RecordId, state: State) -> Answer {
    Answer {
        message: Some(Message::Status { id, state }),
        stored: None,
    }
}

fn known(id: RecordId, store: &mut impl Store) -> State {
    match store.stored(id) {
        Ok(Some(digest)) => State::Stored { digest },
        Ok(None) => State::Unknown,
        Err(error) => later(&error),
    }
}

fn later(error: &StoreError) -> State {
    State::Refused {
        refusal: Refusal::Later,
        reason: bounded(&error.to_string(), REASON_BYTES_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::super::channel::MemoryStore;
    use super::super::sender::Outgoing;
    use super::*;

    const ID: RecordId = RecordId([7; 16]);

    struct Bench {
        receiver: Receiver,
        store: MemoryStore,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                receiver: Receiver::new("ward"),
                store: MemoryStore::default(),
            }
        }

        fn offer(&mut self, bytes: &[u8]) -> Option<State> {
            let record = Outgoing::new(ID, bytes.into()).unwrap();
            self.tell(Message::Offer(record.offer()))
        }

        fn chunk(&mut self, offset: u32, data: &[u8]) -> Option<State> {
            let data = data.to_vec();
            self.tell(Message::Chunk {
                id: ID,
                offset,
                data,
            })
        }

        fn tell(&mut self, message: Message) -> Option<State> {
            match self.receiver.step(message, &mut self.store).message {
                Some(Message::Status { state, .. }) => Some(state),
                _ => None,
            }
        }
    }

    fn have(have: u32) -> Option<State> {
        Some(State::Partial { have })
    }

    #[test]
    fn only_what_follows_is_taken_and_what_was_there_is_not_answered() {
        let mut bench = Bench::new();
        assert_eq!(bench.chunk(0, b"ab"), Some(State::Unknown));
        assert_eq!(bench.offer(b"abcdef"), have(0));
        assert_eq!(bench.chunk(0, b"ab"), have(2));
        assert_eq!(bench.chunk(0, b"ab"), None);
        assert_eq!(bench.chunk(4, b"ef"), have(2));
        assert_eq!(bench.chunk(2, b"cdefg"), have(2), "more than was offered");
        assert_eq!(bench.chunk(u32::MAX, b"cd"), have(2));
        assert_eq!(bench.chunk(2, b"cd"), have(4));
        assert_eq!(bench.tell(Message::Commit { id: ID }), have(4));
        assert_eq!(bench.offer(b"abcdef"), have(4), "resumed");
        assert_eq!(bench.chunk(4, b"ef"), have(6));
        for _ in 0..2 {
            let state = bench.tell(Message::Commit { id: ID });
            assert!(matches!(state, Some(State::Stored { .. })));
        }
        assert!(matches!(bench.offer(b"xyz"), Some(State::Stored { .. })));
        assert_eq!(bench.store.records[&ID], b"abcdef");
    }

    #[test]
    fn a_wrong_digest_makes_the_record_unknown() {
        let mut bench = Bench::new();
        bench.offer(b"abc");
        bench.chunk(0, b"abX");
        assert_eq!(bench.tell(Message::Commit { id: ID }), Some(State::Unknown));
        assert_eq!(bench.offer(b"abc"), have(0));
    }

    #[test]
    fn what_is_too_long_is_refused_for_ever_and_a_full_disk_for_now() {
        let refused = |state| match state {
            Some(State::Refused { refusal, .. }) => Some(refusal),
            _ => None,
        };
        let mut bench = Bench::new();
        let long = Offer {
            id: ID,
            bytes: u32::MAX,
            digest: RecordDigest([0; 32]),
        };
        let state = bench.tell(Message::Offer(long));
        assert_eq!(refused(state), Some(Refusal::Never));
        bench.offer(b"abc");
        bench.store.is_full = true;
        assert_eq!(refused(bench.chunk(0, b"abc")), Some(Refusal::Later));
        assert_eq!(refused(bench.offer(b"abc")), Some(Refusal::Later));
    }

    #[test]
    fn another_version_is_sent_away() {
        let mut bench = Bench::new();
        let (version, name) = (VERSION + 1, "bed 7".to_owned());
        let hello = Message::Hello { version, name };
        let answer = bench.receiver.step(hello, &mut bench.store);
        assert!(matches!(answer.message, Some(Message::Bye { .. })));
    }
}
