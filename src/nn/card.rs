//! A model file and its card.
//!
//! In: an ONNX file and a TOML card that says what it is. Out: both, after the file's hash was
//! found to be the card's. A file that is not the one on its card is refused: the numbers of the
//! release were measured with that one. The card may say more than is read here (origin, licence,
//! scores); that is for people.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::ModelError;

/// Largest model file, and largest card.
const MODEL_BYTES_MAX: u64 = 64 << 20;
const CARD_BYTES_MAX: u64 = 64 << 10;

/// What a card says of its model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Card {
    pub name: String,
    /// Of the ONNX file, in hexadecimal.
    pub sha256: String,
    /// `[1, 3, height, width]`, the usual size; any multiple of 32 will do.
    pub input: [usize; 4],
    /// Names of the outputs.
    pub outputs: Vec<String>,
    /// What the channels of the classes stand for, in order.
    pub classes: Vec<String>,
}

/// One model: its ONNX file and its card, not yet checked.
#[derive(Clone, Debug)]
pub struct ModelFile {
    pub onnx: Cow<'static, [u8]>,
    pub card: Cow<'static, str>,
}

impl ModelFile {
    /// Reads `folder/name.onnx` and `folder/name.toml`.
    pub fn read(folder: &Path, name: &'static str) -> Result<Self, ModelError> {
        let onnx = read_bounded(&folder.join(format!("{name}.onnx")), MODEL_BYTES_MAX)?;
        let path = folder.join(format!("{name}.toml"));
        let card = String::from_utf8(read_bounded(&path, CARD_BYTES_MAX)?).map_err(|_| {
            ModelError::Card {
                model: name,
                reason: "it is not UTF-8 text".to_owned(),
            }
        })?;
        Ok(Self {
            onnx: onnx.into(),
            card: card.into(),
        })
    }

    /// The card, after the file was found to be the one it describes.
    pub fn check(&self, model: &'static str) -> Result<Card, ModelError> {
        let card: Card = toml::from_str(&self.card).map_err(|error| ModelError::Card {
            model,
            reason: error.message().to_owned(),
        })?;
        if card.name != model {
            let reason = format!("it is the card of {:?}", card.name);
            return Err(ModelError::Card { model, reason });
        }
        let found = hexadecimal(&Sha256::digest(&self.onnx));
        if found != card.sha256 {
            return Err(ModelError::Hash {
                model,
                found,
                needed: card.sha256,
            });
        }
        Ok(card)
    }
}

fn read_bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, ModelError> {
    let error = |error: std::io::Error| ModelError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(error)?
        .take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(error)?;
    if bytes.len() as u64 > bytes_max {
        let reason = format!("it is longer than {bytes_max} bytes");
        return Err(ModelError::File {
            path: path.to_owned(),
            reason,
        });
    }
    Ok(bytes)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
