//! One part of a job as a file that checks itself.
//!
//! ```text
//!   offset  bytes  what
//!        0      8  magic: 89 4C 53 4A 0D 0A 1A 0A  ("\x89LSJ\r\n\x1a\n")
//!        8      2  version, least byte first: 1
//!       10      1  part: 1 page, 2 record, 3 state, 4 list of what was sent
//!       11      1  0
//!       12      4  length m of the meta in bytes, least byte first; at most 4096
//!       16      4  length n of the body in bytes, least byte first; at most 64 MiB
//!       20     16  the job's id, most byte first (of the list: 0)
//!       36      m  meta: `Facts` in postcard's wire format (of the list: nothing)
//!     36+m      4  CRC-32 (ISO-HDLC) of all bytes before it, least byte first
//!     40+m      n  body: the page's or the record's bytes (of a state: nothing)
//!   40+m+n     32  SHA-256 of all bytes before it
//! ```
//!
//! Nothing follows. The head (all before the body) is checked alone, so that a start reads no body;
//! the whole is checked before a body is used. What is cut off, damaged, of another version, part or
//! job is an `EntryError`.

use std::ops::Range;

use crc::{CRC_32_ISO_HDLC, Crc};
use sha2::{Digest, Sha256};

use super::job::JobId;
use crate::limits;

const MAGIC: [u8; 8] = *b"\x89LSJ\r\n\x1a\n";
const VERSION: u16 = 1;
const FIXED_BYTES: usize = 36;
const CRC_BYTES: usize = 4;
const HASH_BYTES: usize = 32;
const CHECK: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
/// What is read to see a head.
pub const HEAD_BYTES_MAX: usize = FIXED_BYTES + limits::SPOOL_META_BYTES_MAX + CRC_BYTES;
/// What a file takes beside its body, at most.
pub const AROUND_BYTES_MAX: usize = HEAD_BYTES_MAX + HASH_BYTES;
/// The largest file.
pub const ENTRY_BYTES_MAX: usize = AROUND_BYTES_MAX + limits::SPOOL_BODY_BYTES_MAX;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Page = 1,
    Record = 2,
    State = 3,
    Sent = 4,
}

/// Why bytes are not the part that they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("not a file of the spool")]
    Magic,
    #[error("version {found}; version {VERSION} is read")]
    Version { found: u16 },
    #[error("{found} bytes where {needed} are needed")]
    Length { found: u64, needed: u64 },
    #[error("{found} bytes; at most {max} are kept")]
    TooLong { found: usize, max: usize },
    #[error("the head is damaged: its checksum is {found:08x}, not {needed:08x}")]
    Checksum { found: u32, needed: u32 },
    #[error("the body is damaged: its SHA-256 is another")]
    Hash,
    #[error("part {found} where {needed:?} should be")]
    Part { found: u8, needed: Part },
    #[error("of job {found}, not {needed}")]
    Job { found: JobId, needed: JobId },
    #[error("the meta cannot be understood: {reason}")]
    Meta { reason: String },
}

/// What stands before and behind a body.
pub struct Sealed {
    head: Vec<u8>,
    hash: [u8; HASH_BYTES],
}

impl Sealed {
    /// The file, piece by piece; `body` is the one that was sealed.
    pub fn pieces<'a>(&'a self, body: &'a [u8]) -> [&'a [u8]; 3] {
        [&self.head, body, &self.hash]
    }

    pub fn file_bytes(&self, body: &[u8]) -> u64 {
        (self.head.len() + body.len() + HASH_BYTES) as u64
    }
}

/// Makes head and hash of a part.
pub fn seal(part: Part, job: JobId, meta: &[u8], body: &[u8]) -> Result<Sealed, EntryError> {
    let meta_bytes = length(meta, limits::SPOOL_META_BYTES_MAX)?;
    let body_bytes = length(body, limits::SPOOL_BODY_BYTES_MAX)?;
    let mut head = Vec::with_capacity(FIXED_BYTES + meta.len() + CRC_BYTES);
    head.extend(MAGIC);
    head.extend(VERSION.to_le_bytes());
    head.extend([part as u8, 0]);
    head.extend(meta_bytes.to_le_bytes());
    head.extend(body_bytes.to_le_bytes());
    head.extend(job.bytes());
    head.extend(meta);
    head.extend(CHECK.checksum(&head).to_le_bytes());
    let hash = Sha256::new()
        .chain_update(&head)
        .chain_update(body)
        .finalize()
        .into();
    Ok(Sealed { head, hash })
}

fn length(bytes: &[u8], max: usize) -> Result<u32, EntryError> {
    let found = bytes.len();
    let length = u32::try_from(found).ok().filter(|_| found <= max);
    length.ok_or(EntryError::TooLong { found, max })
}

/// A head that was checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Head<'a> {
    pub meta: &'a [u8],
    /// Where in the file the body lies.
    pub body: Range<usize>,
}

impl Head<'_> {
    /// What the whole file must have.
    pub fn file_bytes(&self) -> u64 {
        (self.body.end + HASH_BYTES) as u64
    }
}

/// The head of a file that begins with `bytes`, checked; the body is not.
pub fn read_head(bytes: &[u8], part: Part, job: JobId) -> Result<Head<'_>, EntryError> {
    let fixed = bytes.first_chunk::<FIXED_BYTES>();
    let fixed = fixed.filter(|fixed| fixed.starts_with(&MAGIC));
    let fixed = fixed.ok_or(EntryError::Magic)?;
    let found = u16::from_le_bytes([fixed[8], fixed[9]]);
    if found != VERSION {
        return Err(EntryError::Version { found });
    }
    let meta_end = FIXED_BYTES + length_at(fixed, 12, limits::SPOOL_META_BYTES_MAX)?;
    let body_bytes = length_at(fixed, 16, limits::SPOOL_BODY_BYTES_MAX)?;
    let crc = bytes.get(meta_end..).and_then(<[u8]>::first_chunk);
    let crc = crc.ok_or(EntryError::Length {
        found: bytes.len() as u64,
        needed: (meta_end + CRC_BYTES) as u64,
    })?;
    let found = CHECK.checksum(&bytes[..meta_end]);
    let needed = u32::from_le_bytes(*crc);
    if found != needed {
        return Err(EntryError::Checksum { found, needed });
    }
    check_owner(fixed, part, job)?;
    let body = meta_end + CRC_BYTES..meta_end + CRC_BYTES + body_bytes;
    let meta = &bytes[FIXED_BYTES..meta_end];
    Ok(Head { meta, body })
}

/// The head of the whole file `bytes`, all of it checked.
pub fn read_whole(bytes: &[u8], part: Part, job: JobId) -> Result<Head<'_>, EntryError> {
    let head = read_head(bytes, part, job)?;
    let (found, needed) = (bytes.len() as u64, head.file_bytes());
    if found != needed {
        return Err(EntryError::Length { found, needed });
    }
    let (content, hash) = bytes.split_at(head.body.end);
    if Sha256::digest(content)[..] != *hash {
        return Err(EntryError::Hash);
    }
    Ok(head)
}

fn length_at(fixed: &[u8; FIXED_BYTES], at: usize, max: usize) -> Result<usize, EntryError> {
    let bytes = [fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]];
    let found = u32::from_le_bytes(bytes) as usize;
    if found > max {
        return Err(EntryError::TooLong { found, max });
    }
    Ok(found)
}

fn check_owner(fixed: &[u8; FIXED_BYTES], part: Part, job: JobId) -> Result<(), EntryError> {
    if fixed[10] != part as u8 {
        let (found, needed) = (fixed[10], part);
        return Err(EntryError::Part { found, needed });
    }
    let mut id = [0; 16];
    id.copy_from_slice(&fixed[20..]);
    let (found, needed) = (JobId::from_bytes(id), job);
    if found != needed {
        return Err(EntryError::Job { found, needed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: JobId = JobId::from_bytes([0x5A; 16]);

    fn file(part: Part, meta: &[u8], body: &[u8]) -> Vec<u8> {
        seal(part, JOB, meta, body).unwrap().pieces(body).concat()
    }

    #[test]
    fn the_bytes_are_these() {
        let bytes = file(Part::Record, b"ab", b"xyz");
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = [
            "894c534a0d0a1a0a",
            "0100 02 00",
            "02000000",
            "03000000",
            "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
            "6162",
            "caadfcab",
            "78797a",
            "afd6b26453daef4fdfe056ec2a0c2db7f5a89a9a562d2ebcae03e079a06f1bdf",
        ];
        assert_eq!(text, expected.concat().replace(' ', ""));
    }

    #[test]
    fn a_part_comes_back() {
        let bytes = file(Part::Page, b"meta", b"the page");
        let head = read_whole(&bytes, Part::Page, JOB).unwrap();
        assert_eq!(
            (head.meta, &bytes[head.body.clone()]),
            (&b"meta"[..], &b"the page"[..])
        );
        assert_eq!(head.file_bytes(), bytes.len() as u64);
        assert_eq!(
            read_head(&bytes[..44], Part::Page, JOB).unwrap(),
            head,
            "without its body"
        );
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_an_error() {
        let bytes = file(Part::State, b"some meta", b"some body");
        let check = |bytes: &[u8], what: &str| {
            assert!(read_whole(bytes, Part::State, JOB).is_err(), "{what}");
        };
        for length in 0..bytes.len() {
            check(&bytes[..length], &format!("cut to {length}"));
        }
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            check(&flipped, &format!("bit {bit}"));
            let head = read_head(&flipped, Part::State, JOB);
            assert_eq!(head.is_ok(), bit / 8 >= 49, "the head alone, bit {bit}");
        }
        check(&[&bytes[..], &[0]].concat(), "longer");
    }

    #[test]
    fn another_part_or_job_is_an_error() {
        let bytes = file(Part::Page, b"", b"");
        let other = JobId::from_bytes([1; 16]);
        let (found, needed) = (1, Part::Record);
        assert_eq!(
            read_whole(&bytes, Part::Record, JOB),
            Err(EntryError::Part { found, needed })
        );
        let (found, needed) = (JOB, other);
        assert_eq!(
            read_whole(&bytes, Part::Page, other),
            Err(EntryError::Job { found, needed })
        );
    }

    #[test]
    fn too_much_is_refused() {
        let max = limits::SPOOL_META_BYTES_MAX;
        let error = seal(Part::Page, JOB, &vec![0; max + 1], b"").err();
        let found = max + 1;
        assert_eq!(error, Some(EntryError::TooLong { found, max }));
        assert!(seal(Part::Page, JOB, &vec![0; max], b"").is_ok());
    }
}
