//! Settings with the same meaning in tollbell: they are carried over unchanged. An empty value means the default.

use serde_json::{Map, Value};

use super::source::At;

impl At<'_> {
    pub(super) fn carry_text(&self, name: &str) -> String {
        self.carry(name, |at| at.text().map(str::to_owned))
    }

    pub(super) fn carry_flag(&self, name: &str) -> bool {
        self.carry(name, |at| Some(at.flag()))
    }

    pub(super) fn carry_whole(&self, name: &str) -> i64 {
        self.carry(name, At::whole)
    }

    pub(super) fn carry_number(&self, name: &str) -> f64 {
        self.carry(name, At::number)
    }

    pub(super) fn carry_texts(&self, name: &str) -> Vec<String> {
        self.carry(name, |at| Some(at.items().iter().filter_map(At::text).map(str::to_owned).collect()))
    }

    /// Members that are null are left out, because they have no meaning.
    pub(super) fn carry_members(&self, name: &str) -> Map<String, Value> {
        self.carry(name, |at| {
            let members = at.entries().into_iter();
            Some(members.filter_map(|(name, at)| Some((name.to_owned(), without_nulls(at.value()?)?))).collect())
        })
    }

    fn carry<T: Default>(&self, name: &str, read: impl FnOnce(&Self) -> Option<T>) -> T {
        let setting = self.get(name);
        let value = read(&setting);
        setting.carried();
        value.filter(|_| setting.is_set()).unwrap_or_default()
    }
}

fn without_nulls(value: &Value) -> Option<Value> {
    Some(match value {
        Value::Null => return None,
        Value::Array(list) => list.iter().filter_map(without_nulls).collect(),
        Value::Object(members) => {
            let kept = members.iter().filter_map(|(name, value)| Some((name.clone(), without_nulls(value)?)));
            Value::Object(kept.collect())
        }
        other => other.clone(),
    })
}
