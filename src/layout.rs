//! Where each lead lies on the page, from the distances between the labels.
//!
//! In: the labels on the paper, then the ink. Out: `Layout`: rows from the top, each a row of
//! panels or a rhythm strip, with the height of its zero line on the paper. Units: millimetres on
//! the paper. Which layout it is, is decided among those in `known`; spacing and order must match.
//! What was not understood is a `LayoutError`, never a default.
//!
//! ```text
//!   labels --fit: RANSAC over known layouts--> lattice of labels
//!          --rows: ink under the lattice--> zero line of each row
//! ```

pub mod fit;
pub mod known;
pub mod rows;

use crate::labels::Lead;
use crate::page::{InPaper, Point};
use crate::units::Mm;

/// What stands in one row of the page.
#[derive(Clone, Debug, PartialEq)]
pub enum RowKind {
    /// Panels of equal width, from the left.
    Panels(Vec<Lead>),
    /// One lead over the whole width.
    Strip(Lead),
    /// One lead over the whole width whose name was not found.
    Unnamed,
}

/// A row of traces.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub kind: RowKind,
    /// Two points on the row's zero line, at the first label and a page further right.
    pub zero: [Point<InPaper>; 2],
}

/// The rows of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// E.g. `3x4`.
    pub matrix: &'static str,
    /// From the top, strips without a name last.
    pub rows: Vec<Row>,
    pub column_count: usize,
    /// Where the first column's labels stand, and the distance between columns; on a page of one
    /// column the labels tell no width.
    pub label_left: Mm,
    pub column_width: Option<Mm>,
    /// Standard error of that distance.
    pub column_error: Mm,
    /// Distance between rows.
    pub row_pitch: Mm,
}

impl Layout {
    /// Its name with so many strips, e.g. `3x4+1R`.
    pub fn name(&self, strips: usize) -> String {
        Self::name_of(self.matrix, strips)
    }

    /// The name of a matrix with so many rhythm strips.
    pub fn name_of(matrix: &str, strips: usize) -> String {
        match strips {
            0 => matrix.to_owned(),
            n => format!("{matrix}+{n}R"),
        }
    }

    /// The matrix that is this one but for the sign of aVR, where both are printed.
    pub fn other_sign(&self) -> Option<&'static str> {
        Self::other_sign_of(self.matrix)
    }

    /// The same of a matrix' name.
    fn other_sign_of(matrix: &str) -> Option<&'static str> {
        let turned = match matrix.strip_suffix(" aVR") {
            Some(minus) => minus.to_owned(),
            None => format!("{matrix} aVR"),
        };
        let mut known = known::LAYOUTS.iter().map(|layout| layout.name);
        known.find(|name| *name == turned)
    }
}

/// Why the page's layout was not understood.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LayoutError {
    #[error(
        "{found} lead names were read, and they stand in no order; check that the whole page is in the picture, sharp and upright"
    )]
    NoLattice { found: usize },
    #[error(
        "only {found} lead names stand as on a {layout} page, {needed} are needed; capture the page again, nearer and sharper"
    )]
    TooFew {
        layout: &'static str,
        found: usize,
        needed: usize,
    },
    #[error(
        "lead names stand where a {layout} page has none; name the layout, or capture the page again"
    )]
    Contradicted { layout: &'static str },
    #[error("the page has more rows or columns than {layout}, a layout that is not known")]
    FurtherColumn { layout: &'static str },
    #[error(
        "{leads} leads are named twice, as on a page with two recordings; capture them one at a time"
    )]
    TwoRecordings { leads: usize },
    #[error("the lead names fit {first} and {second} equally well; name the layout")]
    Ambiguous {
        first: &'static str,
        second: &'static str,
    },
    #[error("there is no layout called {name}; known are {known}")]
    Unknown { name: String, known: String },
    #[error("no trace was found beside the lead names")]
    NoTrace,
}

/// Whether `name` (with or without `+1R`) is the name of a known layout.
pub fn check_name(name: &str) -> Result<(), LayoutError> {
    let base = name.split('+').next().unwrap_or_default();
    if known::LAYOUTS.iter().any(|layout| layout.name == base) {
        return Ok(());
    }
    let known = known::LAYOUTS
        .iter()
        .map(|layout| layout.name)
        .collect::<Vec<_>>()
        .join(", ");
    Err(LayoutError::Unknown {
        name: name.to_owned(),
        known,
    })
}
