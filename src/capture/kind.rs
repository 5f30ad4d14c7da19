//! What a file is, from its first bytes.

use std::io::BufRead;
use std::path::Path;

use super::Fault;

/// The picture formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Jpeg,
    Png,
    Tiff,
    Bmp,
    Pnm,
    Webp,
}

/// Bytes that tell every kind apart.
const SIGN_BYTES: usize = 12;

/// Tells the kind of the file at `path`; `reader` stays at its first byte.
pub fn of(reader: &mut impl BufRead, path: &Path) -> Result<Kind, Fault> {
    let buffer = reader.fill_buf().map_err(|error| Fault::of_io(&error))?;
    let sign = &buffer[..buffer.len().min(SIGN_BYTES)];
    match sign {
        [0xFF, 0xD8, 0xFF, ..] => Ok(Kind::Jpeg),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Ok(Kind::Png),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(Kind::Tiff),
        [b'B', b'M', ..] => Ok(Kind::Bmp),
        [b'P', b'1'..=b'7', b' ' | b'\t' | b'\r' | b'\n' | b'#', ..] => Ok(Kind::Pnm),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => Ok(Kind::Webp),
        [b'%', b'P', b'D', b'F', ..] => Err(Fault::Pdf {
            command: pdf_command(path),
        }),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Err(Fault::OtherFormat {
            kind: "HEIC or AVIF",
        }),
        [b'G', b'I', b'F', b'8', ..] => Err(Fault::OtherFormat { kind: "GIF" }),
        _ => Err(Fault::NotAPicture),
    }
}

/// The command that turns the PDF into pages beside it.
fn pdf_command(path: &Path) -> String {
    let quoted = |path: &Path| {
        let text = path.display().to_string();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if text.chars().all(plain) {
            text
        } else {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
    };
    format!(
        "pdftoppm -r 300 -png {} {}",
        quoted(path),
        quoted(&path.with_extension(""))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mut bytes: &[u8], expected: Result<Kind, Fault>) {
        assert_eq!(of(&mut bytes, Path::new("in/page 1.x")), expected);
    }

    #[test]
    fn a_kind_is_told_by_its_first_bytes() {
        check(b"\xFF\xD8\xFF\xE0", Ok(Kind::Jpeg));
        check(b"\x89PNG\r\n\x1a\n", Ok(Kind::Png));
        check(b"II*\0", Ok(Kind::Tiff));
        check(b"MM\0*", Ok(Kind::Tiff));
        check(b"BM", Ok(Kind::Bmp));
        check(b"P6\n", Ok(Kind::Pnm));
        check(b"RIFF\x10\0\0\0WEBP", Ok(Kind::Webp));
    }

    #[test]
    fn what_is_no_picture_is_refused_with_what_to_do() {
        check(b"hello, world", Err(Fault::NotAPicture));
        check(b"RIFF\x10\0\0\0WAVE", Err(Fault::NotAPicture));
        check(b"GIF89a", Err(Fault::OtherFormat { kind: "GIF" }));
        let command = "pdftoppm -r 300 -png 'in/page 1.x' 'in/page 1'".to_owned();
        check(b"%PDF-1.7", Err(Fault::Pdf { command }));
    }
}
