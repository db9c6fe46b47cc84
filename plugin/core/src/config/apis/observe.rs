//! Checks the settings of `observe`.

use serde_json::Value;

use crate::access::{Prefix, Readings, Route, Routes};
use crate::base::{hint, item, member};
use crate::config::error::Errors;
use crate::config::raw;
use crate::event::{EventKind, ManagementAction};
use crate::observe::{
    FieldType, FreeRule, Payload, Preset, Rules, Template, ValueSource, fitted, is_secret, leads_to_credential,
    leads_to_secret, mismatches, shapes,
};

/// The rules of one API; `None` if it has none.
pub fn observe(
    path: &str,
    listen_path: &Prefix,
    raw: &raw::Observe,
    errors: &mut Errors,
    warnings: &mut Errors,
) -> Option<Rules> {
    let preset = Preset::from_name(&raw.preset);
    let rules_path = member(path, "rules");
    let rules = (0_usize..)
        .zip(&raw.rules)
        .filter_map(|(index, raw)| Check { path: item(&rules_path, index), raw, errors }.rule());
    let rules: Vec<FreeRule> = rules.collect();
    if preset.is_none() && rules.is_empty() {
        if raw.rules.is_empty() && raw.max_body_bytes != raw::Observe::default().max_body_bytes {
            warnings.add(member(path, "max_body_bytes"), "has no effect: there are neither a preset nor rules");
        }
        return None;
    }
    let max_body_bytes = usize::try_from(raw.max_body_bytes).unwrap_or(usize::MAX);
    let rules = Rules::new(listen_path.clone(), preset, rules, max_body_bytes);
    for (index, raw) in (0_usize..).zip(&raw.rules) {
        warn_of_rule(&item(&rules_path, index), raw, (listen_path, &rules), warnings);
    }
    Some(rules)
}

/// Warns of settings of a rule that are legal and have no effect.
fn warn_of_rule(path: &str, raw: &raw::ObserveRule, (listen_path, rules): (&Prefix, &Rules), warnings: &mut Errors) {
    match EventKind::of_management_name(&raw.event) {
        Some(kind) if kind.is_portal() && raw.message.is_empty() => {
            warnings.add(member(path, "message"), "missing: the event has no payload");
        }
        Some(kind) if !kind.is_portal() && raw.data.given().is_empty() => {
            warnings.add(member(path, "data"), "missing: the event has no payload");
        }
        _ => {}
    }
    if Template::parse(&raw.path).is_ok()
        && !whole_paths(listen_path, &raw.path).any(|whole| rules.heeds(&raw.method, &whole))
    {
        warnings.add(member(path, "path"), "has no effect: the preset has a more specific rule for these requests");
    }
}

/// The complete paths that a rule's path may mean: below the `listen_path`, and as it is. A name in braces works like
/// any segment.
fn whole_paths(listen_path: &Prefix, path: &str) -> impl Iterator<Item = String> {
    let below = String::from_utf8(listen_path.respelled().to_vec()).unwrap_or_default();
    let below = format!("{}{path}", below.trim_end_matches('/'));
    let whole = listen_path.rest(path).is_some().then(|| path.to_owned());
    std::iter::once(below).chain(whole)
}

/// Warns of rules that never match, because their requests belong to other APIs.
pub fn warn_of_shadowed_rules(raw: &raw::Config, routes: &Routes, warnings: &mut Errors) {
    for ((number, api), (index, _)) in (0_usize..).zip(&raw.apis).zip(routes.iter()) {
        let (Ok(listen_path), false) = (Prefix::parse(&api.listen_path), api.internal) else { continue };
        // A host that is no API's domain: names with this ending do not exist.
        let host = if api.domain.is_empty() { "other.invalid" } else { &api.domain };
        let owner = |path: &str| match routes.find(&Readings::of(path.as_bytes()).ok()?, host.as_bytes()) {
            Route::Api { index, .. } => Some(index),
            Route::None => None,
        };
        let rules_path = format!("{}.observe.rules", item("apis", number));
        for (rule, raw) in (0_usize..).zip(&api.observe.rules) {
            let owners: Vec<_> = whole_paths(&listen_path, &raw.path).map(|path| (owner(&path), path)).collect();
            if let Some((Some(other), path)) = owners.first()
                && Template::parse(&raw.path).is_ok()
                && owners.iter().all(|(owner, _)| *owner != Some(index))
            {
                let id = routes.get(*other).map_or("", |api| &api.id);
                let message = format!("never matches: requests to {path:?} belong to the API {id:?}");
                warnings.add(member(&item(&rules_path, rule), "path"), message);
            }
        }
    }
}

struct Check<'c> {
    path: String,
    raw: &'c raw::ObserveRule,
    errors: &'c mut Errors,
}

impl Check<'_> {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.errors.add(member(&self.path, field), message);
    }

    fn rule(mut self) -> Option<FreeRule> {
        let raw = self.raw;
        let kind = self.kind();
        let action = kind.and_then(|kind| self.action(kind));
        let template = if raw.path.is_empty() { None } else { self.template() };
        let org_id = self.source("org_id", &raw.org_id, template.as_ref(), false);
        let payload = kind.map(|kind| self.payload(kind, template.as_ref()));
        for (index, pointer) in (0_usize..).zip(&raw.fingerprints) {
            self.pointer(&item("fingerprints", index), pointer, leads_to_credential);
        }
        Some(FreeRule {
            kind: kind?,
            action,
            method: raw.method.clone(),
            path: template?,
            status: raw.status.clone(),
            org_id,
            payload: payload?,
            fingerprints: raw.fingerprints.clone(),
        })
    }

    fn kind(&mut self) -> Option<EventKind> {
        let name = self.raw.event.as_str();
        let kind = EventKind::of_management_name(name);
        if kind.is_none() && !name.is_empty() {
            let known = EventKind::of_management().map(EventKind::name);
            self.add("event", format!("no management event has this name{}", hint(name, known)));
        }
        kind
    }

    fn action(&mut self, kind: EventKind) -> Option<ManagementAction> {
        let name = self.raw.action.as_str();
        let names: Vec<&str> = kind.actions().iter().map(|action| action.name()).collect();
        let action = ManagementAction::from_name(name).filter(|action| kind.actions().contains(action));
        match (name.is_empty(), names.is_empty()) {
            (true, true) => {}
            (false, true) => self.add("action", format!("{kind} has none")),
            (true, false) => self.add("action", format!("missing: one of {}", names.join(", "))),
            (false, false) if action.is_none() => {
                let message =
                    format!("{name:?} is not one of {}{}", names.join(", "), hint(name, names.iter().copied()));
                self.add("action", message);
            }
            (false, false) => {}
        }
        action
    }

    fn template(&mut self) -> Option<Template> {
        match Template::parse(&self.raw.path) {
            Ok(template) => Some(template),
            Err(error) => {
                self.add("path", error.to_string());
                None
            }
        }
    }

    fn payload(&mut self, kind: EventKind, template: Option<&Template>) -> Payload {
        let raw = self.raw;
        if !kind.is_portal() {
            if !raw.message.is_empty() {
                self.add("message", format!("is for the portal's events; {kind} has data"));
            }
            let data = self.source("data", &raw.data, template, false);
            if let Some(ValueSource::Value(value)) = &data {
                self.mismatches("data.value", FieldType::Fields(shapes::fields(kind)), value);
            }
            return Payload::Whole(data.unwrap_or_else(|| ValueSource::Value(Value::Object(serde_json::Map::new()))));
        }
        if !raw.data.given().is_empty() {
            self.add("data", format!("is for the dashboard's events; {kind} has message"));
        }
        if !raw.fingerprints.is_empty() {
            self.add("fingerprints", "is for the dashboard's events: the portal's have no keys");
        }
        let known: Vec<&str> = shapes::fields(kind).iter().map(|field| field.name).collect();
        let mut members = Vec::new();
        for (name, source) in &raw.message {
            let place = member("message", name);
            match shapes::fields(kind).iter().find(|field| field.name == *name) {
                Some(field) => self.value(&place, field.of, source),
                None => {
                    let message = format!("{kind} has no field of this name{}", hint(name, known.iter().copied()));
                    self.add_at(&place, message);
                }
            }
            members.extend(self.source(&place, source, template, true).map(|source| (name.clone(), source)));
        }
        Payload::Members(members)
    }

    /// Checks that a literal value has the field's type, or is text of such a value, as in a `Struct`.
    fn value(&mut self, place: &str, of: FieldType, source: &raw::ObserveSource) {
        if let Some(value) = source.value.as_ref().filter(|value| fitted(of, (*value).clone()).is_none()) {
            self.mismatches(&member(place, "value"), of, value);
        }
    }

    fn mismatches(&mut self, place: &str, of: FieldType, value: &Value) {
        for error in mismatches(place, of, value) {
            self.add_at(&error.path, error.message);
        }
    }

    /// Adds an error at a path below the rule's.
    fn add_at(&mut self, place: &str, message: impl Into<String>) {
        self.errors.add(format!("{}.{place}", self.path), message);
    }

    fn source(
        &mut self,
        place: &str,
        raw: &raw::ObserveSource,
        template: Option<&Template>,
        required: bool,
    ) -> Option<ValueSource> {
        let mut given = raw.given();
        let source = given.pop();
        if !given.is_empty() || required && source.is_none() {
            self.add_at(place, "needs one of request, response, path, query, value");
            return None;
        }
        // A value that is shown as its fingerprint is no longer secret.
        let is_fingerprint = place == "data" && self.raw.fingerprints.iter().any(String::is_empty);
        let is_shown_secret = if is_fingerprint { leads_to_credential } else { leads_to_secret };
        match &source {
            Some(ValueSource::Request(pointer)) => self.pointer(&format!("{place}.request"), pointer, is_shown_secret),
            Some(ValueSource::Response(pointer)) => {
                self.pointer(&format!("{place}.response"), pointer, is_shown_secret)
            }
            Some(ValueSource::Path(name) | ValueSource::Query(name)) if is_secret(name) && !is_fingerprint => {
                let which = if matches!(source, Some(ValueSource::Path(_))) { "path" } else { "query" };
                self.add_at(
                    &format!("{place}.{which}"),
                    format!("{name:?} is the name of a credential, which no payload shows"),
                );
            }
            Some(ValueSource::Path(name)) => {
                if let Some(template) = template.filter(|template| !template.has(name)) {
                    let message = format!("the rule's path has no {{{name}}}{}", hint(name, template.names()));
                    self.add_at(&format!("{place}.path"), message);
                }
            }
            Some(ValueSource::Query(name)) if name.is_empty() => {
                self.add_at(&format!("{place}.query"), "empty: name a parameter");
            }
            _ => {}
        }
        source
    }

    fn pointer(&mut self, place: &str, pointer: &str, is_secret: impl Fn(&str) -> bool) {
        let escapes_are_right = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        if !(pointer.is_empty() || pointer.starts_with('/')) || !escapes_are_right {
            self.add_at(
                place,
                format!("{pointer:?} is not a JSON pointer: \"\" for the whole, or such as \"/data/id\""),
            );
        } else if is_secret(pointer) {
            self.add_at(place, format!("{pointer:?} is the place of a credential, which no payload shows"));
        }
    }
}

impl raw::ObserveSource {
    fn given(&self) -> Vec<ValueSource> {
        let given = [
            self.request.clone().map(ValueSource::Request),
            self.response.clone().map(ValueSource::Response),
            self.path.clone().map(ValueSource::Path),
            self.query.clone().map(ValueSource::Query),
            self.value.clone().map(ValueSource::Value),
        ];
        given.into_iter().flatten().collect()
    }
}
