//! The results as a table for the terminal.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr as _;

use super::compare::{self, Difference};
use super::format::{self, number, plain, time};
use super::{ROWS, Report, Run};
use crate::rehearse::tally::{ADMITTED, Messages};

const TITLE: Style = Style::new().bold();
const WARNING: Style = AnsiColor::Yellow.on_default();

impl Report {
    /// The results as text, with colours.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for warning in self.warnings() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{WARNING}warning:{WARNING:#} {}", plain(&warning));
        }
        for run in &self.runs {
            if self.runs.len() > 1 {
                let _ = writeln!(text, "\n{TITLE}== {} =={TITLE:#}", plain(&run.name));
            }
            run.write(&mut text);
        }
        if let [one, other] = self.runs.as_slice() {
            write_difference(&mut text, &compare::differences(&one.tally, &other.tally), &one.name, &other.name);
        }
        text
    }
}

impl Run {
    fn write(&self, text: &mut String) {
        let tally = &self.tally;
        let refused = self.refused();
        let span = format!("from {} to {} UTC", time(tally.first), time(tally.last));
        let _ =
            writeln!(text, "{} requests {span}: {} would have been refused", number(tally.requests), number(refused));
        for note in &self.notes {
            let _ = writeln!(text, "{WARNING}note:{WARNING:#} {}", plain(note));
        }
        let outcomes = tally.outcomes.iter().filter(|(outcome, _)| *outcome != ADMITTED);
        let rows = outcomes.map(|(outcome, count)| vec![outcome.clone(), number(*count)]).collect();
        table(text, "Refused requests by reason", &["reason", ">requests"], rows, 0);

        let rows = tally.messages.iter().map(|((handler, event), messages)| message_row(handler, event, messages));
        let heads = ["handler", "event", ">sent", ">held back", "first", "last"];
        table(text, "Messages", &heads, rows.collect(), 0);

        let rows = tally.crossings.iter().map(|crossing| {
            let told = if crossing.told.is_empty() { "nobody".to_owned() } else { crossing.told.join(", ") };
            let used = format!("{} of {}", number(crossing.used), number(crossing.max));
            vec![
                time(crossing.time),
                format::who(&crossing.owner, &crossing.alias),
                format!("{} %", crossing.trigger_limit),
                used,
                told,
            ]
        });
        let more = usize::try_from(tally.more_crossings).unwrap_or(usize::MAX);
        table(text, "Thresholds crossed", &["time", "who", ">threshold", ">used", "told"], rows.collect(), more);

        let rows = self.nearest().into_iter().map(|quota| {
            let limit = &quota.limit;
            vec![
                format::who(&limit.owner, &limit.alias),
                if matches!(limit.owner, tollbell_core::owners::Owner::Organisation(_)) {
                    String::new()
                } else {
                    limit.org.clone()
                },
                format::quota(limit),
                format!("{} ({})", number(quota.peak), format::percent(quota.peak, limit.max)),
                time(quota.peak_time),
                number(quota.windows),
                number(quota.refused),
            ]
        });
        let heads = ["who", "organisation", ">quota", ">highest use", "at", ">windows", ">refused"];
        let given_up = usize::try_from(tally.given_up).unwrap_or(usize::MAX);
        table(text, "Highest use of quotas", &heads, rows.collect(), given_up);

        let mut refusals: Vec<_> = tally.refusals.iter().collect();
        refusals.sort_by_key(|(_, refused)| std::cmp::Reverse(refused.count));
        let rows = refusals.into_iter().map(|((outcome, org, who), refused)| {
            vec![
                outcome.clone(),
                org.clone(),
                format::short(who),
                number(refused.count),
                time(refused.first),
                time(refused.last),
            ]
        });
        let heads = ["reason", "organisation", "key", ">requests", "first", "last"];
        table(text, "Refused requests by key", &heads, rows.collect(), 0);
    }
}

fn message_row(handler: &str, event: &str, messages: &Messages) -> Vec<String> {
    let (first, last) = messages.times.map_or_else(Default::default, |(first, last)| (time(first), time(last)));
    vec![handler.to_owned(), event.to_owned(), sent(messages), held_back(messages), first, last]
}

pub(super) fn sent(messages: &Messages) -> String {
    match messages.digests {
        0 => number(messages.sent),
        digests => format!("{} and {} digests", number(messages.sent), number(digests)),
    }
}

/// `3 suppressed, 2 capped`
pub(super) fn held_back(messages: &Messages) -> String {
    let reasons = messages.held_back.iter().map(|(reason, count)| format!("{} {reason}", number(*count)));
    reasons.collect::<Vec<_>>().join(", ")
}

fn write_difference(text: &mut String, differences: &[Difference], one: &str, other: &str) {
    let _ = writeln!(text, "\n{TITLE}== Difference: {} against {} =={TITLE:#}", plain(one), plain(other));
    if differences.is_empty() {
        let _ = writeln!(text, "none");
        return;
    }
    let rows = differences.iter().map(|found| {
        vec![found.what.to_owned(), found.subject.clone(), number(found.one), number(found.other), found.change()]
    });
    table(text, "", &["what", "of", ">--config", ">--against", ">change"], rows.collect(), 0);
}

/// Writes a table. A head that begins with `>` is of a column of numbers. `more` rows are not in `rows`.
fn table(text: &mut String, title: &str, heads: &[&str], mut rows: Vec<Vec<String>>, more: usize) {
    if rows.is_empty() {
        return;
    }
    let count = rows.len() + more;
    rows.truncate(ROWS);
    if !title.is_empty() {
        let _ = writeln!(text, "\n{TITLE}{title}{TITLE:#}");
    }
    let mut rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    rows.insert(0, heads.iter().map(|head| head.trim_start_matches('>').to_owned()).collect());
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    for row in &rows {
        let mut line = String::new();
        for ((cell, width), head) in row.iter().zip(&widths).zip(heads) {
            let space = " ".repeat(width.saturating_sub(cell.width()));
            let (before, after) = if head.starts_with('>') { (space.as_str(), "") } else { ("", space.as_str()) };
            line.push_str(&format!("  {before}{cell}{after}"));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if count > rows.len() - 1 {
        let _ = writeln!(
            text,
            "  … and {} more: --json lists them",
            number(u64::try_from(count - (rows.len() - 1)).unwrap_or_default())
        );
    }
}
