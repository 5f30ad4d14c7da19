//! The messages between a device and a receiver, and their bytes.
//!
//! Postcard 1: numbers are varints (seven bits a byte, least first, top bit: more follow), an id is
//! 16 bytes, a digest 32; text and data have their length in front. `16*11` is sixteen bytes 0x11.
//!
//! ```text
//! hello   version 1, name "bed 7"       00 01 05 6265642037
//! offer   id, 20000 bytes, digest       01 16*11 a09c01 32*ab
//! chunk   id, at 960, data 01 02 03     02 16*11 c007 03 010203
//! commit  id                            03 16*11
//! status  id, partial: 1920 bytes       04 16*11 01 800f
//! status  id, stored: digest            04 16*11 02 32*ab
//! status  id, refused: later, "full"    04 16*11 03 00 04 66756c6c
//! bye     reason "v2"                   05 02 7632
//! ```

use serde::{Deserialize, Serialize};

use crate::deliver::spool::JobId;

/// Version of these messages; another one is refused with a `Bye`.
pub const VERSION: u16 = 1;
/// Data of one chunk, so that its frame keeps within `FRAME_BYTES_MAX`.
pub const CHUNK_BYTES_MAX: usize = 960;
/// UTF-8 of a device's or receiver's name, and of a reason.
pub const NAME_BYTES_MAX: usize = 64;
pub const REASON_BYTES_MAX: usize = 200;

/// A record's name: the 16 bytes of its job's ULID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordId(pub [u8; 16]);

impl From<JobId> for RecordId {
    fn from(job: JobId) -> Self {
        Self(job.bytes())
    }
}

impl std::fmt::Display for RecordId {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        JobId::from_bytes(self.0).fmt(out)
    }
}

/// SHA-256 of a record's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RecordDigest(pub [u8; 32]);

impl std::fmt::Display for RecordDigest {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// What a device has for a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    pub id: RecordId,
    pub bytes: u32,
    pub digest: RecordDigest,
}

/// What one end says to the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    Hello {
        version: u16,
        name: String,
    },
    Offer(Offer),
    Chunk {
        id: RecordId,
        offset: u32,
        data: Vec<u8>,
    },
    /// All bytes were sent: make them durable.
    Commit {
        id: RecordId,
    },
    Status {
        id: RecordId,
        state: State,
    },
    /// The link is of no use: another version.
    Bye {
        reason: String,
    },
}

/// How far a receiver is with a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Never offered, or forgotten: offer it again.
    Unknown,
    /// So many bytes from the start are there: go on behind them.
    Partial {
        have: u32,
    },
    /// It lies on the receiver's disk, whole, and this is its digest.
    Stored {
        digest: RecordDigest,
    },
    Refused {
        refusal: Refusal,
        reason: String,
    },
}

/// Whether a refused record may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The receiver cannot take it now: its disk is full.
    Later,
    /// Trying again is of no use: it is too long.
    Never,
}

/// `text`, or as much of its start as keeps within `bytes_max`.
pub fn bounded(text: &str, bytes_max: usize) -> String {
    let end = text.floor_char_boundary(bytes_max.min(text.len()));
    text[..end].to_owned()
}

/// The bytes that a line of samples in a module's head shows, `16*11` written out.
#[cfg(test)]
pub fn sample_bytes(head: &str, start: &str) -> Vec<u8> {
    let wanted = format!("//! {start}");
    let line = head.lines().find(|line| line.starts_with(&wanted)).unwrap();
    let hex = line.rsplit("  ").next().unwrap();
    let mut bytes = Vec::new();
    for word in hex.trim().split(' ') {
        let (count, digits) = word.split_once('*').unwrap_or(("1", word));
        let pairs = digits.as_bytes().chunks(2);
        let once: Vec<u8> = pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        bytes.extend(once.repeat(count.parse().unwrap()));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RecordId = RecordId([0x11; 16]);
    const DIGEST: RecordDigest = RecordDigest([0xab; 32]);

    #[track_caller]
    fn check(start: &str, message: Message) {
        let sample = sample_bytes(include_str!("wire.rs"), start);
        assert_eq!(postcard::to_stdvec(&message).unwrap(), sample, "{start}");
        assert_eq!(postcard::from_bytes::<Message>(&sample).unwrap(), message);
    }

    #[track_caller]
    fn check_status(start: &str, state: State) {
        check(
            &format!("status  id, {start}"),
            Message::Status { id: ID, state },
        );
    }

    #[test]
    fn messages_have_the_bytes_that_the_head_shows() {
        let (version, name) = (1, "bed 7".to_owned());
        check("hello", Message::Hello { version, name });
        let (bytes, digest) = (20_000, DIGEST);
        check(
            "offer",
            Message::Offer(Offer {
                id: ID,
                bytes,
                digest,
            }),
        );
        let (offset, data) = (960, vec![1, 2, 3]);
        check(
            "chunk",
            Message::Chunk {
                id: ID,
                offset,
                data,
            },
        );
        check("commit", Message::Commit { id: ID });
        let reason = "v2".to_owned();
        check("bye", Message::Bye { reason });
    }

    #[test]
    fn states_have_the_bytes_that_the_head_shows() {
        check_status("partial", State::Partial { have: 1920 });
        check_status("stored", State::Stored { digest: DIGEST });
        let (refusal, reason) = (Refusal::Later, "full".to_owned());
        check_status("refused: later", State::Refused { refusal, reason });
    }

    #[test]
    fn the_other_states_have_these_bytes() {
        let bytes = |state| postcard::to_stdvec(&state).unwrap();
        let (refusal, reason) = (Refusal::Never, "no".to_owned());
        assert_eq!(bytes(State::Unknown), [0]);
        assert_eq!(bytes(State::Refused { refusal, reason }), b"\x03\x01\x02no");
    }

    #[test]
    fn a_name_is_cut_between_letters() {
        assert_eq!(bounded("bed 7", 64), "bed 7");
        assert_eq!(bounded("Bär", 2), "B");
        assert_eq!(bounded("Bär", 3), "Bä");
    }

    #[test]
    fn an_id_is_written_as_its_ulid() {
        let text = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        let job: JobId = text.parse().unwrap();
        assert_eq!(RecordId::from(job).to_string(), text);
    }
}
