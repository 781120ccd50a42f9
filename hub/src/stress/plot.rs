//! Plots as SVG, in the colours of the page around them.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

/// A plot of lines.
#[derive(Debug)]
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    /// What stands under the horizontal axis.
    pub(super) across: &'a str,
    /// What the vertical axis has.
    pub(super) up: &'a str,
    pub(super) lines: Vec<Line<'a>>,
    /// Where the horizontal axis has marks; without them, round numbers.
    pub(super) marks: Vec<(f64, String)>,
}

/// A line, with its name where there are several.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    /// The class of its colour: a, b, or c.
    pub(super) class: &'a str,
    pub(super) points: Vec<(f64, f64)>,
}

impl Plot<'_> {
    /// The figure; nothing if there is nothing to show.
    pub(super) fn figure(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        if points().count() == 0 {
            return String::new();
        }
        let left = points().map(|point| point.0).fold(f64::INFINITY, f64::min).min(0.0);
        let right = points().map(|point| point.0).fold(f64::NEG_INFINITY, f64::max).max(left + 1e-9);
        let highest = points().map(|point| point.1).fold(0.0, f64::max);
        let step = if highest > 0.0 { round_step(highest / 4.0) } else { 1.0 };
        let top = ((highest / step).ceil() * step).max(step);
        let x = |value: f64| LEFT + (value - left) / (right - left) * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
        let mut svg = String::new();
        let (low, high) = (y(0.0), y(top));
        for at in 0..=(top / step).round() as u32 {
            let value = f64::from(at) * step;
            let (y, text) = (y(value), label(value, step));
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"up\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0
            );
        }
        let marks = if self.marks.is_empty() { round_marks(left, right) } else { self.marks.clone() };
        for (value, text) in marks.iter().filter(|(value, _)| (left..=right).contains(value)) {
            let x = x(*value);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{high:.1}\" y2=\"{low:.1}\"/>\
                 <text class=\"across\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
                low + 15.0,
                escape(text)
            );
        }
        for line in &self.lines {
            let points: String =
                line.points.iter().map(|&(across, up)| format!("{:.1},{:.1} ", x(across), y(up))).collect();
            let _ = write!(svg, "<polyline class=\"{}\" points=\"{}\"/>", line.class, points.trim_end());
            if let [(across, up)] = line.points[..] {
                let _ = write!(
                    svg,
                    "<circle class=\"{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>",
                    line.class,
                    x(across),
                    y(up)
                );
            }
        }
        let _ = write!(
            svg,
            "<text class=\"across\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 4.0,
            escape(self.across)
        );
        let names = self.lines.iter().filter(|line| !line.name.is_empty());
        let key: String = names
            .map(|line| format!("<span class=\"key {}\">{}</span>", line.class, escape(line.name)))
            .collect();
        format!(
            "<figure><figcaption>{} <small>{}</small>{key}</figcaption>\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">{svg}</svg></figure>\n",
            escape(self.title),
            escape(self.up),
            escape(self.title)
        )
    }
}

/// Text that stands in markup.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            // No character of XML.
            control if control.is_control() => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}

/// One, two or five times a power of ten.
fn round_step(about: f64) -> f64 {
    let power = 10_f64.powf(about.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= about);
    factor.unwrap_or(10.0) * power
}

fn round_marks(left: f64, right: f64) -> Vec<(f64, String)> {
    let step = round_step((right - left) / 6.0);
    let first = (left / step).ceil() as i64;
    let values = (first..).map(|at| at as f64 * step).take_while(|value| *value <= right + 1e-9);
    values.map(|value| (value, label(value, step))).collect()
}

fn label(value: f64, step: f64) -> String {
    match step {
        _ if value == 0.0 => "0".to_owned(),
        1_000_000.0.. => format!("{:.0}M", value / 1e6),
        1_000.0.. => format!("{:.0}k", value / 1e3),
        1.0.. => format!("{value:.0}"),
        _ => format!("{value:.*}", (-step.log10().floor()) as usize),
    }
}

/// Of the viewBox: narrow, so that letters can be read on a phone.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 22.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!([0.3, 7.0, 120.0].map(round_step), [0.5, 10.0, 200.0]);
        assert_eq!(
            [label(0.5, 0.5), label(20.0, 5.0), label(3e3, 1e3), label(0.0, 1e3)],
            ["0.5", "20", "3k", "0"]
        );
    }

    #[test]
    fn a_plot_of_nothing_is_nothing() {
        let lines = vec![Line { name: "", class: "a", points: Vec::new() }];
        let plot = Plot { title: "t", across: "", up: "", lines, marks: Vec::new() };
        assert_eq!(plot.figure(), "");
    }
}
