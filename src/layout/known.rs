//! The layouts that are known, as data: one entry a layout, drawn as it stands on the page.
//!
//! A layout is a matrix of leads. Rhythm strips are no part of it: whatever stands in a row of
//! its own over all columns is one, and the name of the layout found gets its `+1R`.

use crate::labels::Lead;
use crate::labels::Lead::{Avf, Avl, Avr, I, II, III, MinusAvr, V1, V2, V3, V4, V5, V6};

/// A matrix of leads, rows from the top.
#[derive(Debug, PartialEq)]
pub struct KnownLayout {
    pub name: &'static str,
    pub rows: &'static [&'static [Lead]],
}

impl KnownLayout {
    pub fn column_count(&self) -> usize {
        self.rows[0].len()
    }

    pub fn cell_count(&self) -> usize {
        self.rows.len() * self.column_count()
    }

    /// Row and column of `lead`, where the layout has it.
    pub fn cell(&self, lead: Lead) -> Option<(usize, usize)> {
        self.rows.iter().enumerate().find_map(|(row, leads)| {
            leads
                .iter()
                .position(|l| *l == lead)
                .map(|column| (row, column))
        })
    }
}

/// In reading order; a page that fits two equally well is ambiguous, whatever their order.
pub const LAYOUTS: [KnownLayout; 12] = [
    // I   | aVR | V1 | V4
    // II  | aVL | V2 | V5
    // III | aVF | V3 | V6
    KnownLayout {
        name: "3x4",
        rows: &[&[I, Avr, V1, V4], &[II, Avl, V2, V5], &[III, Avf, V3, V6]],
    },
    // aVL  | II  | V1 | V4
    // I    | aVF | V2 | V5
    // -aVR | III | V3 | V6
    KnownLayout {
        name: "3x4 Cabrera",
        rows: &[
            &[Avl, II, V1, V4],
            &[I, Avf, V2, V5],
            &[MinusAvr, III, V3, V6],
        ],
    },
    // I   | V1
    // ... | ...
    // aVF | V6
    KnownLayout {
        name: "6x2",
        rows: &[
            &[I, V1],
            &[II, V2],
            &[III, V3],
            &[Avr, V4],
            &[Avl, V5],
            &[Avf, V6],
        ],
    },
    // aVL  | V1
    // I    | V2
    // -aVR | V3
    // II   | V4
    // aVF  | V5
    // III  | V6
    KnownLayout {
        name: "6x2 Cabrera",
        rows: &[
            &[Avl, V1],
            &[I, V2],
            &[MinusAvr, V3],
            &[II, V4],
            &[Avf, V5],
            &[III, V6],
        ],
    },
    // As above, for machines that print aVR upright in Cabrera's place.
    KnownLayout {
        name: "6x2 Cabrera aVR",
        rows: &[
            &[Avl, V1],
            &[I, V2],
            &[Avr, V3],
            &[II, V4],
            &[Avf, V5],
            &[III, V6],
        ],
    },
    // I
    // ...
    // V6
    KnownLayout {
        name: "12x1",
        rows: &[
            &[I],
            &[II],
            &[III],
            &[Avr],
            &[Avl],
            &[Avf],
            &[V1],
            &[V2],
            &[V3],
            &[V4],
            &[V5],
            &[V6],
        ],
    },
    // aVL, I, -aVR, II, aVF, III, V1 ... V6
    KnownLayout {
        name: "12x1 Cabrera",
        rows: &[
            &[Avl],
            &[I],
            &[MinusAvr],
            &[II],
            &[Avf],
            &[III],
            &[V1],
            &[V2],
            &[V3],
            &[V4],
            &[V5],
            &[V6],
        ],
    },
    // I ... aVF, the chest leads on another page
    KnownLayout {
        name: "6x1 limb",
        rows: &[&[I], &[II], &[III], &[Avr], &[Avl], &[Avf]],
    },
    // V1 ... V6, the limb leads on another page
    KnownLayout {
        name: "6x1 chest",
        rows: &[&[V1], &[V2], &[V3], &[V4], &[V5], &[V6]],
    },
    // I   | aVL | V3
    // II  | aVF | V4
    // III | V1  | V5
    // aVR | V2  | V6
    KnownLayout {
        name: "4x3",
        rows: &[
            &[I, Avl, V3],
            &[II, Avf, V4],
            &[III, V1, V5],
            &[Avr, V2, V6],
        ],
    },
    // I | II | III, each row a group
    KnownLayout {
        name: "4x3 by rows",
        rows: &[
            &[I, II, III],
            &[Avr, Avl, Avf],
            &[V1, V2, V3],
            &[V4, V5, V6],
        ],
    },
    // I  | II | III | aVR
    // aVL| aVF| V1  | V2
    // V3 | V4 | V5  | V6
    KnownLayout {
        name: "3x4 by rows",
        rows: &[&[I, II, III, Avr], &[Avl, Avf, V1, V2], &[V3, V4, V5, V6]],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_is_a_full_matrix_of_different_leads() {
        for layout in &LAYOUTS {
            assert!(
                layout
                    .rows
                    .iter()
                    .all(|row| row.len() == layout.column_count())
            );
            let mut leads: Vec<_> = layout.rows.iter().flat_map(|row| row.iter()).collect();
            leads.sort();
            leads.dedup();
            assert_eq!(leads.len(), layout.cell_count(), "{}", layout.name);
        }
    }
}
