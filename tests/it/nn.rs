//! The nets on tract: parity with ONNX Runtime, and what happens to files that are not ours.

use std::path::{Path, PathBuf};

use leadscan::digitize::{Nets, Picture, RawMap};
use leadscan::nn::{ModelError, ModelFiles, TractNets};
use sha2::{Digest, Sha256};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/nn")
        .join(name)
}

/// What `scripts/train/parity.py` draws as well: flat areas, ramps and noise.
fn picture(height: usize, width: usize) -> Picture {
    let mut state = 0x1EAD_C0DE_u32;
    let mut data = Vec::with_capacity(3 * height * width);
    for k in 0..3 * height * width {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let (x, y) = (k % width, k / width % height);
        data.push(match (x / 32 + y / 32) % 3 {
            0 => (state >> 24) as u8,
            1 => ((x * 3 + y) % 256) as u8,
            _ => 230,
        });
    }
    Picture::new(width, height, data)
}

/// The maps that ONNX Runtime made, as shapes, hashes and their first values.
struct Reference {
    size: [usize; 2],
    maps: Vec<([usize; 3], Vec<u8>, Vec<f32>)>,
}

fn reference(path: &Path) -> Reference {
    let bytes = std::fs::read(path).unwrap();
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut maps = Vec::new();
    let mut at = 8;
    while at < bytes.len() {
        let shape = [word(at), word(at + 4), word(at + 8)].map(|side| side as usize);
        let hash = bytes[at + 12..at + 44].to_vec();
        let values = (0..64)
            .map(|k| f32::from_bits(word(at + 44 + 4 * k)))
            .collect();
        maps.push((shape, hash, values));
        at += 44 + 256;
    }
    Reference {
        size: [word(0) as usize, word(4) as usize],
        maps,
    }
}

fn check_maps(found: &[RawMap], reference: &Reference) {
    assert_eq!(found.len(), reference.maps.len());
    for (k, (map, (shape, hash, values))) in found.iter().zip(&reference.maps).enumerate() {
        assert_eq!([map.channels, map.height, map.width], *shape, "map {k}");
        assert_eq!(map.data[..64], values[..], "first values of map {k}");
        let bytes: Vec<u8> = map
            .data
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        assert_eq!(Sha256::digest(&bytes).to_vec(), *hash, "map {k}");
    }
}

/// Both nets in `models` against the references beside them.
fn check_parity(models: ModelFiles, references: &Path) {
    let nets = TractNets::load(models, 2).unwrap();
    let labels = reference(&references.join("labels.ref"));
    check_maps(
        &nets
            .labels(&picture(labels.size[0], labels.size[1]))
            .unwrap(),
        &labels,
    );
    let trace = reference(&references.join("trace.ref"));
    let [height, width] = trace.size;
    let found = nets
        .traces(3, &|_| picture(height, width), &|_, map| map)
        .unwrap();
    for map in found {
        check_maps(&[map], &trace);
    }
}

#[test]
fn bundled_nets_agree_with_onnx_runtime_to_the_bit() {
    check_parity(ModelFiles::bundled(), &folder("shipped"));
}

#[test]
fn small_nets_of_every_operator_agree_with_onnx_runtime_to_the_bit() {
    check_parity(
        ModelFiles::read(&folder("random")).unwrap(),
        &folder("random"),
    );
}

/// What loading says of the bundled models after `change`.
fn refusal(change: impl Fn(&mut ModelFiles)) -> ModelError {
    let mut models = ModelFiles::bundled();
    change(&mut models);
    TractNets::load(models, 1)
        .err()
        .expect("a changed model is refused")
}

#[test]
fn a_model_that_is_not_the_one_on_its_card_is_refused() {
    let bent = refusal(|models| models.trace.onnx.to_mut()[1000] ^= 1);
    assert!(
        matches!(bent, ModelError::Hash { model: "trace", .. }),
        "{bent}"
    );
    let cut = refusal(|models| models.labels.onnx.to_mut().truncate(5000));
    assert!(
        matches!(
            cut,
            ModelError::Hash {
                model: "labels",
                ..
            }
        ),
        "{cut}"
    );
    let swapped = refusal(|models| std::mem::swap(&mut models.labels, &mut models.trace));
    assert!(matches!(swapped, ModelError::Card { .. }), "{swapped}");
}

#[test]
fn another_list_of_classes_is_refused() {
    let error = refusal(|models| {
        let card = models.labels.card.to_mut();
        *card = card.replace("\"aVL\", \"aVF\"", "\"aVF\", \"aVL\"");
    });
    assert!(
        matches!(error, ModelError::Class { index: 4, .. }),
        "{error}"
    );
}
