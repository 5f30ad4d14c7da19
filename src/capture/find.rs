//! From what the operator names to a list of pages.
//!
//! A folder means every page file in it, by name; what lies in folders below it is left alone, and
//! so are hidden files and our own overlays. A TIFF of several pages gives `ID-1`, `ID-2` and so
//! on. PDFs in a folder are listed too, so that they are refused by name
//! instead of missed, unless their pages lie beside them.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::{Fault, Kind, Refused, kind, open, tiff};
use crate::limits;

/// Endings by which pages are known in a folder.
const ENDINGS: [&str; 13] = [
    "png", "jpg", "jpeg", "tif", "tiff", "bmp", "pnm", "pbm", "pgm", "ppm", "pam", "webp", "pdf",
];
/// The ending of overlays, which are pictures but no pages.
const OVERLAY_ENDING: &str = ".overlay.png";

/// One page of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageFile {
    /// Names the page's outputs: the file's stem, with the page's number where it has several.
    pub id: String,
    pub path: PathBuf,
    /// Which page of a TIFF of several.
    pub page_index: Option<usize>,
}

/// All pages that `paths` name, in order; what cannot be looked into is refused in its place.
pub fn find(paths: &[PathBuf]) -> Vec<Result<PageFile, Refused>> {
    let mut pages = Vec::new();
    for path in paths {
        if path.is_dir() {
            match files_in(path) {
                Ok(files) => files.iter().for_each(|file| pages.extend(pages_of(file))),
                Err(fault) => pages.push(Err(Refused {
                    path: path.clone(),
                    fault,
                })),
            }
        } else {
            pages.extend(pages_of(path));
        }
    }
    pages
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>, Fault> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| Fault::of_io(&error))? {
        let path = entry.map_err(|error| Fault::of_io(&error))?.path();
        if is_page_name(&path) && path.is_file() {
            files.push(path);
        }
        let (found, max) = (files.len(), limits::BATCH_PAGES_MAX);
        if found > max {
            return Err(Fault::TooManyPages { found, max });
        }
    }
    files.sort();
    leave_out_converted(&mut files);
    if files.is_empty() {
        Err(Fault::NoPages)
    } else {
        Ok(files)
    }
}

/// A PDF whose pages lie beside it, as `pdftoppm` names them, has been dealt with.
fn leave_out_converted(files: &mut Vec<PathBuf>) {
    let stem = |path: &PathBuf| path.file_stem().map(|s| s.to_string_lossy().into_owned());
    let is_pdf = |path: &PathBuf| {
        path.extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("pdf"))
    };
    let pages: Vec<String> = files
        .iter()
        .filter(|path| !is_pdf(path))
        .filter_map(stem)
        .collect();
    let has_pages = |path: &PathBuf| {
        let first = stem(path).unwrap_or_default();
        let number = |page: &String| {
            page.strip_prefix(&first)?
                .strip_prefix('-')?
                .parse::<u32>()
                .ok()
        };
        pages
            .iter()
            .any(|page| *page == first || number(page).is_some())
    };
    files.retain(|path| !is_pdf(path) || !has_pages(path));
}

fn is_page_name(path: &Path) -> bool {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase());
    let ending = path
        .extension()
        .map(|ending| ending.to_string_lossy().to_lowercase());
    name.is_some_and(|name| !name.starts_with('.') && !name.ends_with(OVERLAY_ENDING))
        && ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

fn pages_of(path: &Path) -> Vec<Result<PageFile, Refused>> {
    let refused = |fault| {
        vec![Err(Refused {
            path: path.to_owned(),
            fault,
        })]
    };
    let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else {
        return refused(Fault::Name);
    };
    let page = |id: String, page_index| PageFile {
        id,
        path: path.to_owned(),
        page_index,
    };
    match tiff_page_count(path) {
        Ok(count) if count > 1 => (0..count)
            .map(|k| Ok(page(format!("{stem}-{}", k + 1), Some(k))))
            .collect(),
        Ok(_) => vec![Ok(page(stem.to_owned(), None))],
        Err(fault) => refused(fault),
    }
}

/// 1 for whatever is no TIFF: what is wrong with it shows when it is read.
fn tiff_page_count(path: &Path) -> Result<usize, Fault> {
    let Ok((file, _)) = open(path) else {
        return Ok(1);
    };
    let mut reader: BufReader<File> = BufReader::new(file);
    match kind::of(&mut reader, path) {
        Ok(Kind::Tiff) => tiff::page_count(reader),
        Ok(Kind::Jpeg | Kind::Png | Kind::Bmp | Kind::Pnm | Kind::Webp) | Err(_) => Ok(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_names_are_told_by_their_ending() {
        let is = |name: &str| is_page_name(Path::new(name));
        assert!(is("a/Page.PNG") && is("b.tiff") && is("c.pdf"));
        assert!(!is("notes.txt") && !is("png") && !is(".hidden.png") && !is("a.overlay.png"));
    }
}
