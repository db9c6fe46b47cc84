//! Runs a story on a host, and reports differences.

use serde_json::{Map, Value, json};
use similar::TextDiff;

use super::{Action, Expected, Story, Subject, form};
use crate::gateway::{Request, Response};

/// How often a statistic is read before it counts as wrong.
const MOMENTS: usize = 40;

/// A failed step.
#[derive(Debug, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct Failure {
    /// The story's file.
    pub file: String,
    /// The step's line.
    pub line: usize,
    /// The difference.
    pub message: String,
}

/// Runs the steps of a story. Before each step, it calls `progress` with the number of the step, from 0.
///
/// # Errors
/// The first step that fails.
pub fn run(story: &Story, subject: &mut dyn Subject, progress: &mut dyn FnMut(usize)) -> Result<(), Failure> {
    let mut seen = 0;
    let failure = |line, message| Failure { file: story.file.display().to_string(), line, message };
    for (number, step) in story.steps.iter().enumerate() {
        progress(number);
        // A failure shows only the log of its step.
        subject.warnings();
        let taken = take(&step.action, subject, &mut seen).and_then(|()| none_failed(subject));
        taken.map_err(|message| failure(step.line, with_log(message, subject)))?;
    }
    let last = story.steps.last().map_or(0, |step| step.line);
    at_the_end(subject, seen).map_err(|message| failure(last, with_log(message, subject)))
}

/// Checks that no unexpected message was sent, and that all faults were triggered.
fn at_the_end(subject: &mut dyn Subject, seen: usize) -> Result<(), String> {
    let messages = subject.messages(seen).map_err(|error| format!("{error:#}"))?;
    if let Some(more @ [_, ..]) = messages.get(seen..) {
        return Err(format!("at the end, there are messages that no step expects:\n{}", shown_all(more)));
    }
    none_failed(subject)?;
    match subject.faults_left().as_slice() {
        [] => Ok(()),
        left => Err(format!("at the end, there are faults that nothing has triggered:\n    {}", left.join("\n    "))),
    }
}

fn none_failed(subject: &mut dyn Subject) -> Result<(), String> {
    match subject.failures().as_slice() {
        [] => Ok(()),
        failures => Err(failures.join("\n")),
    }
}

/// Adds the log lines to the message of a failure, except those that the message contains.
fn with_log(message: String, subject: &mut dyn Subject) -> String {
    let mut lines = subject.warnings();
    lines.retain(|line| !message.contains(line.as_str()));
    if lines.is_empty() {
        return message;
    }
    format!("{}\nthe log says\n    {}", message.trim_end(), lines.join("\n    "))
}

fn take(action: &Action, subject: &mut dyn Subject, seen: &mut usize) -> Result<(), String> {
    let told = |error: anyhow::Error| format!("{error:#}");
    match action {
        Action::Request { request, times, worker, answer } => {
            for number in 1..=*times {
                let response = subject.request(request, *worker).map_err(told)?;
                let actual = of_response(&response);
                if let Some(difference) = difference(answer, &actual) {
                    let which = if *times > 1 { format!(" ({number} of {times})") } else { String::new() };
                    return Err(format!(
                        "{} {}{which} is not answered as expected:\n{difference}",
                        request.method(),
                        request.path()
                    ));
                }
            }
            Ok(())
        }
        Action::Upstream(behaviour) => subject.set_upstream(behaviour).map_err(told),
        Action::Targets(behaviour) => subject.set_targets(behaviour).map_err(told),
        Action::Advance(duration) => subject.advance(*duration).map_err(told),
        Action::Messages(expected) => messages(expected, subject, seen),
        Action::Metrics(expected) => {
            for (name, value) in expected {
                let mut actual = subject.metric(name).map_err(told)?;
                // A statistic can be updated late.
                for _ in 0..MOMENTS {
                    if actual == *value || !subject.wait_a_moment() {
                        break;
                    }
                    actual = subject.metric(name).map_err(told)?;
                }
                if actual != *value {
                    return Err(format!("the statistic {name} is {actual}, expected {value}"));
                }
            }
            Ok(())
        }
        Action::Configure(configuration) => subject.configure(configuration).map_err(told),
        Action::Fault(fault) => subject.fault(fault).map_err(told),
    }
}

/// Checks that the messages are exactly the expected ones.
fn messages(expected: &[Expected], subject: &mut dyn Subject, seen: &mut usize) -> Result<(), String> {
    let all = subject.messages(*seen + expected.len()).map_err(|error| format!("{error:#}"))?;
    let new = all.get(*seen..).unwrap_or_default();
    *seen = all.len();
    let mut left: Vec<&Request> = new.iter().collect();
    let mut missing = Vec::new();
    for message in expected {
        match left.iter().position(|actual| difference(message, &of_request(actual)).is_none()) {
            Some(found) => {
                left.remove(found);
            }
            None => missing.push(message),
        }
    }
    if missing.is_empty() && left.is_empty() {
        return Ok(());
    }
    // To keep the difference short, compare only the missing messages with the unexpected ones.
    let wanted: Vec<Value> = missing.iter().map(|message| shown_expected(message)).collect();
    let have: Vec<Value> = left
        .iter()
        .enumerate()
        .map(|(number, actual)| {
            let like = missing.get(number).copied().cloned().unwrap_or_default();
            narrowed(&of_request(actual), &like)
        })
        .collect();
    Err(format!("the messages differ from the expected ones:\n{}", diff(&wanted, &have)))
}

fn shown_all(messages: &[Request]) -> String {
    messages.iter().map(|message| format!("{:#}\n", of_request(message))).collect()
}

fn body_of(map: &mut Map<String, Value>, headers: &crate::base::Headers, text: String) {
    let content_type = headers.get_str("content-type").unwrap_or_default();
    if let Some(json) = serde_json::from_str(&text).ok().or_else(|| form::fields(content_type, &text)) {
        map.insert("json".to_owned(), json);
    }
    map.insert("text".to_owned(), Value::String(text));
}

fn headers_of(headers: &crate::base::Headers) -> Value {
    let mut map = Map::new();
    for (name, value) in headers.iter().filter(|(name, _)| name.first() != Some(&b':')) {
        let value = String::from_utf8_lossy(value).into_owned();
        map.entry(String::from_utf8_lossy(name).into_owned())
            .and_modify(|present| *present = json!(format!("{}, {value}", present.as_str().unwrap_or_default())))
            .or_insert_with(|| json!(value));
    }
    Value::Object(map)
}

fn of_response(response: &Response) -> Value {
    let mut map = Map::new();
    map.insert("status".to_owned(), json!(response.status()));
    map.insert("headers".to_owned(), headers_of(&response.headers));
    body_of(&mut map, &response.headers, response.text());
    Value::Object(map)
}

fn of_request(request: &Request) -> Value {
    let mut map = Map::new();
    map.insert("method".to_owned(), json!(request.method()));
    map.insert("path".to_owned(), json!(request.path()));
    map.insert("headers".to_owned(), headers_of(&request.headers));
    body_of(&mut map, &request.headers, request.text());
    Value::Object(map)
}

fn shown_expected(expected: &Expected) -> Value {
    let mut map = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            map.insert(name.to_owned(), value);
        }
    };
    put("status", expected.status.map(|status| json!(status)));
    put("method", expected.method.as_ref().map(|method| json!(method)));
    put("path", expected.path.as_ref().map(|path| json!(path)));
    put("headers", (!expected.headers.is_empty()).then(|| json!(expected.headers)));
    put("text", expected.text.as_ref().map(|text| json!(text)));
    put("json", expected.json.clone());
    put("members", expected.members.clone());
    Value::Object(map)
}

/// Returns the part of a message that an expectation checks. If it checks nothing, returns everything except the
/// headers.
fn narrowed(actual: &Value, expected: &Expected) -> Value {
    let Value::Object(wanted) = shown_expected(expected) else { return actual.clone() };
    let mut map = Map::new();
    let Value::Object(actual) = actual else { return actual.clone() };
    for (name, value) in actual {
        let is_wanted = if wanted.is_empty() {
            name != "headers" && !(name == "text" && actual.contains_key("json"))
        } else {
            wanted.contains_key(name)
        };
        if !is_wanted {
            continue;
        }
        if name == "headers" {
            let names = expected.headers.keys();
            let part = names.map(|name| (name.clone(), value.get(name).cloned().unwrap_or(Value::Null)));
            map.insert(name.clone(), Value::Object(part.collect()));
        } else {
            map.insert(name.clone(), value.clone());
        }
    }
    let json = actual.get("json").cloned().unwrap_or_else(|| {
        json!(format!("not JSON: {}", actual.get("text").and_then(Value::as_str).unwrap_or_default()))
    });
    if let Some(members) = wanted.get("members") {
        map.insert("members".to_owned(), part(&json, members));
    }
    if wanted.contains_key("json") && !map.contains_key("json") {
        map.insert("json".to_owned(), json);
    }
    Value::Object(map)
}

/// Returns the members of a tree that another tree also has.
fn part(actual: &Value, expected: &Value) -> Value {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => {
            let there =
                expected.iter().filter_map(|(name, below)| Some((name.clone(), part(actual.get(name)?, below))));
            Value::Object(there.collect())
        }
        (Value::Array(actual), Value::Array(expected)) if actual.len() == expected.len() => {
            Value::Array(actual.iter().zip(expected).map(|(actual, expected)| part(actual, expected)).collect())
        }
        _ => actual.clone(),
    }
}

/// Returns `None` if the message meets the expectation.
fn difference(expected: &Expected, actual: &Value) -> Option<String> {
    let (wanted, have) = (shown_expected(expected), narrowed(actual, expected));
    // An empty expectation matches every message.
    let holds = wanted == have || wanted.as_object().is_some_and(Map::is_empty);
    (!holds).then(|| diff(&[wanted], &[have]))
}

/// Compares two texts. Lines with `-` were expected, lines with `+` are the actual ones.
fn diff(expected: &[Value], actual: &[Value]) -> String {
    let text = |values: &[Value]| values.iter().map(|value| format!("{value:#}\n")).collect::<String>();
    let (expected, actual) = (text(expected), text(actual));
    let diff = TextDiff::from_lines(&expected, &actual);
    let lines = diff.iter_all_changes().map(|change| {
        let mark = match change.tag() {
            similar::ChangeTag::Delete => "- ",
            similar::ChangeTag::Insert => "+ ",
            similar::ChangeTag::Equal => "  ",
        };
        format!("    {mark}{}", change.value())
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(json: Value) -> Expected {
        Expected { status: Some(403), json: Some(json), ..Expected::default() }
    }

    #[test]
    fn a_difference_shows_both_sides() {
        let response = Response::new(200).header("a", "1").body(r#"{"error": "no"}"#);
        let text = difference(&expected(json!({"error": "yes"})), &of_response(&response)).unwrap();
        assert!(text.contains(r#"-     "error": "yes""#) && text.contains(r#"+     "error": "no""#), "{text}");
        assert!(text.contains(r#"-   "status": 403"#) && text.contains(r#"+   "status": 200"#), "{text}");
        assert!(!text.contains("headers"), "{text}");
    }

    #[test]
    fn members_must_exist_but_can_have_others_beside_them() {
        let response = Response::new(200).body(r#"{"a": 1, "b": [{"c": 2, "d": 3}], "e": 4}"#);
        let members = |json: Value| Expected { members: Some(json), ..Expected::default() };
        assert_eq!(difference(&members(json!({"b": [{"c": 2}], "e": 4})), &of_response(&response)), None);
        for wrong in [json!({"f": 1}), json!({"a": 2}), json!({"b": []}), json!({"b": [{"c": 2, "f": 1}]}), json!([1])]
        {
            assert!(difference(&members(wrong.clone()), &of_response(&response)).is_some(), "{wrong}");
        }
        let text = difference(&members(json!({"a": 1})), &of_response(&Response::new(200).body("no"))).unwrap();
        assert!(text.contains("not JSON: no"), "{text}");
    }

    #[test]
    fn parts_that_are_not_given_are_not_checked() {
        let response = Response::new(403).header("a", "1").body(r#"{"error":"no"}"#);
        assert_eq!(difference(&expected(json!({"error": "no"})), &of_response(&response)), None);
        assert_eq!(difference(&Expected::default(), &of_response(&response)), None);
        let absent = Expected { headers: [("b".to_owned(), None)].into(), ..Expected::default() };
        assert_eq!(difference(&absent, &of_response(&response)), None);
        let present = Expected { headers: [("a".to_owned(), None)].into(), ..Expected::default() };
        assert!(difference(&present, &of_response(&response)).is_some());
    }
}
