//! Tokens and passwords: one line in a file that nobody else may read.
//!
//! In: the file's path. Out: its text without the line's end. The file is looked at when the link
//! is made, so that a wrong one is told at once, and read again for each use, so that it can be
//! renewed under a service that runs. It is refused where its mode lets group or others in (what is
//! told then is the command that mends it), where it is empty, longer than `LINK_SECRET_BYTES_MAX`,
//! or holds anything but visible ASCII. Its text goes into no message.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde::Deserialize;

use super::SettingsError;
use crate::limits;

/// Read, write and search for group and others.
const OTHERS: u32 = 0o077;

/// Where a secret lies.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct SecretFile {
    path: PathBuf,
}

impl SecretFile {
    /// The secret, as the file has it now.
    pub fn read(&self) -> Result<String, SettingsError> {
        let text = self.text().map_err(|error| self.refused(error))?;
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return Err(self.refused("is empty: write the secret into it"));
        }
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(self.refused("holds more than one word of visible ASCII"));
        }
        Ok(secret.to_owned())
    }

    fn text(&self) -> std::io::Result<String> {
        let file = File::open(&self.path)?;
        if file.metadata()?.mode() & OTHERS != 0 {
            let path = self.path.display();
            let reason = format!("may be opened by others than its owner: chmod 600 {path}");
            return Err(std::io::Error::other(reason));
        }
        let bytes_max = limits::LINK_SECRET_BYTES_MAX;
        let mut text = String::new();
        file.take(bytes_max as u64 + 1).read_to_string(&mut text)?;
        if text.len() > bytes_max {
            let reason = format!("is longer than {bytes_max} bytes");
            return Err(std::io::Error::other(reason));
        }
        Ok(text)
    }

    fn refused(&self, reason: impl ToString) -> SettingsError {
        SettingsError::File {
            path: self.path.clone(),
            reason: reason.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn read(text: &[u8], mode: u32) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let secret = SecretFile { path };
        secret.read().map_err(|error| error.to_string())
    }

    #[test]
    fn a_secret_is_its_owners_alone() {
        assert_eq!(read(b"abc\n", 0o600).unwrap(), "abc");
        assert_eq!(read(b"abc", 0o400).unwrap(), "abc");
        for mode in [0o640, 0o604, 0o620, 0o602, 0o644] {
            let refusal = read(b"abc\n", mode).unwrap_err();
            assert!(refusal.contains("chmod 600 /"), "{mode:o}: {refusal}");
            assert!(!refusal.contains("abc"));
        }
    }

    #[test]
    fn a_secret_is_one_word() {
        for text in [
            &b""[..],
            b"\n",
            b"a b",
            b"a\nb",
            b"a\0",
            "ä".as_bytes(),
            b"\xff",
        ] {
            assert!(read(text, 0o600).is_err(), "{text:?}");
        }
        assert!(read(&[b'a'; limits::LINK_SECRET_BYTES_MAX], 0o600).is_ok());
        assert!(read(&[b'a'; limits::LINK_SECRET_BYTES_MAX + 1], 0o600).is_err());
    }
}
