//! The condition of a handler: the events that it gets.

use crate::base::Percent;
use crate::event::Event;

/// A condition. All its parts must hold; an empty part always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// Comparisons with the threshold of the event.
    pub trigger_limit: Vec<Comparison>,
    /// The ids of organisations, one of which the event must have.
    pub org_ids: Vec<String>,
    /// The ids of APIs, one of which the event must have.
    pub api_ids: Vec<String>,
    /// Tags, one of which the session must have.
    pub tags: Vec<String>,
}

/// A comparison with a percentage, such as `>= 90`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    operator: Operator,
    with: Percent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    AtLeast,
    Above,
    AtMost,
    Below,
    Equal,
}

/// Longer operators come before those that they begin with.
const OPERATORS: [(&str, Operator); 6] = [
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    ("==", Operator::Equal),
    (">", Operator::Above),
    ("<", Operator::Below),
    ("=", Operator::Equal),
];

impl Comparison {
    /// Reads comparisons that are separated by commas. A percentage without an operator must be equal.
    ///
    /// # Errors
    /// The part that is not a comparison.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, &str> {
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        text.split(',').map(|part| Comparison::parse(part.trim()).ok_or(part.trim())).collect()
    }

    fn parse(text: &str) -> Option<Self> {
        let found = OPERATORS.iter().find_map(|(sign, operator)| Some((text.strip_prefix(sign)?, *operator)));
        let (number, operator) = found.unwrap_or((text, Operator::Equal));
        let number = number.trim().trim_end_matches('%').trim_end();
        let with = Percent::new(number.parse().ok()?)?;
        Some(Comparison { operator, with })
    }

    /// True if a percentage meets it.
    pub fn holds(self, percent: Percent) -> bool {
        match self.operator {
            Operator::AtLeast => percent >= self.with,
            Operator::Above => percent > self.with,
            Operator::AtMost => percent <= self.with,
            Operator::Below => percent < self.with,
            Operator::Equal => percent == self.with,
        }
    }
}

impl When {
    /// True if the handler gets the event. An event without a threshold does not meet a condition on one.
    pub fn holds(&self, event: &Event) -> bool {
        let meta = &event.meta;
        let is_one_of = |allowed: &[String], id: &String| allowed.is_empty() || allowed.contains(id);
        is_one_of(&self.org_ids, &meta.org_id)
            && is_one_of(&self.api_ids, &meta.api_id)
            && (self.tags.is_empty() || self.tags.iter().any(|tag| meta.tags.contains(tag)))
            && self.is_reached(&meta.trigger_limit)
    }

    fn is_reached(&self, trigger_limit: &str) -> bool {
        if self.trigger_limit.is_empty() {
            return true;
        }
        let percent = trigger_limit.parse().ok().and_then(Percent::new);
        percent.is_some_and(|percent| self.trigger_limit.iter().all(|comparison| comparison.holds(percent)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventKind, Meta};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn event(trigger_limit: &str) -> Event {
        let meta = Meta {
            trigger_limit: trigger_limit.to_owned(),
            org_id: "acme".to_owned(),
            api_id: "orders".to_owned(),
            tags: vec!["gold".to_owned(), "eu".to_owned()],
            ..Meta::default()
        };
        Event { meta, ..Event::sample(EventKind::TriggerExceeded) }
    }

    fn of_limits(text: &str) -> When {
        When { trigger_limit: Comparison::parse_all(text).unwrap(), ..When::default() }
    }

    #[test]
    fn thresholds_are_compared() {
        let reached = |text: &str| {
            let when = of_limits(text);
            ["50", "80", "90", "99.5", "100"].map(|limit| u8::from(when.holds(&event(limit))))
        };
        assert_eq!(reached(""), [1, 1, 1, 1, 1]);
        assert_eq!(reached(">= 90"), [0, 0, 1, 1, 1]);
        assert_eq!(reached(">90%"), [0, 0, 0, 1, 1]);
        assert_eq!(reached("<= 80.0"), [1, 1, 0, 0, 0]);
        assert_eq!(reached("< 80"), [1, 0, 0, 0, 0]);
        assert_eq!(reached(">= 80, < 100"), [0, 1, 1, 1, 0]);
        for equal in ["99.5", "= 99.5", "==99.5%"] {
            assert_eq!(reached(equal), [0, 0, 0, 1, 0], "{equal}");
        }
        assert!(!of_limits("> 1").holds(&event("")), "an event without a threshold");
    }

    #[test]
    fn what_is_not_a_comparison_is_named() {
        for (text, wrong) in [("=> 90", "=> 90"), ("90,", ""), ("> 80, often", "often"), ("0", "0"), (">101", ">101")] {
            assert_eq!(Comparison::parse_all(text), Err(wrong), "{text}");
        }
    }

    #[test]
    fn all_parts_must_hold_and_one_value_of_each() {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        let holds = |orgs: &[&str], apis: &[&str], tags: &[&str]| {
            let when = When { org_ids: list(orgs), api_ids: list(apis), tags: list(tags), ..When::default() };
            when.holds(&event("80"))
        };
        assert!(holds(&[], &[], &[]));
        assert!(holds(&["acme"], &["orders"], &["gold"]));
        assert!(holds(&["other", "acme"], &[], &["silver", "eu"]));
        assert!(!holds(&["other"], &["orders"], &["gold"]));
        assert!(!holds(&["acme"], &["billing"], &["gold"]));
        assert!(!holds(&["acme"], &["orders"], &["silver"]));
    }
}
