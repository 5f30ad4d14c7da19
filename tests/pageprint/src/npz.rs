//! Arrays for numpy: one `.npz` file, which is a ZIP archive of stored `.npy` files.
//!
//! In: names and arrays of `f32`. Out: the archive's bytes, little endian. Written by hand because
//! the crates for it turn on features of tract's dependencies: tests and the program would then
//! each compile tract of their own. Sources: numpy's `lib/format.py` (version 1.0), PKWARE's
//! APPNOTE 6.3, sections 4.3.7, 4.3.12 and 4.3.16. An archive past 4 GiB is refused.

use std::io::{Error, ErrorKind};

/// An archive in the making.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
}

impl Archive {
    /// Adds `NAME.npy`; `shape` is rows, or rows and columns.
    pub fn add(
        &mut self,
        name: &str,
        shape: &[usize],
        values: impl IntoIterator<Item = f32>,
    ) -> Result<(), Error> {
        let file = npy(shape, values);
        let name = format!("{name}.npy");
        let (offset, size) = (limited(self.bytes.len())?, limited(file.len())?);
        let crc = crc32fast::hash(&file);
        // Version, flags, method (stored), time and date (1980-01-01), checksum and sizes.
        let mut entry = Vec::new();
        for short in [20u16, 0, 0, 0, 0x21] {
            entry.extend(short.to_le_bytes());
        }
        for long in [crc, size, size] {
            entry.extend(long.to_le_bytes());
        }
        entry.extend((name.len() as u16).to_le_bytes());
        entry.extend(0u16.to_le_bytes());
        self.bytes.extend(b"PK\x03\x04");
        self.bytes.extend(&entry);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(file);
        self.directory.extend(b"PK\x01\x02\x14\x00");
        self.directory.extend(&entry);
        // No comment, first disk, no attributes.
        self.directory.extend([0; 10]);
        self.directory.extend(offset.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.count += 1;
        Ok(())
    }

    pub fn finish(mut self) -> Result<Vec<u8>, Error> {
        let (offset, size) = (limited(self.bytes.len())?, limited(self.directory.len())?);
        self.bytes.append(&mut self.directory);
        self.bytes.extend(b"PK\x05\x06\x00\x00\x00\x00");
        self.bytes.extend(self.count.to_le_bytes());
        self.bytes.extend(self.count.to_le_bytes());
        self.bytes.extend(size.to_le_bytes());
        self.bytes.extend(offset.to_le_bytes());
        self.bytes.extend(0u16.to_le_bytes());
        Ok(self.bytes)
    }
}

fn limited(bytes: usize) -> Result<u32, Error> {
    u32::try_from(bytes).map_err(|_| Error::new(ErrorKind::InvalidInput, "an archive past 4 GiB"))
}

fn npy(shape: &[usize], values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    let sides: String = shape.iter().map(|side| format!("{side}, ")).collect();
    let mut head = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sides}), }}");
    // The values begin at a multiple of 64; the head ends in a new line.
    while (10 + head.len() + 1) % 64 != 0 {
        head.push(' ');
    }
    head.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((head.len() as u16).to_le_bytes());
    bytes.extend(head.as_bytes());
    let before = bytes.len();
    bytes.extend(values.into_iter().flat_map(f32::to_le_bytes));
    assert_eq!(
        bytes.len() - before,
        4 * shape.iter().product::<usize>(),
        "as many values as the shape says"
    );
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_what_numpy_expects() {
        let mut archive = Archive::default();
        archive.add("mv_0", &[3], [0.5, -1.0, f32::NAN]).unwrap();
        archive.add("px_0", &[1, 2], [7.0, 8.0]).unwrap();
        let bytes = archive.finish().unwrap();
        let at = |needle: &[u8]| {
            bytes
                .windows(needle.len())
                .position(|w| w == needle)
                .unwrap()
        };
        assert_eq!(at(b"PK\x03\x04"), 0);
        assert_eq!(&bytes[30..38], b"mv_0.npy");
        let head = at(b"\x93NUMPY\x01\x00");
        assert_eq!(head, 38);
        let length = usize::from(u16::from_le_bytes([bytes[head + 8], bytes[head + 9]]));
        assert_eq!((10 + length) % 64, 0);
        let values = head + 10 + length;
        assert_eq!(bytes[values..values + 8], [0, 0, 0, 0x3f, 0, 0, 0x80, 0xbf]);
        at(b"'shape': (1, 2, ), }");
        let end = at(b"PK\x05\x06");
        assert_eq!(bytes[end + 8..end + 12], [2, 0, 2, 0]);
        let directory = u32::from_le_bytes(bytes[end + 16..end + 20].try_into().unwrap()) as usize;
        assert_eq!(directory, at(b"PK\x01\x02"));
        assert_eq!(bytes.len(), end + 22);
    }
}
