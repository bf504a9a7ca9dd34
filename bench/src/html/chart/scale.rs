//! Where figures are on the paper: axes, their marks, and the frame that they make.

use std::fmt::Write as _;

use crate::html::escape;

/// The paper, in the SVG's own units, and what is left around the plane.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 310.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 38.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// Most marks of an axis.
const MARKS_MAX: f64 = 6.0;

/// How figures lie along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Evenly, from 0.
    Linear,
    /// Evenly, between the least and the greatest.
    Window,
    /// By their logarithm.
    Logarithmic,
    /// Fractions by what they leave: 0.9, 0.99 and 0.999 are equally far apart.
    Percentile,
}

/// An axis: how figures lie along it, what it is called and in which unit.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    kind: Kind,
    name: &'static str,
    unit: &'static str,
}

impl Axis {
    /// Even, from 0.
    #[must_use]
    pub fn linear(name: &'static str, unit: &'static str) -> Self {
        Self { kind: Kind::Linear, name, unit }
    }

    /// Even, between the least and the greatest.
    #[must_use]
    pub fn window(name: &'static str, unit: &'static str) -> Self {
        Self { kind: Kind::Window, name, unit }
    }

    /// Logarithmic.
    #[must_use]
    pub fn logarithmic(name: &'static str, unit: &'static str) -> Self {
        Self { kind: Kind::Logarithmic, name, unit }
    }

    /// Of fractions, by what they leave.
    #[must_use]
    pub fn percentile(name: &'static str) -> Self {
        Self { kind: Kind::Percentile, name, unit: "%" }
    }

    /// The axis with a place for all of these figures.
    pub(super) fn span(&self, figures: impl IntoIterator<Item = f64>) -> Span {
        let (mut least, mut greatest) = (f64::INFINITY, f64::NEG_INFINITY);
        for figure in figures {
            (least, greatest) = (least.min(figure), greatest.max(figure));
        }
        let (from, to, marks) = match self.kind {
            Kind::Linear => linear_marks(0.0, greatest.max(f64::MIN_POSITIVE)),
            Kind::Window if least < greatest => {
                let (_, _, marks) = linear_marks(least, greatest);
                (least, greatest, marks.into_iter().filter(|it| *it <= greatest).collect())
            }
            Kind::Window => (least - 1.0, least + 1.0, vec![least]),
            Kind::Logarithmic => logarithmic_marks(least, greatest),
            Kind::Percentile => percentile_marks(greatest),
        };
        Span { axis: *self, from, to, marks }
    }
}

fn linear_marks(from: f64, to: f64) -> (f64, f64, Vec<f64>) {
    let rough = (to - from) / (MARKS_MAX - 1.0);
    let decade = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * decade);
    let step = step.into_iter().find(|step| *step >= rough * 0.999_999).unwrap_or(decade * 10.0);
    let first = (from / step).ceil();
    let last = (to / step - 1e-9).ceil();
    let mut marks = Vec::new();
    let mut number = first;
    while number <= last {
        marks.push(number * step);
        number += 1.0;
    }
    (from, last * step, marks)
}

/// From a 1, 2 or 5 below the least to one above the greatest; marks are decades where there are many.
fn logarithmic_marks(least: f64, greatest: f64) -> (f64, f64, Vec<f64>) {
    let least = least.max(1e-6);
    let greatest = greatest.max(least);
    let first = least.log10().floor() as i32;
    let last = greatest.log10().ceil() as i32;
    let all: Vec<f64> = (first..=last)
        .flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)))
        .collect();
    let below = all.iter().rposition(|mark| *mark <= least * 1.000_001).unwrap_or(0);
    let above = all.iter().position(|mark| *mark >= greatest * 0.999_999).unwrap_or(all.len() - 1);
    let above = above.max(below + 1).min(all.len() - 1);
    let (from, to) = (all[below], all[above]);
    let mut marks = all[below..=above].to_vec();
    if marks.len() as f64 > MARKS_MAX {
        marks.retain(|mark| (mark.log10() - mark.log10().round()).abs() < 1e-9);
    }
    (from, to, marks)
}

/// From 0 to the nearest of 0.9, 0.99 and so on that leaves no more than the greatest does; what is beyond is
/// drawn there.
fn percentile_marks(greatest: f64) -> (f64, f64, Vec<f64>) {
    /// Nobody measures more nines than these.
    const NINES_MAX: i32 = 6;
    let left = (1.0 - greatest).max(10f64.powi(-NINES_MAX));
    let nines = (-left.log10()).ceil().max(1.0) as i32;
    let marks = std::iter::once(0.0).chain((1..=nines).map(|nine| 1.0 - 10f64.powi(-nine)));
    let marks: Vec<f64> = marks.collect();
    (0.0, *marks.last().expect("there is 0"), marks)
}

/// An axis with its ends and marks.
#[derive(Clone, Debug)]
pub(super) struct Span {
    axis: Axis,
    from: f64,
    to: f64,
    pub(super) marks: Vec<f64>,
}

impl Span {
    /// Where a figure is between the ends: 0 to 1.
    pub(super) fn fraction(&self, figure: f64) -> f64 {
        let along = |figure: f64| match self.axis.kind {
            Kind::Linear | Kind::Window => figure,
            Kind::Logarithmic => figure.max(self.from).log10(),
            Kind::Percentile => -(1.0 - figure.min(self.to)).log10(),
        };
        let (from, to) = (along(self.from), along(self.to));
        ((along(figure) - from) / (to - from)).clamp(0.0, 1.0)
    }

    fn word(&self, mark: f64) -> String {
        match self.axis.kind {
            Kind::Percentile => {
                let percent = format!("{:.4}", mark * 100.0);
                percent.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            _ => short(mark),
        }
    }
}

/// A figure in few letters: 1200 is 1.2k.
#[must_use]
pub fn short(figure: f64) -> String {
    let (scaled, letter) = match figure.abs() {
        size if size >= 1e9 => (figure / 1e9, "G"),
        size if size >= 1e6 => (figure / 1e6, "M"),
        size if size >= 1e4 => (figure / 1e3, "k"),
        _ => (figure, ""),
    };
    // Three digits that count, and no noughts behind them.
    let digits = match scaled.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size => (2 - size.log10().floor() as i32).clamp(0, 9) as usize,
    };
    let text = format!("{scaled:.digits$}");
    let text = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{letter}")
}

/// Two axes, and where figures of both are on the paper.
pub(super) struct Plane {
    pub(super) x: Span,
    pub(super) y: Span,
}

impl Plane {
    /// Where a point is, in the SVG's units.
    pub(super) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let across = LEFT + self.x.fraction(x) * (WIDTH - LEFT - RIGHT);
        (across, HEIGHT - BOTTOM - self.y.fraction(y) * (HEIGHT - TOP - BOTTOM))
    }

    /// The beginning of the SVG: the title, for those who hear it, and both axes.
    pub(super) fn frame(&self, title: &str) -> String {
        let mut svg = self.frame_without_x(title);
        let base = HEIGHT - BOTTOM;
        for mark in &self.x.marks {
            let (x, _) = self.at(*mark, self.y.from);
            // Writing to a String cannot fail.
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                base + 20.0,
                self.x.word(*mark)
            );
        }
        let Axis { name, unit, .. } = self.x.axis;
        let unit = if unit.is_empty() { String::new() } else { format!(" ({unit})") };
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}{}</text>",
            WIDTH - RIGHT,
            HEIGHT - 6.0,
            escape(name),
            escape(&unit)
        );
        svg
    }

    /// The same without marks on the x axis.
    pub(super) fn frame_without_x(&self, title: &str) -> String {
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            escape(title)
        );
        for mark in &self.y.marks {
            let (_, y) = self.at(self.x.from, *mark);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{:.1}\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                y + 4.5,
                self.y.word(*mark)
            );
        }
        let Axis { name, unit, .. } = self.y.axis;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"18\" text-anchor=\"end\">{}</text>\n\
             <path class=\"axis\" d=\"M{LEFT} {:.1}H{:.1}\"/>",
            LEFT - 8.0,
            escape(if unit.is_empty() { name } else { unit }),
            HEIGHT - BOTTOM,
            WIDTH - RIGHT
        );
        svg
    }

    /// A height that is marked.
    pub(super) fn bound(&self, height: f64, word: &str) -> String {
        let (_, y) = self.at(self.x.from, height);
        format!(
            "<path class=\"bound\" d=\"M{LEFT} {y:.1}H{:.1}\"/>\n\
             <text class=\"bound-label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            WIDTH - RIGHT,
            WIDTH - RIGHT,
            y - 6.0,
            escape(word)
        )
    }

    /// An invisible column that tells something to who points at it.
    pub(super) fn column(&self, from: f64, to: f64, text: &str) -> String {
        let ((left, _), (right, _)) = (self.at(from, self.y.from), self.at(to, self.y.from));
        format!(
            "<rect class=\"hit\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\">\
             <title>{}</title></rect>\n",
            (right - left).max(0.5),
            HEIGHT - TOP - BOTTOM,
            escape(text)
        )
    }

    /// A bar from one place on the x axis to the next, with a word on its end.
    pub(super) fn bar(&self, from: f64, height: f64, word: &str) -> String {
        let ((left, top), (right, _)) = (self.at(from, height), self.at(from + 1.0, height));
        let gap = (right - left) * 0.1;
        format!(
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\"/>\n\
             <text class=\"count\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            left + gap,
            right - left - 2.0 * gap,
            HEIGHT - BOTTOM - top,
            f64::midpoint(left, right),
            top - 5.0,
            escape(word)
        )
    }

    /// A name under a place on the x axis.
    pub(super) fn name_under(&self, at: f64, name: &str) -> String {
        let (x, _) = self.at(at, self.y.from);
        let y = HEIGHT - BOTTOM + 20.0;
        format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>\n", escape(name))
    }
}
