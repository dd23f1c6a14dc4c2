//! Plots as SVG: for each group a row of dots, each with its range.

use std::fmt::Write as _;

use crate::spread::Spread;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 170.0;
const RIGHT: f64 = 90.0;
const ROW: f64 = 22.0;
const TITLE: f64 = 34.0;
/// Colours that are told apart by most, on white and on black (Okabe and Ito).
const COLOURS: [&str; 5] = ["#888888", "#56b4e9", "#009e73", "#cc79a7", "#d55e00"];

/// Rows under a heading.
pub(crate) struct Group {
    pub(crate) title: String,
    /// Each with its name and the place of its colour.
    pub(crate) rows: Vec<(&'static str, usize, Spread)>,
}

/// A plot from zero to the highest of all values.
pub(crate) fn dots(title: &str, groups: &[Group]) -> String {
    let all = groups.iter().flat_map(|group| &group.rows);
    let highest = all.map(|(.., spread)| spread.highest).fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| LEFT + value.max(0.0) / highest * (WIDTH - LEFT - RIGHT);
    let mut body = String::new();
    let mut y = TITLE;
    for group in groups {
        y += ROW;
        text(&mut body, 8.0, y, "start", "font-weight=\"bold\"", &group.title);
        for (name, colour, spread) in &group.rows {
            y += ROW;
            let colour = COLOURS.get(*colour).unwrap_or(&"#000000");
            let (from, to, at, line) = (x(spread.lowest), x(spread.highest), x(spread.median), y - 4.0);
            text(&mut body, LEFT - 10.0, y, "end", "", name);
            // Writing to a string cannot fail.
            let _ = writeln!(
                body,
                "<line x1=\"{LEFT}\" y1=\"{line:.1}\" x2=\"{at:.1}\" y2=\"{line:.1}\" stroke=\"{colour}\" stroke-opacity=\"0.35\" stroke-width=\"9\"/>\n\
                 <line x1=\"{from:.1}\" y1=\"{line:.1}\" x2=\"{to:.1}\" y2=\"{line:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
                 <circle cx=\"{at:.1}\" cy=\"{line:.1}\" r=\"4\" fill=\"{colour}\"/>"
            );
            text(&mut body, to + 8.0, y, "start", "", &format!("{:.1}", spread.median));
        }
    }
    let height = y + ROW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    text(&mut svg, 8.0, 22.0, "start", "font-weight=\"bold\" font-size=\"15\"", title);
    svg + &body + "</svg>\n"
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, more: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {more}>{text}</text>");
}
