//! Where a camera's device files are.
//!
//! In: the tree that the kernel shows below `/sys/class/video4linux`, the camera's USB numbers. Out:
//! its device files in the order in which the camera has them; those that only carry data about
//! frames are among them, and told apart by whoever opens them. Two cameras of the same numbers are
//! told apart by their place.

use std::path::{Path, PathBuf};

use crate::limits;

pub const VIDEO_CLASS: &str = "/sys/class/video4linux";

/// A device file, as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// Where the device is plugged in.
    pub place: PathBuf,
    /// Which of the device's files this is.
    pub index: u32,
    pub path: PathBuf,
    /// Vendor and product, where it is a USB device.
    pub usb: Option<(u16, u16)>,
}

/// Vendor and product out of `046d:0825`.
pub fn usb_numbers(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| {
        let is_number = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_number
            .then(|| u16::from_str_radix(text, 16).ok())
            .flatten()
    };
    let (vendor, product) = text.split_once(':')?;
    Some((number(vendor)?, number(product)?))
}

/// All device files, sorted by place and index.
pub fn nodes(class: &Path) -> Vec<Node> {
    let Ok(entries) = std::fs::read_dir(class) else {
        return Vec::new();
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut nodes: Vec<Node> = paths
        .filter_map(|path| node(&path))
        .take(limits::CAPTURE_DEVICES_MAX)
        .collect();
    nodes.sort();
    nodes
}

fn node(entry: &Path) -> Option<Node> {
    let name = entry.file_name()?.to_str()?;
    let read = |path: PathBuf| Some(std::fs::read_to_string(path).ok()?.trim().to_owned());
    // The interface of the device, and the device itself.
    let place = std::fs::canonicalize(entry.join("device/..")).ok()?;
    let numbers = read(place.join("idVendor")).zip(read(place.join("idProduct")));
    Some(Node {
        index: read(entry.join("index"))
            .and_then(|text| text.parse().ok())
            .unwrap_or(0),
        path: Path::new("/dev").join(name),
        usb: numbers.and_then(|(vendor, product)| usb_numbers(&format!("{vendor}:{product}"))),
        place,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree as the kernel shows it: cameras in places, each with device files.
    fn tree(cameras: &[(&str, &str, &[u32])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let class = root.path().join("class");
        std::fs::create_dir(&class).unwrap();
        let mut number = 0;
        for (place, numbers, indices) in cameras {
            let device = root.path().join(place);
            let interface = device.join("1.0");
            std::fs::create_dir_all(&interface).unwrap();
            if let Some((vendor, product)) = numbers.split_once(':') {
                std::fs::write(device.join("idVendor"), format!("{vendor}\n")).unwrap();
                std::fs::write(device.join("idProduct"), format!("{product}\n")).unwrap();
            }
            for index in *indices {
                let entry = class.join(format!("video{number}"));
                std::fs::create_dir(&entry).unwrap();
                std::fs::write(entry.join("index"), format!("{index}\n")).unwrap();
                std::os::unix::fs::symlink(&interface, entry.join("device")).unwrap();
                number += 1;
            }
        }
        root
    }

    #[test]
    fn device_files_are_found_with_their_numbers() {
        let root = tree(&[
            ("e", "046d:0825", &[1, 0]),
            ("d", "", &[0]),
            ("c", "", &[2, 1, 0]),
            ("b", "", &[0]),
            ("a", "1bcf:2b98", &[1, 0]),
        ]);
        let found = nodes(&root.path().join("class"));
        let path = |node: &Node| node.path.to_str().unwrap().to_owned();
        let found: Vec<_> = found
            .iter()
            .map(|node| (path(node), node.index, node.usb))
            .collect();
        let expected = [
            (8, 0, Some((0x1bcf, 0x2b98))),
            (7, 1, Some((0x1bcf, 0x2b98))),
            (6, 0, None),
            (5, 0, None),
            (4, 1, None),
            (3, 2, None),
            (2, 0, None),
            (1, 0, Some((0x046d, 0x0825))),
            (0, 1, Some((0x046d, 0x0825))),
        ];
        let expected = expected.map(|(k, index, usb)| (format!("/dev/video{k}"), index, usb));
        assert_eq!(found, expected);
        assert!(nodes(&root.path().join("none")).is_empty());
    }

    #[test]
    fn usb_numbers_are_four_digits_twice() {
        assert_eq!(usb_numbers("046D:0825"), Some((0x046d, 0x0825)));
        for text in [
            "",
            "046d",
            "46d:825",
            "046d:08255",
            "046g:0825",
            "+46d:0825",
        ] {
            assert_eq!(usb_numbers(text), None, "{text}");
        }
    }
}
