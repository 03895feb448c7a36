//! A picture by hand: lines over a logarithmic axis, readable on light and on dark ground.

use std::fmt::Write;

/// One line of a picture.
pub struct Series {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

pub struct Picture {
    pub title: &'static str,
    /// Of the axis across, logarithmic.
    pub across: &'static str,
    /// Of the axis upward, which begins at 0.
    pub upward: &'static str,
    pub series: Vec<Series>,
}

const COLOURS: [&str; 4] = ["#3b82f6", "#e8590c", "#2f9e44", "#9c36b5"];
/// For everything that is no line; it stands out from white and from black.
const INK: &str = "#868e96";
/// The frame of the lines, in a picture of 640 by 320.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 456.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 270.0;

impl Picture {
    pub fn draw(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let least = points().map(|point| point.0).fold(f64::INFINITY, f64::min);
        let most = points().map(|point| point.0).fold(0.0, f64::max);
        let (step, top) = steps(points().map(|point| point.1).fold(0.0, f64::max));
        let x = |value: f64| LEFT + (value / least).ln() / (most / least).ln() * (RIGHT - LEFT);
        let y = |value: f64| BOTTOM - value / top * (BOTTOM - TOP);
        let mut svg = String::from(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 320\" font-family=\"sans-serif\" font-size=\"12\">\n",
        );
        text(&mut svg, LEFT, 20.0, "start", INK, &format!("{}, {}", self.title, self.upward));
        let mut value = 0.0;
        while value <= top * 1.001 {
            let at = y(value);
            line(&mut svg, (LEFT, at), (RIGHT, at));
            text(&mut svg, LEFT - 8.0, at + 4.0, "end", INK, &grouped(value));
            value += step;
        }
        let mut marks: Vec<f64> = points().map(|point| point.0).collect();
        marks.sort_by(f64::total_cmp);
        marks.dedup();
        for mark in marks {
            text(&mut svg, x(mark), BOTTOM + 18.0, "middle", INK, &grouped(mark));
        }
        text(&mut svg, f64::midpoint(LEFT, RIGHT), BOTTOM + 40.0, "middle", INK, self.across);
        let mut labels: Vec<f64> = Vec::new();
        for (series, colour) in self.series.iter().zip(COLOURS) {
            let path: Vec<String> = series.points.iter().map(|(a, b)| format!("{:.1},{:.1}", x(*a), y(*b))).collect();
            let path = path.join(" ");
            let _ = writeln!(svg, "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
            for (a, b) in &series.points {
                let _ = writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>", x(*a), y(*b));
            }
            // At the line's end, but not over another's name.
            let mut at = y(series.points.last().map_or(0.0, |point| point.1)) + 4.0;
            while labels.iter().any(|other| (other - at).abs() < 15.0) {
                at -= 5.0;
            }
            labels.push(at);
            text(&mut svg, RIGHT + 10.0, at, "start", colour, series.name);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, colour: &str, text: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>");
}

fn line(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let place = format!("x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"");
    let _ = writeln!(svg, "<line {place} stroke=\"{INK}\" stroke-opacity=\"0.3\"/>");
}

/// A round step and the end of an axis that holds `most`, in three to six steps.
fn steps(most: f64) -> (f64, f64) {
    let most = most.max(1e-9) * 1.05;
    let size = 10_f64.powf((most / 3.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * size).into_iter().find(|step| most / step <= 6.0);
    let step = step.unwrap_or(size * 10.0);
    (step, (most / step).ceil() * step)
}

fn grouped(value: f64) -> String {
    match value {
        millions if millions >= 1e6 => format!("{} million", millions / 1e6),
        small if small < 1000.0 => format!("{}", (small * 100.0).round() / 100.0),
        thousands => format!("{},{:03}", (thousands / 1000.0).floor(), thousands % 1000.0),
    }
}
