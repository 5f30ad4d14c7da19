//! A stroke font for overlays and the test page: letters as a plotter draws them.
//!
//! In: a character. Out: its strokes, polylines on a grid of 4 x 8 units: 0 is the top of capitals,
//! 6 the line they stand on, 8 the lowest tail. Printable ASCII; anything else is a box.

/// Grid units from one character to the next.
pub const ADVANCE: f32 = 6.0;
/// Grid units that capitals are high.
pub const CAPITAL_HEIGHT: f32 = 6.0;

/// The strokes of `character`, each a list of points.
pub fn strokes(character: char) -> impl Iterator<Item = Vec<[f32; 2]>> {
    let point = |pair: &[u8]| [f32::from(pair[0] - b'0'), f32::from(pair[1] - b'0')];
    glyph(character)
        .split_ascii_whitespace()
        .map(move |stroke| stroke.as_bytes().chunks_exact(2).map(point).collect())
}

/// Pairs of digits, x then y; strokes are parted by blanks.
fn glyph(character: char) -> &'static str {
    match character {
        'A' => "0602204246 0444",
        'B' => "00063645443303 0030413203",
        'C' => "4130100105163645",
        'D' => "000626444220 2000",
        'E' => "40000646 0333",
        'F' => "400006 0333",
        'G' => "413010010516364543 2343",
        'H' => "0006 4046 0343",
        'I' => "1030 2026 1636",
        'J' => "40453616 1605",
        'K' => "0006 4003 0346",
        'L' => "000646",
        'M' => "0600234046",
        'N' => "06004640",
        'O' => "103041453616050110",
        'P' => "060030414233 3303",
        'Q' => "103041453616050110 2446",
        'R' => "060030414233 3303 2346",
        'S' => "4130100112324345361605",
        'T' => "0040 2026",
        'U' => "0005163645 4540",
        'V' => "002640",
        'W' => "0016233640",
        'X' => "0046 4006",
        'Y' => "002340 2326",
        'Z' => "00400646",
        'a' => "12324346 44341405163645",
        'b' => "0006 0313324345361605",
        'c' => "4332120305163645",
        'd' => "4046 4332120305163645",
        'e' => "044443321203051636",
        'f' => "41302126 0333",
        'g' => "42473818 4332120305163645",
        'h' => "0006 0312324346",
        'i' => "2226 2021",
        'j' => "32371808 3031",
        'k' => "0006 4204 1446",
        'l' => "102026 1636",
        'm' => "0602 03122326 23334346",
        'n' => "0602 0312324346",
        'o' => "123243453616050312",
        'p' => "0208 0312324345361605",
        'q' => "4248 4332120305163645",
        'r' => "0602 04123242",
        's' => "43321203143445361605",
        't' => "20253646 0242",
        'u' => "02051636 4246",
        'v' => "022642",
        'w' => "0216243642",
        'x' => "0246 4206",
        'y' => "0226 4208",
        'z' => "02420646",
        '0' => "103041453616050110 0541",
        '1' => "012026 0646",
        '2' => "01103041420646",
        '3' => "0110304132344536 361605 1323",
        '4' => "360444 3036 3004",
        '5' => "400002324345361605",
        '6' => "413010010516364543321203",
        '7' => "004016",
        '8' => "10304132344536160514321201 0110",
        '9' => "051636454130100103143443",
        other => sign(other),
    }
}

fn sign(character: char) -> &'static str {
    match character {
        ' ' => "",
        '+' => "1333 2224",
        '-' => "1333",
        '_' => "0646",
        '=' => "0242 0444",
        '.' => "2526",
        ',' => "252617",
        ':' => "2223 2526",
        ';' => "2223 252617",
        '/' => "4006",
        '\\' => "0046",
        '|' => "2026",
        '(' => "30212536",
        ')' => "10212516",
        '[' => "30202636",
        ']' => "10202616",
        '{' => "302022132426 2636",
        '}' => "10202233 332426 2616",
        '<' => "400346",
        '>' => "004306",
        '!' => "2024 2526",
        '?' => "0110304123 2324 2526",
        '\'' => "2022",
        '"' => "1012 3032",
        '`' => "1021",
        '^' => "022042",
        '~' => "0313243343",
        '*' => "2024 0143 4103",
        '#' => "1016 3036 0242 0444",
        '%' => "4006 0001 4546",
        '&' => "46012030310405162644",
        '@' => "3323142433 334441301001051646",
        '$' => "4130100112324345361605 2026",
        _ => "0040460600",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_printable_character_has_strokes_on_the_grid() {
        for character in ' '..='~' {
            let glyph = glyph(character);
            assert!(glyph.is_empty() == (character == ' '), "{character}");
            assert!(
                character == '\u{7f}' || glyph != super::glyph('\u{e9}'),
                "{character}"
            );
            for stroke in glyph.split_ascii_whitespace() {
                let digits = stroke.bytes().all(|b| b.is_ascii_digit());
                assert!(
                    digits && stroke.len() % 2 == 0 && stroke.len() >= 4,
                    "{character}: {stroke}"
                );
            }
            for [x, y] in strokes(character).flatten() {
                assert!(x <= 4.0 && y <= 8.0, "{character}: {x} {y}");
            }
        }
    }
}
