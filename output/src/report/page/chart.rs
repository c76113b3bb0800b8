//! Charts as SVG. Colours are classes, so that the style sheet decides about them.

use std::fmt::{Display, Write};

use chrono::TimeZone;

use super::super::local;
use super::timeline::Timeline;
use super::{Outcome, escaped};

/// A row of a bar chart. The name is not escaped yet.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) count: u64,
}

/// Units of the drawings: about a pixel on a usual screen.
const ROW: u64 = 30;
/// Room behind the bars for counts.
const COUNT: u64 = 80;
const TIMELINE: (u64, u64) = (1140, 190);
/// Room beside and above the columns for what the lines mean.
const MARGIN: (u64, u64) = (64, 8);
const MOST_COLUMNS: u64 = 120;

/// How much of the page a chart takes: one column of two, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breadth {
    Half,
    Whole,
}

impl Breadth {
    const fn width(self) -> u64 {
        match self {
            Self::Half => 560,
            Self::Whole => 1140,
        }
    }

    /// Characters of a name.
    const fn characters(self) -> usize {
        match self {
            Self::Half => 68,
            Self::Whole => 140,
        }
    }
}

/// Bars below their names, longest first.
pub(super) fn bars(rows: &[Bar], class: &str, breadth: Breadth) -> String {
    let width = breadth.width();
    let longest = width - COUNT;
    let most = rows.iter().map(|row| row.count).max().unwrap_or(1).max(1);
    let height = ROW * rows.len() as u64;
    let mut svg = format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\">\n");
    for (row, top) in rows.iter().zip((0..).step_by(30)) {
        let length = (row.count * longest).div_ceil(most).max(2);
        let (name, shown, count) =
            (escaped(&row.name), escaped(&shortened(&row.name, breadth.characters())), grouped(row.count));
        // A `String` takes whatever is written.
        let _ = writeln!(
            svg,
            "<g><title>{name}: {count}</title><text x=\"0\" y=\"{}\">{shown}</text>\
             <rect class=\"track\" x=\"0\" y=\"{bar}\" width=\"{longest}\" height=\"7\" rx=\"2\"/>\
             <rect class=\"{class}\" x=\"0\" y=\"{bar}\" width=\"{length}\" height=\"7\" rx=\"2\"/>\
             <text class=\"count\" x=\"{width}\" y=\"{}\">{count}</text></g>",
            top + 13,
            top + 26,
            bar = top + 18,
        );
    }
    svg + "</svg>\n"
}

/// Events over time: a column for each span, outcomes on top of each other.
pub(super) fn columns<Z: TimeZone<Offset: Display>>(timeline: &Timeline, zone: &Z) -> String {
    let (columns, span) = timeline.columns(MOST_COLUMNS);
    let (Some((first, _)), false) = (timeline.range(), columns.is_empty()) else {
        return "<p class=\"none\">none</p>\n".to_owned();
    };
    let most = columns.iter().map(|column| column.iter().sum()).max().unwrap_or(1).max(1_u64);
    let ((width, height), (left, above)) = (TIMELINE, MARGIN);
    let mut svg = format!("<svg viewBox=\"0 0 {width} {}\" role=\"img\">\n", height + 30);
    for part in [0, 1, 2] {
        let y = above + part * (height - above) / 2;
        let _ = writeln!(
            svg,
            "<line x1=\"{left}\" x2=\"{width}\" y1=\"{y}\" y2=\"{y}\"/>\
             <text class=\"axis\" text-anchor=\"end\" x=\"{}\" y=\"{}\">{}</text>",
            left - 8,
            y + 4,
            grouped(most * (2 - part) / 2),
        );
    }
    let step = (width - left) as f64 / columns.len() as f64;
    for (number, column) in columns.iter().enumerate() {
        let start = (first / span + number as u64) * span;
        let when = local(start, zone).format("%Y-%m-%d %H:%M:%S");
        let counts = Outcome::ALL.map(|outcome| format!("{} {}", grouped(column[outcome as usize]), outcome.name()));
        let _ = write!(svg, "<g><title>{when}: {}</title>", counts.join(", "));
        let mut bottom = height as f64;
        for outcome in Outcome::ALL {
            let tall = column[outcome as usize] as f64 * (height - above) as f64 / most as f64;
            if tall > 0.0 {
                // A single refusal among thousands is still to be seen.
                let tall = tall.max(1.5);
                bottom -= tall;
                let (x, thick) = (left as f64 + number as f64 * step, (step - 1.0).clamp(0.5, 26.0));
                let _ = write!(
                    svg,
                    "<rect class=\"{}\" x=\"{x:.1}\" y=\"{bottom:.1}\" width=\"{thick:.1}\" height=\"{tall:.1}\"/>",
                    outcome.class()
                );
            }
        }
        svg += "</g>\n";
    }
    svg + &times(first, span, columns.len() as u64, zone) + "</svg>\n"
}

/// Below the axis: five times.
fn times<Z: TimeZone<Offset: Display>>(first: u64, span: u64, columns: u64, zone: &Z) -> String {
    let ((width, height), (left, _)) = (TIMELINE, MARGIN);
    let start = first / span * span;
    let format = if columns * span > 86_400_000_000_000 { "%Y-%m-%d %H:%M" } else { "%H:%M:%S" };
    let mark = |part: u64| {
        let time = local(start + columns * span * part / 4, zone).format(format).to_string();
        let anchor = ["start", "middle", "middle", "middle", "end"][part as usize];
        format!(
            "<text class=\"axis\" text-anchor=\"{anchor}\" x=\"{}\" y=\"{}\">{time}</text>\n",
            left + (width - left) * part / 4,
            height + 18
        )
    };
    (0..=4).map(mark).collect()
}

/// Both ends of a name that is too long for its row.
fn shortened(name: &str, most: usize) -> String {
    let length = name.chars().count();
    if length <= most {
        return name.to_owned();
    }
    let ends = most / 2;
    let start: String = name.chars().take(ends).collect();
    let end: String = name.chars().skip(length - ends + 1).collect();
    format!("{start}…{end}")
}

/// 1234567 as 1,234,567.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
