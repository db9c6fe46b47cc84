//! The results as an HTML page. It has no script and loads nothing, and its policy forbids both.

use std::fmt::Write as _;

use super::chart::chart;
use super::compare::differences;
use super::format::{self, controls, number, time, visible};
use super::table::{held_back, sent};
use super::{ROWS, Report, Run};
use crate::rehearse::tally::ADMITTED;

const LEGEND: &str = concat!(
    "<p class=legend><span><i class=l-use></i>use in each window</span><span><i class=l-limit></i>quota</span>",
    "<span><i class=l-threshold></i>threshold</span><span><i class=\"mark told\"></i>event with a message</span>",
    "<span><i class=mark></i>event without a message</span><span><i class=l-refused></i>refused requests</span></p>\n",
);

/// A text for HTML, also for attributes in double quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(c),
            c if controls(c) => safe.push_str(&visible(c)),
            c => safe.push(c),
        }
    }
    safe
}

/// A cell of a table, or its head.
enum Cell {
    Text(String),
    Time(String),
    Number(String),
}

impl Report {
    /// The page.
    pub(crate) fn page(&self) -> String {
        let mut page = String::from(concat!(
            "<!doctype html>\n<html lang=en><head><meta charset=utf-8>",
            "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            "<meta name=viewport content=\"width=device-width, initial-scale=1\"><meta name=color-scheme content=\"light dark\">",
            "<title>Rehearsal</title>\n<style>\n",
        ));
        page.push_str(include_str!("page.css"));
        page.push_str("</style></head><body><main>\n<h1>Rehearsal</h1>\n");
        for warning in self.warnings() {
            let _ = writeln!(page, "<p class=warning><bdi>{}</bdi></p>", escaped(&warning));
        }
        if let [one, other] = self.runs.as_slice() {
            page.push_str("<h2>Difference</h2>\n");
            let found = differences(&one.tally, &other.tally).into_iter().map(|found| {
                let numbers = [number(found.one), number(found.other), found.change()].map(Cell::Number);
                [Cell::Text(found.what.to_owned()), Cell::Text(found.subject)].into_iter().chain(numbers).collect()
            });
            let heads = [
                text("what"),
                text("of"),
                Cell::Number(one.name.clone()),
                Cell::Number(other.name.clone()),
                count("change"),
            ];
            table(&mut page, &heads, found.collect(), "Both have the same results.");
        }
        self.runs.iter().for_each(|run| run.write_page(&mut page));
        page.push_str("</main></body></html>\n");
        page
    }
}

impl Run {
    fn write_page(&self, page: &mut String) {
        let tally = &self.tally;
        let _ = writeln!(page, "<h2><bdi>{}</bdi></h2>", escaped(&self.name));
        let _ = writeln!(page, "<p class=soft>{} to {} UTC</p>", time(tally.first), time(tally.last));
        let sent: u64 = tally.messages.values().map(|messages| messages.sent + messages.digests).sum();
        let crossed = u64::try_from(tally.crossings.len()).unwrap_or_default() + tally.more_crossings;
        page.push_str("<ul class=sums>");
        let sums = [
            ("requests", tally.requests),
            ("would be refused", self.refused()),
            ("messages", sent),
            ("thresholds crossed", crossed),
        ];
        for (what, count) in sums {
            let _ = write!(page, "<li><b>{}</b>{what}</li>", number(count));
        }
        page.push_str("</ul>\n");
        for note in &self.notes {
            let _ = writeln!(page, "<p class=warning><bdi>{}</bdi></p>", escaped(note));
        }
        page.push_str("<h3>Use of quotas</h3>\n");
        page.push_str(LEGEND);
        for quota in self.drawn() {
            page.push_str(&chart(quota, (tally.first, tally.last)));
        }
        if tally.quotas.is_empty() {
            page.push_str("<p>No request was counted on a quota.</p>\n");
        }
        self.write_tables(page);
    }

    fn write_tables(&self, page: &mut String) {
        let tally = &self.tally;
        page.push_str("<h3>Messages</h3>\n");
        let rows = tally.messages.iter().map(|((handler, event), messages)| {
            let (first, last) = messages.times.map_or_else(Default::default, |(first, last)| (time(first), time(last)));
            let texts = [Cell::Text(handler.clone()), Cell::Text(event.clone())];
            let numbers = [sent(messages), held_back(messages)].map(Cell::Number);
            texts.into_iter().chain(numbers).chain([first, last].map(Cell::Time)).collect()
        });
        let heads = [text("handler"), text("event"), count("sent"), count("held back"), text("first"), text("last")];
        table(page, &heads, rows.collect(), "Nobody would have been told anything.");

        page.push_str("<h3>Thresholds crossed</h3>\n");
        let rows = tally.crossings.iter().map(|crossing| {
            let used = format!("{} of {}", number(crossing.used), number(crossing.max));
            let told = if crossing.told.is_empty() { "nobody".to_owned() } else { crossing.told.join(", ") };
            let who = format::who(&crossing.owner, &crossing.alias);
            let texts = [Cell::Time(time(crossing.time)), Cell::Text(who)];
            let numbers = [format!("{} %", crossing.trigger_limit), used].map(Cell::Number);
            texts.into_iter().chain(numbers).chain([Cell::Text(told)]).collect()
        });
        let heads = [text("time"), text("who"), count("threshold"), count("used"), text("told")];
        table(page, &heads, rows.collect(), "No threshold was crossed.");

        page.push_str("<h3>Refused requests</h3>\n");
        let rows = tally.outcomes.iter().filter(|(outcome, _)| *outcome != ADMITTED);
        let rows = rows.map(|(outcome, requests)| vec![Cell::Text(outcome.clone()), Cell::Number(number(*requests))]);
        table(page, &[text("reason"), count("requests")], rows.collect(), "No request would have been refused.");
        let mut refusals: Vec<_> = tally.refusals.iter().collect();
        refusals.sort_by_key(|(_, refused)| std::cmp::Reverse(refused.count));
        let rows: Vec<Vec<Cell>> = refusals
            .into_iter()
            .map(|((outcome, org, key), refused)| {
                let texts = [outcome.clone(), org.clone(), format::short(key)].map(Cell::Text);
                let times = [time(refused.first), time(refused.last)].map(Cell::Time);
                texts.into_iter().chain([Cell::Number(number(refused.count))]).chain(times).collect()
            })
            .collect();
        if !rows.is_empty() {
            let heads =
                [text("reason"), text("organisation"), text("key"), count("requests"), text("first"), text("last")];
            table(page, &heads, rows, "");
        }
    }
}

fn text(head: &str) -> Cell {
    Cell::Text(head.to_owned())
}

fn count(head: &str) -> Cell {
    Cell::Number(head.to_owned())
}

/// Writes a table, or a sentence if it has no rows.
fn table(page: &mut String, heads: &[Cell], rows: Vec<Vec<Cell>>, otherwise: &str) {
    if rows.is_empty() {
        let _ = writeln!(page, "<p>{otherwise}</p>");
        return;
    }
    // A table that is wider than a narrow window is moved in it, also by keyboard.
    let class = if heads.len() > 2 { " class=many" } else { "" };
    let _ = write!(page, "<div class=wide tabindex=0><table{class}><thead><tr>");
    heads.iter().for_each(|head| cell(page, "th", head));
    page.push_str("</tr></thead><tbody>\n");
    let count = rows.len();
    // The page has five times as many rows as the terminal, because it can be searched.
    for row in rows.into_iter().take(5 * ROWS) {
        page.push_str("<tr>");
        row.iter().for_each(|one| cell(page, "td", one));
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
    if count > 5 * ROWS {
        let more = u64::try_from(count - 5 * ROWS).unwrap_or_default();
        let _ = writeln!(page, "<p class=soft>… and {} more: --json lists them</p>", number(more));
    }
}

fn cell(page: &mut String, tag: &str, cell: &Cell) {
    let (class, text) = match cell {
        Cell::Text(text) => ("", text),
        Cell::Time(text) => (" class=t", text),
        Cell::Number(text) => (" class=n", text),
    };
    let _ = write!(page, "<{tag}{class}><bdi>{}</bdi></{tag}>", escaped(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_leave_its_place() {
        assert_eq!(escaped("<script>\"'&\u{202e}</script>"), "&lt;script&gt;&quot;&#39;&amp;\\u{202e}&lt;/script&gt;");
    }
}
