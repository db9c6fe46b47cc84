//! The chart of a quota: its use over time against its thresholds.
//!
//! The drawing stretches to the width of the page. Texts and marks stand above it, so that they do not stretch.

use std::fmt::Write as _;

use super::format::{self, number, time};
use super::page::escaped;
use crate::rehearse::series::Point;
use crate::rehearse::tally::QuotaUse;

/// The size of the drawing in its own units.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;

/// The height of the marks of refused requests.
const REFUSED: f64 = 5.0;

/// Maps times and counts to the drawing. Times are in Unix milliseconds.
struct Scale {
    first: u64,
    last: u64,
    top: u64,
}

#[expect(clippy::cast_precision_loss, reason = "a drawing is not exact")]
impl Scale {
    fn x(&self, time: u64) -> f64 {
        let span = self.last.saturating_sub(self.first).max(1);
        time.clamp(self.first, self.last).saturating_sub(self.first) as f64 * WIDTH / span as f64
    }

    fn y(&self, count: u64) -> f64 {
        HEIGHT - count.min(self.top) as f64 * HEIGHT / self.top.max(1) as f64
    }
}

/// The chart of a quota, as HTML. The log lasts from `first` to `last`.
pub(super) fn chart(quota: &QuotaUse, (first, last): (u64, u64)) -> String {
    let limit = &quota.limit;
    let end = last.max(first + quota.series.step());
    // A little more than the limit, so that its line is inside.
    let scale = Scale { first, last: end, top: limit.max.max(quota.peak).saturating_add(limit.max / 20 + 1) };
    let mut svg = String::new();
    draw(&mut svg, quota, &scale);
    let mut labels = format!(
        "<span class=\"label zero\" style=\"top:100%\">0</span>{}",
        label("label top", scale.y(limit.max), "100 %")
    );
    for (percent, at) in &limit.thresholds {
        let y = scale.y(*at);
        let _ = write!(svg, "<line class=threshold x1=0 x2={WIDTH} y1={y:.2} y2={y:.2} />");
        labels.push_str(&label("label", y, &format!("{percent} %")));
    }
    for mark in &quota.marks {
        let (x, y) = (scale.x(mark.time) * 100.0 / WIDTH, scale.y(mark.count));
        let class = if mark.is_told { "mark told" } else { "mark" };
        let told = if mark.is_told { "a message goes out" } else { "no message goes out" };
        let text = format!("{}: {}, at {}: {told}", time(mark.time), mark.what, number(mark.count));
        let text = escaped(&text);
        let _ = write!(
            labels,
            "<span class=\"{class}\" style=\"left:{x:.2}%;top:{y:.2}%\" title=\"{text}\" aria-label=\"{text}\" role=img tabindex=0></span>"
        );
    }
    let (kind, name) = format::owner(&limit.owner);
    let alias = if limit.alias.is_empty() { String::new() } else { format!(" (<bdi>{}</bdi>)", escaped(&limit.alias)) };
    let of = |what: &str, name: &str| {
        if name.is_empty() { String::new() } else { format!("{what} <bdi>{}</bdi>", escaped(name)) }
    };
    let org = if kind == "organisation" { String::new() } else { of(" of", &limit.org) };
    let more = if quota.more_marks == 0 {
        String::new()
    } else {
        format!(", {} more marks not drawn", number(quota.more_marks))
    };
    format!(
        "<figure><figcaption><b>{kind} <bdi>{}</bdi></b>{alias}{org}{}: {}. <span class=soft>Highest use {} ({}) at {} in {} {}, \
         {} refused{more}.</span></figcaption><div class=plot><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         preserveAspectRatio=none role=img aria-label=\"use over time\">{svg}</svg>{labels}</div>\
         <div class=times><span>{}</span><span>{}</span><span>{}</span></div></figure>\n",
        escaped(name),
        of(" for API", &limit.api),
        format::quota(limit),
        number(quota.peak),
        format::percent(quota.peak, limit.max),
        time(quota.peak_time),
        number(quota.windows),
        if quota.windows == 1 { "window" } else { "windows" },
        number(quota.refused),
        time(first),
        time(first.midpoint(end)),
        time(end),
    )
}

fn label(class: &str, y: f64, text: &str) -> String {
    format!("<span class=\"{class}\" style=\"top:{y:.2}%\">{}</span>", escaped(text))
}

/// Draws the use, the limit and the refused requests.
fn draw(svg: &mut String, quota: &QuotaUse, scale: &Scale) {
    let corners = corners(quota, scale);
    let path: Vec<String> = corners.iter().map(|(x, y)| format!("{x:.1} {y:.2}")).collect();
    if let (Some((first, _)), Some((last, _))) = (corners.first(), corners.last()) {
        let _ = write!(svg, "<path class=area d=\"M{first:.1} {HEIGHT}L{}L{last:.1} {HEIGHT}Z\" />", path.join("L"));
        let _ = write!(svg, "<path class=use d=\"M{}\" />", path.join("L"));
    }
    let limit = scale.y(quota.limit.max);
    let _ = write!(svg, "<line class=limit x1=0 x2={WIDTH} y1={limit:.2} y2={limit:.2} />");
    let step = quota.series.step();
    for (start, point) in quota.series.points() {
        let (x, width) = (scale.x(start), (scale.x(start + step) - scale.x(start)).max(1.0));
        if point.refused > 0 {
            let _ = write!(svg, "<rect class=refused x={x:.1} y=0 width={:.1} height={REFUSED} />", width.max(2.0));
        }
        let _ = write!(
            svg,
            "<rect class=hover x={x:.1} y=0 width={width:.1} height={HEIGHT}><title>{}</title></rect>",
            hover(quota, start, point)
        );
    }
}

/// The corners of the line: a window's use stays until the window ends, and then is 0.
fn corners(quota: &QuotaUse, scale: &Scale) -> Vec<(f64, f64)> {
    let step = quota.series.step();
    let mut corners: Vec<(f64, f64)> = Vec::new();
    // The end of the last window, and its height.
    let mut open: Option<(u64, f64)> = None;
    for (start, point) in quota.series.points().filter(|(_, point)| point.count > 0) {
        let x = scale.x(start);
        match open {
            Some((end, _)) if end >= start => {}
            Some((end, y)) => corners.extend([(scale.x(end), y), (scale.x(end), HEIGHT), (x, HEIGHT)]),
            None => corners.push((x, HEIGHT)),
        }
        let (y, middle) = (scale.y(point.count), scale.x(start + step / 2));
        corners.push((middle, y));
        let end = quota.limit.window_ms.map_or(u64::MAX, |window| point.window.saturating_add(window));
        open = Some((end.max(start + step), y));
    }
    if let Some((end, y)) = open {
        corners.push((scale.x(end), y));
    }
    corners
}

fn hover(quota: &QuotaUse, start: u64, point: &Point) -> String {
    let mut text = time(start);
    if quota.series.step() > 1000 {
        let _ = write!(text, " and {} after", format::duration(quota.series.step()));
    }
    if point.count > 0 {
        let share = format::percent(point.count, quota.limit.max);
        let _ = write!(text, "\nhighest use {} of {} ({share})", number(point.count), number(quota.limit.max));
        let _ = write!(text, "\nwindow since {}", time(point.window));
    }
    if point.refused > 0 {
        let _ = write!(text, "\n{} refused", number(point.refused.into()));
    }
    escaped(&text)
}
