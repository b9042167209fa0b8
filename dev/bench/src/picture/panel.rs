//! One panel: bars or a curve under a title.

use std::fmt::Write as _;

/// Width of a panel, and what is around it, in pixels.
pub(super) const WIDTH: f64 = 440.0;
pub(super) const GAP: f64 = 24.0;
/// Height of the title, of a bar with its space, and of a curve.
const TITLE: f64 = 44.0;
const BAR: f64 = 26.0;
const CURVE: f64 = 150.0;
/// Where bars begin, and how long the longest is.
const LABELS: f64 = 132.0;
const LONGEST: f64 = WIDTH - LABELS - 76.0;

/// One bar; `range` is of the runs of which it is the median.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    pub(super) range: Option<(f64, f64)>,
    pub(super) is_ours: bool,
}

/// What is drawn.
pub(super) enum Content {
    Bars(Vec<Bar>),
    /// Points from left to right, and what their axes are.
    Curve(Vec<(f64, f64)>, &'static str),
}

/// One measure's picture.
pub(super) struct Panel {
    pub(super) title: &'static str,
    /// What the numbers are.
    pub(super) unit: &'static str,
    pub(super) content: Content,
}

impl Panel {
    /// How high it is, in pixels.
    pub(super) fn height(&self) -> f64 {
        TITLE
            + match &self.content {
                Content::Bars(bars) => BAR * bars.len() as f64,
                Content::Curve(..) => CURVE + 24.0,
            }
    }

    /// Draws it with its upper left corner at the origin.
    pub(super) fn draw(&self, out: &mut String) {
        let (title, unit) = (escaped(self.title), escaped(self.unit));
        let _ = writeln!(
            out,
            "<text class=\"title\" y=\"14\">{title}</text><text class=\"note\" y=\"31\">{unit}</text>"
        );
        match &self.content {
            Content::Bars(bars) => draw_bars(bars, out),
            Content::Curve(points, axis) => draw_curve(points, axis, out),
        }
    }
}

fn draw_bars(bars: &[Bar], out: &mut String) {
    let most = bars
        .iter()
        .map(|bar| bar.range.map_or(bar.value, |(_, max)| max))
        .fold(f64::MIN_POSITIVE, f64::max);
    let length = |value: f64| value / most * LONGEST;
    for (place, bar) in bars.iter().enumerate() {
        let y = TITLE + BAR * place as f64;
        let class = if bar.is_ours { "ours" } else { "bar" };
        let end = LABELS + length(bar.value);
        let _ = writeln!(
            out,
            "<text y=\"{:.0}\">{}</text><rect class=\"{class}\" x=\"{LABELS}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"16\" rx=\"2\"/>",
            y + 12.0,
            escaped(&bar.label),
            length(bar.value),
        );
        let mut text = end;
        if let Some((min, max)) = bar.range {
            let (from, to, middle) = (LABELS + length(min), LABELS + length(max), y + 8.0);
            text = text.max(to);
            let _ = writeln!(
                out,
                "<line class=\"range\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{middle:.0}\" y2=\"{middle:.0}\"/>"
            );
        }
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.0}\">{}</text>",
            text + 6.0,
            y + 12.0,
            shown(bar.value)
        );
    }
}

fn draw_curve(points: &[(f64, f64)], axis: &str, out: &mut String) {
    let (left, right, bottom) = (48.0, WIDTH - 12.0, TITLE + CURVE);
    let most =
        |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).fold(f64::MIN_POSITIVE, f64::max);
    let (x_most, y_most) = (most(|p| p.0), most(|p| p.1));
    for share in [0.0, 0.5, 1.0] {
        let y = bottom - share * (CURVE - 16.0);
        let _ = writeln!(
            out,
            "<line class=\"axis\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"note\" x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 6.0,
            y + 4.0,
            shown(share * y_most)
        );
    }
    let place = |(x, y): &(f64, f64)| {
        let (x, y) = (
            left + x / x_most * (right - left),
            bottom - y / y_most * (CURVE - 16.0),
        );
        format!("{x:.1},{y:.1}")
    };
    let line: Vec<String> = points.iter().map(place).collect();
    let _ = writeln!(
        out,
        "<polyline class=\"curve\" points=\"{}\"/><text class=\"note\" x=\"{right}\" y=\"{:.0}\" text-anchor=\"end\">{} {}</text>",
        line.join(" "),
        bottom + 18.0,
        shown(x_most),
        escaped(axis)
    );
}

/// A number with as many digits as one can read: thousands apart, decimals where it is small.
fn shown(value: f64) -> String {
    if value < 100.0 {
        let text = format!("{value:.2}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Text as SVG takes it.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        for (value, text) in [
            (0.0, "0"),
            (2.5, "2.5"),
            (99.994, "99.99"),
            (1234.0, "1,234"),
            (123_456_789.0, "123,456,789"),
        ] {
            assert_eq!(shown(value), text);
        }
    }
}
