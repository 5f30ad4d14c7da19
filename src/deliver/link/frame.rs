//! Frames on a byte stream that loses, flips and doubles bytes.
//!
//! In: `Message`s, or bytes as they come. Out: bytes, or the messages that came whole. A zero stands
//! nowhere but at a frame's ends (Cheshire & Baker, Consistent Overhead Byte Stuffing, 1999), so that
//! whatever happens to one frame, the next is read again; the zero in front closes what noise may
//! have begun. A frame that is damaged, too long or no message is counted and forgotten: the other
//! side asks again. `FRAME_BYTES_MAX` bytes at most, zeros included.
//!
//! ```text
//! 00 | COBS( message | CRC-32 of it (ISO-HDLC, as in zlib), least byte first ) | 00
//!
//! commit  id                          00 16 03 16*11 34d6071e 00
//! status  id, refused: later, "full"  00 13 04 16*11 03 0a 0466756c6c 27dd8a33 00
//! ```

use crc::{CRC_32_ISO_HDLC, Crc};

use super::wire::Message;

/// Bytes of a frame on the wire, both zeros included.
pub const FRAME_BYTES_MAX: usize = 1024;
const CRC_BYTES: usize = 4;
const CHECK: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Why a message makes no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {found} bytes; at most {FRAME_BYTES_MAX} are sent")]
    TooLong { found: usize },
    #[error("the message cannot be written: {reason}")]
    Message { reason: String },
}

/// The message's frame.
pub fn encode(message: &Message) -> Result<Vec<u8>, FrameError> {
    let unwritable = |error: postcard::Error| FrameError::Message {
        reason: error.to_string(),
    };
    let mut content = postcard::to_stdvec(message).map_err(unwritable)?;
    content.extend(CHECK.checksum(&content).to_le_bytes());
    let mut frame = vec![0];
    frame.extend(cobs::encode_vec(&content));
    frame.push(0);
    match frame.len() {
        found if found > FRAME_BYTES_MAX => Err(FrameError::TooLong { found }),
        _ => Ok(frame),
    }
}

/// What a receiving end has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCounts {
    pub whole: u64,
    /// Damaged, too long, or of no message that is known.
    pub dropped: u64,
}

/// Takes bytes as they come and gives the messages that came whole.
#[derive(Debug, Default)]
pub struct FrameReader {
    stuffed: Vec<u8>,
    extent: Extent,
    counts: FrameCounts,
}

/// Whether what came since the last zero may still be a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Extent {
    #[default]
    Within,
    /// Its rest is forgotten.
    Overlong,
}

impl FrameReader {
    pub fn counts(&self) -> FrameCounts {
        self.counts
    }

    /// Hands every whole message in `bytes` to `take`.
    pub fn read(&mut self, bytes: &[u8], mut take: impl FnMut(Message)) {
        for byte in bytes {
            if *byte != 0 {
                self.grow(*byte);
                continue;
            }
            match self.end() {
                Ended::Message(message) => {
                    self.counts.whole += 1;
                    take(message);
                }
                Ended::Damaged => self.counts.dropped += 1,
                Ended::Nothing => {}
            }
        }
    }

    fn grow(&mut self, byte: u8) {
        if self.stuffed.len() < FRAME_BYTES_MAX - 2 {
            self.stuffed.push(byte);
        } else {
            self.extent = Extent::Overlong;
        }
    }

    fn end(&mut self) -> Ended {
        let extent = std::mem::take(&mut self.extent);
        if self.stuffed.is_empty() {
            return Ended::Nothing;
        }
        let message = match extent {
            Extent::Within => decode(&self.stuffed),
            Extent::Overlong => None,
        };
        self.stuffed.clear();
        message.map_or(Ended::Damaged, Ended::Message)
    }
}

/// What stood between two zeros.
enum Ended {
    Nothing,
    Damaged,
    Message(Message),
}

fn decode(stuffed: &[u8]) -> Option<Message> {
    let content = cobs::decode_vec(stuffed).ok()?;
    let (body, crc) = content.split_last_chunk::<CRC_BYTES>()?;
    if CHECK.checksum(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (message, rest) = postcard::take_from_bytes::<Message>(body).ok()?;
    rest.is_empty().then_some(message)
}

#[cfg(test)]
mod tests {
    use super::super::channel::random;
    use super::super::wire::{
        CHUNK_BYTES_MAX, NAME_BYTES_MAX, REASON_BYTES_MAX, RecordId, Refusal, State, sample_bytes,
    };
    use super::*;

    const ID: RecordId = RecordId([0x11; 16]);

    fn chunk(offset: u32, data: Vec<u8>) -> Message {
        Message::Chunk {
            id: ID,
            offset,
            data,
        }
    }

    fn refused(reason: &str) -> Message {
        let (refusal, reason) = (Refusal::Later, reason.to_owned());
        let state = State::Refused { refusal, reason };
        Message::Status { id: ID, state }
    }

    fn read_all(bytes: &[u8]) -> (Vec<Message>, FrameCounts) {
        let mut reader = FrameReader::default();
        let mut messages = Vec::new();
        reader.read(bytes, |message| messages.push(message));
        (messages, reader.counts())
    }

    #[test]
    fn frames_have_the_bytes_that_the_head_shows() {
        let samples = [
            ("commit", Message::Commit { id: ID }),
            ("status", refused("full")),
        ];
        for (start, message) in samples {
            let sample = sample_bytes(include_str!("frame.rs"), start);
            assert_eq!(encode(&message).unwrap(), sample);
            assert_eq!(read_all(&sample).0, [message]);
        }
    }

    #[test]
    fn the_longest_messages_fit_a_frame_whatever_they_hold() {
        for fill in [0, 1, 255] {
            for bytes in CHUNK_BYTES_MAX - 260..=CHUNK_BYTES_MAX {
                let message = chunk(u32::MAX, vec![fill; bytes]);
                assert_eq!(read_all(&encode(&message).unwrap()).0, [message]);
            }
        }
        let (version, name) = (u16::MAX, "n".repeat(NAME_BYTES_MAX));
        encode(&Message::Hello { version, name }).unwrap();
        encode(&refused(&"r".repeat(REASON_BYTES_MAX))).unwrap();
        let over = chunk(u32::MAX, vec![1; FRAME_BYTES_MAX]);
        assert!(matches!(encode(&over), Err(FrameError::TooLong { .. })));
    }

    /// A fault in the middle of three frames.
    fn check(at: usize, fault: impl Fn(&mut Vec<u8>)) {
        let message = |k: u8| chunk(u32::from(k), vec![k; 40]);
        let mut frames = [0, 1, 2].map(|k| encode(&message(k)).unwrap());
        fault(&mut frames[1]);
        let (messages, counts) = read_all(&frames.concat());
        assert_eq!(messages.first(), Some(&message(0)), "{at}");
        assert_eq!(messages.last(), Some(&message(2)), "{at}");
        assert!(messages.len() == 2 || messages[1] == message(1), "{at}");
        assert_eq!(counts.whole, messages.len() as u64);
    }

    #[test]
    fn noise_costs_the_frame_it_hits_and_no_other() {
        let bytes = encode(&chunk(1, vec![1; 40])).unwrap().len();
        for at in 0..bytes {
            for bit in 0..8 {
                check(at, |frame| frame[at] ^= 1 << bit);
            }
            check(at, |frame| {
                frame.remove(at);
            });
            check(at, |frame| frame.insert(at, frame[at]));
            check(at, |frame| frame.truncate(at));
        }
    }

    #[test]
    fn no_bytes_are_too_wild() {
        let mut seed = 5;
        for _ in 0..20_000 {
            let length = random(&mut seed) % 60;
            let wild: Vec<u8> = (0..length)
                .map(|_| (random(&mut seed) >> (random(&mut seed) % 8)) as u8)
                .collect();
            assert_eq!(read_all(&wild).0, []);
            // The same behind a checksum that is right: what postcard makes of it.
            let mut content = wild;
            content.extend(CHECK.checksum(&content).to_le_bytes());
            decode(&cobs::encode_vec(&content));
        }
    }

    #[test]
    fn bytes_without_end_take_no_memory() {
        let mut reader = FrameReader::default();
        for _ in 0..100 {
            reader.read(&[1; 1000], |_| panic!("no frame"));
        }
        assert!(reader.stuffed.len() < FRAME_BYTES_MAX);
        let mut found = 0;
        reader.read(&[0], |_| found += 1);
        reader.read(&encode(&chunk(5, vec![])).unwrap(), |_| found += 1);
        assert_eq!((found, reader.counts().dropped), (1, 1));
    }
}
