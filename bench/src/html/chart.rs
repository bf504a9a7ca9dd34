//! Charts as inline SVG: lines and dots over two axes, and bars. What a reader points at is told by
//! the browser itself, by the titles of invisible columns.

mod scale;

use std::fmt::Write as _;

use self::scale::Plane;
pub use self::scale::{Axis, short};
use super::escape;

/// Colours that the style has.
const COLOURS: usize = 6;

/// Most names under bars, each beside the next.
const NAMES_MAX: usize = 7;

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A line through all points, broken where there is none.
    Line,
    /// A thin line, one of many.
    Faint,
    /// A circle at each point.
    Dots,
    /// A cross at each point.
    Crosses,
}

/// Points that belong together.
#[derive(Clone, Debug)]
pub struct Series {
    /// What they are.
    pub name: String,
    /// The number of its colour; they repeat.
    pub colour: usize,
    /// How it is drawn.
    pub form: Form,
    /// x, and y where it is known.
    pub points: Vec<(f64, Option<f64>)>,
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// In which units, and how to read it.
    pub subtitle: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// What is drawn.
    pub series: Vec<Series>,
    /// Heights that are marked, with a word.
    pub bounds: Vec<(f64, String)>,
    /// What is told of the column between two places on the x axis.
    pub columns: Vec<(f64, f64, String)>,
}

impl Chart {
    /// The figure; nothing when there is no point.
    #[must_use]
    pub fn to_html(&self) -> String {
        let drawn = self.series.iter().flat_map(|series| &series.points);
        let points: Vec<(f64, f64)> = drawn.filter_map(|(x, y)| Some((*x, (*y)?))).collect();
        if points.is_empty() {
            return String::new();
        }
        let bounds = self.bounds.iter().map(|(height, _)| *height);
        let x = self.x.span(points.iter().map(|point| point.0));
        let y = self.y.span(points.iter().map(|point| point.1).chain(bounds));
        let plane = Plane { x, y };
        let mut svg = plane.frame(&self.title);
        for (from, to, text) in &self.columns {
            svg.push_str(&plane.column(*from, *to, text));
        }
        for series in &self.series {
            svg.push_str(&draw(&plane, series));
        }
        for (height, word) in &self.bounds {
            svg.push_str(&plane.bound(*height, word));
        }
        svg.push_str("</svg>\n");
        figure(&self.title, &self.subtitle, &svg, &self.legend())
    }

    fn legend(&self) -> String {
        let mut names: Vec<(&str, usize)> = Vec::new();
        for series in &self.series {
            if !names.iter().any(|(name, _)| *name == series.name) {
                names.push((&series.name, series.colour));
            }
        }
        if names.len() < 2 {
            return String::new();
        }
        let mut text = String::from("<div class=\"legend\">");
        for (name, colour) in names {
            let (name, colour) = (escape(name), colour % COLOURS);
            // Writing to a String cannot fail.
            let _ = write!(text, "<span><i class=\"c{colour}\"></i>{name}</span>");
        }
        text.push_str("</div>\n");
        text
    }
}

fn figure(title: &str, subtitle: &str, svg: &str, legend: &str) -> String {
    let (title, subtitle) = (escape(title), escape(subtitle));
    format!(
        "<figure><figcaption>{title}<span>{subtitle}</span></figcaption>\n{legend}{svg}</figure>\n"
    )
}

fn draw(plane: &Plane, series: &Series) -> String {
    let colour = series.colour % COLOURS;
    let mut svg = String::new();
    match series.form {
        Form::Line | Form::Faint => {
            let (mut path, mut pen_down) = (String::new(), false);
            for (x, y) in &series.points {
                let Some(y) = y else {
                    pen_down = false;
                    continue;
                };
                let (x, y) = plane.at(*x, *y);
                // A line of no length is a dot, so that a point without neighbours shows.
                let _ = match pen_down {
                    true => write!(path, "L{x:.1} {y:.1}"),
                    false => write!(path, "M{x:.1} {y:.1}h0"),
                };
                pen_down = true;
            }
            let faint = if series.form == Form::Faint { " faint" } else { "" };
            let _ = writeln!(svg, "<path class=\"line c{colour}{faint}\" d=\"{path}\"/>");
        }
        Form::Dots | Form::Crosses => {
            for (x, y) in series.points.iter().filter_map(|(x, y)| Some((*x, (*y)?))) {
                let (x, y) = plane.at(x, y);
                let _ = match series.form {
                    Form::Dots => writeln!(
                        svg,
                        "<circle class=\"dot c{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>"
                    ),
                    _ => writeln!(
                        svg,
                        "<path class=\"line c{colour}\" d=\"M{:.1} {:.1}l10 10m0 -10l-10 10\"/>",
                        x - 5.0,
                        y - 5.0
                    ),
                };
            }
        }
    }
    svg
}

/// A bar for each share of a whole, with the number that it is; nothing of nothing.
#[must_use]
pub fn bars(title: &str, subtitle: &str, bars: &[(String, u64)]) -> String {
    let total: u64 = bars.iter().map(|(_, count)| count).sum();
    if total == 0 {
        return String::new();
    }
    let share = |count: u64| count as f64 * 100.0 / total as f64;
    let most = bars.iter().map(|(_, count)| share(*count)).fold(0.0, f64::max);
    let x = Axis::window("", "").span([0.0, bars.len() as f64]);
    let plane = Plane { x, y: Axis::linear("", "%").span([most]) };
    let mut svg = plane.frame_without_x(title);
    for ((name, count), index) in bars.iter().zip(0u32..) {
        let from = f64::from(index);
        let text = format!("{name}: {count} turns, {:.3} %", share(*count));
        svg.push_str(&plane.bar(from, share(*count), &short(*count as f64)));
        svg.push_str(&plane.column(from, from + 1.0, &text));
        // Where names would touch, every other one is left out.
        if bars.len() <= NAMES_MAX || index % 2 == 0 {
            svg.push_str(&plane.name_under(from + 0.5, name));
        }
    }
    svg.push_str("</svg>\n");
    figure(title, subtitle, &svg, "")
}

#[cfg(test)]
mod tests;
