//! The routes of a virtual host. They match the same paths as Tyk's router, which compares decoded paths.
//!
//! Envoy compares paths as they are spelled. To get the same result, a path that would mean another API after decoding
//! is refused before the routes of all APIs. Other paths go upstream as the client spelled them.

use super::api::{Target, Upstream};
use super::places::{Absent, Host, is_unreserved, path_regex};
use super::versions::ROUTE_HEADER;
use super::yaml::{Yaml, block, map};

/// An API that is served or closed.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) id: String,
    pub(super) domain: String,
    pub(super) listen_path: String,
    pub(super) strip: bool,
    /// True if the listen path, without a slash at its end, means whole segments: `/orders` is not `/orders2`.
    pub(super) is_strict: bool,
    pub(super) cluster: String,
    pub(super) upstream: Upstream,
    pub(super) closed: Vec<String>,
    /// True if it is reachable only as a version of other APIs. Then it has no routes.
    pub(super) is_internal: bool,
    /// True if the cluster belongs to another site.
    pub(super) is_borrowed: bool,
    /// The version that it is, if the API has versions.
    pub(super) version: Option<String>,
    /// The versions. If there are any, no request goes to the site itself.
    pub(super) versions: Vec<Site>,
}

/// The API or the left-out API at a place.
#[derive(Clone, Copy)]
pub(super) enum Stand<'s> {
    Site(&'s Site),
    Absent(&'s Absent),
}

impl<'s> Stand<'s> {
    /// The length. The longest place wins.
    fn length(self) -> usize {
        match self {
            Stand::Site(site) => site.listen_path.len(),
            Stand::Absent(absent) => absent.length,
        }
    }

    /// True if it could answer for this path, or for a path that begins with it.
    fn covers(self, path: &str) -> bool {
        match self {
            Stand::Site(site) => site.is_special() || path.starts_with(&site.listen_path),
            Stand::Absent(_) => true,
        }
    }
}

/// The routes of a domain's virtual host, or of all other hosts if `domain` is empty, as YAML text.
pub(super) fn write(domain: &str, sites: &[Site], absent: &[Absent], timeout: i64) -> String {
    let stands = stands(domain, sites, absent);
    let mut text = comment("Dots and empty segments between escaped slashes, which Tyk would redirect.");
    text.push_str(&route(regex_match(DOTS), refusal(400, "Bad Request")));
    if let Some(regex) = escaped(&stands) {
        text.push_str(&comment("An escaped slash could make this another API's path: refused."));
        text.push_str(&route(regex_match(&regex), refusal(404, "Not Found")));
    }
    let mut ids: Vec<&Site> = sites.iter().filter(|site| is_id_hidden(site, &stands)).collect();
    for stand in &stands {
        let (here, later): (Vec<&Site>, Vec<&Site>) = ids.iter().partition(|site| stand.covers(&by_id(site)));
        ids = later;
        if !here.is_empty() {
            let regex = here.iter().map(|site| path_regex(&by_id(site))).collect::<Vec<_>>().join("|");
            text.push_str(&comment("Paths that begin with an API's id, which Tyk serves beside the listen path."));
            text.push_str(&route(regex_match(&format!("(?:{regex}).*")), refusal(404, "Not Found")));
        }
        text.push_str(&match stand {
            Stand::Site(site) => site.write(timeout, stands.iter().any(|other| site.leaves(*other))),
            Stand::Absent(absent) => write_absent(absent),
        });
    }
    text
}

/// The places in Tyk's order: those with a domain, then those without; in each group, the longest first.
fn stands<'s>(domain: &str, sites: &'s [Site], absent: &'s [Absent]) -> Vec<Stand<'s>> {
    let of = |host: &dyn Fn(&Host) -> bool| {
        let sites =
            sites.iter().filter(|site| !site.is_internal && host(&Host::Name(site.domain.clone()))).map(Stand::Site);
        let mut stands: Vec<Stand<'_>> =
            sites.chain(absent.iter().filter(|absent| host(&absent.host)).map(Stand::Absent)).collect();
        stands.sort_by_key(|stand| std::cmp::Reverse(stand.length()));
        stands
    };
    let own = of(&|host| match host {
        Host::Name(name) => !domain.is_empty() && name == domain,
        Host::Pattern(_) => true,
    });
    let anywhere = of(&|host| *host == Host::Name(String::new()));
    [own, anywhere].concat()
}

fn by_id(site: &Site) -> String {
    format!("/{}/", site.id)
}

/// True if Tyk serves an API by its id although only another API's listen path `/` would answer.
fn is_id_hidden(site: &Site, stands: &[Stand<'_>]) -> bool {
    let path = by_id(site);
    let is_here = stands.iter().any(|stand| matches!(stand, Stand::Site(own) if std::ptr::eq(*own, site)));
    let covering = || stands.iter().filter(|stand| stand.covers(&path));
    let is_taken =
        covering().any(|stand| matches!(stand, Stand::Site(own) if own.listen_path != "/" && !own.is_special()));
    is_here && !site.id.is_empty() && !is_taken && covering().next().is_some()
}

/// Slashes, one of them escaped, with nothing or dots between. After decoding, such a path is another one.
const DOTS: &str = r".*(?:(?:/|%2[Ff]|%5[Cc])(?:\.{1,2}(?:;[^/]*)?)?(?:%2[Ff]|%5[Cc]).*|(?:%2[Ff]|%5[Cc])(?:\.{1,2}(?:;[^/]*)?)?(?:/.*)|(?:%2[Ff]|%5[Cc])\.{1,2}(?:;[^/]*)?)";

/// Paths that decode to a path of a longer listen path, and are spelled as one of a shorter; `None` if there are none.
fn escaped(stands: &[Stand<'_>]) -> Option<String> {
    let mut all = Vec::new();
    for (index, stand) in stands.iter().enumerate() {
        let Stand::Site(site) = stand else { continue };
        let others = stands.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, other)| *other);
        let path = if site.is_strict { format!("{}/", site.listen_path) } else { site.listen_path.clone() };
        if site.is_special() || !others.into_iter().any(|other| other.covers(&path)) {
            continue;
        }
        // The first slash is never escaped.
        for (at, _) in path.match_indices('/').skip(1) {
            let (before, after) = path.split_at(at);
            let after = path_regex(after.get(1..).unwrap_or_default());
            all.push(format!("{}%2[Ff]{after}", regex::escape(before)));
        }
    }
    (!all.is_empty()).then(|| format!("(?:{}).*", all.join("|")))
}

fn regex_match(regex: &str) -> Yaml {
    map([("safe_regex", map([("regex", regex.into())]))])
}

/// An answer in Tyk's form for a path that it does not serve.
fn refusal(status: i64, text: &str) -> Vec<(&'static str, Yaml)> {
    let answer = map([("status", status.into()), ("body", map([("inline_string", text.into())]))]);
    vec![("direct_response", answer)]
}

/// A refusal in tollbell's form for a key without a right.
fn disallowed() -> Vec<(&'static str, Yaml)> {
    let body = r#"{"error": "Access to this API has been disallowed"}"#;
    let answer = map([("status", 403.into()), ("body", map([("inline_string", body.into())]))]);
    let json = map([("key", "content-type".into()), ("value", "application/json".into())]);
    let header = map([("header", json), ("append_action", "OVERWRITE_IF_EXISTS_OR_ADD".into())]);
    vec![("direct_response", answer), ("response_headers_to_add", vec![header].into())]
}

fn route(condition: Yaml, rest: Vec<(&'static str, Yaml)>) -> String {
    let entries = std::iter::once(("match", condition)).chain(rest);
    block(&vec![map(entries)].into(), 14)
}

fn comment(text: &str) -> String {
    format!("              # {text}\n")
}

fn write_absent(absent: &Absent) -> String {
    let mut condition = vec![("safe_regex", map([("regex", absent.paths.as_str().into())]))];
    if let Host::Pattern(regex) = &absent.host {
        let matcher = map([("safe_regex", map([("regex", regex.as_str().into())]))]);
        condition.push(("headers", vec![map([("name", ":authority".into()), ("string_match", matcher)])].into()));
    }
    let text = comment(&format!("Left out: {:?}. Its paths must not fall to another API.", absent.what));
    text + &route(map(condition), refusal(404, "Not Found"))
}

impl Site {
    /// True if its listen path has characters that clients spell in several ways.
    fn is_special(&self) -> bool {
        self.listen_path.chars().any(|c| c != '/' && !is_unreserved(c))
    }

    /// True if it does not answer for a path that begins with its listen path in the middle of a segment, and another
    /// would.
    fn leaves(&self, other: Stand<'_>) -> bool {
        let is_self = matches!(other, Stand::Site(site) if std::ptr::eq(site, self));
        self.is_strict && !is_self && other.covers(&self.listen_path)
    }

    /// With `refuses_neighbours`, paths that only share the beginning of its listen path belong to no API.
    fn write(&self, timeout: i64, refuses_neighbours: bool) -> String {
        let mut text: String = self.versions.iter().map(|version| version.write(timeout, false)).collect();
        if !self.versions.is_empty() {
            text.push_str(&comment("tollbell puts the version of a request into a header. Requests without one:"));
            for (condition, _) in self.paths() {
                text.push_str(&route(condition, disallowed()));
            }
        } else if !self.closed.is_empty() {
            text.push_str(&comment(&format!("Closed: nothing checks {}.", self.closed.join(" and "))));
            text.push_str(&comment(&format!("With one: route: {{ cluster: {} }}", self.cluster)));
        }
        for (condition, rewrite) in self.paths().into_iter().filter(|_| self.versions.is_empty()) {
            text.push_str(&self.route(condition, rewrite, timeout));
        }
        if refuses_neighbours {
            let regex = format!("{}.*", path_regex(&self.listen_path));
            text.push_str(&route(regex_match(&regex), refusal(404, "Not Found")));
        }
        text
    }

    /// The paths that it serves, each with its rewrite: those that begin with the listen path. Tyk joins the rest with
    /// the target's path, and a slash alone counts as nothing.
    fn paths(&self) -> Vec<(Yaml, Option<(&'static str, Yaml)>)> {
        let path = self.listen_path.as_str();
        let target = self.upstream.targets.first();
        let base = target.map(|target| target.base_path.as_str()).unwrap_or_default();
        let root = target.map(|target| target.root.as_str()).unwrap_or_default();
        if self.is_special() {
            return vec![self.special(base)];
        }
        let rewrite = |kind: &'static str, matched: &str, to: String| {
            let rewrite = (to != matched).then(|| ("prefix_rewrite", Yaml::from(to)));
            (map([(kind, matched.into())]), rewrite)
        };
        let strips = self.strip || path == "/";
        let to = |matched: &str| if strips { format!("{base}/") } else { format!("{base}{matched}") };
        let (file, folder) = match path.strip_suffix('/') {
            Some(_) => (None, path.to_owned()),
            None => (Some(path), format!("{path}/")),
        };
        let mut paths = Vec::new();
        if strips && root != format!("{base}/") {
            let exact = file.into_iter().chain([folder.as_str()]);
            paths.extend(exact.map(|exact| rewrite("path", exact, root.to_owned())));
        } else if let Some(file) = file.filter(|_| self.is_strict) {
            paths.push(rewrite("path", file, to(file)));
        }
        if file.is_none() || self.is_strict || strips {
            paths.push(rewrite("prefix", &folder, to(&folder)));
        }
        if let Some(file) = file.filter(|_| !self.is_strict) {
            paths.push(rewrite("prefix", file, to(file)));
        }
        paths
    }

    fn special(&self, base: &str) -> (Yaml, Option<(&'static str, Yaml)>) {
        let own = path_regex(&self.listen_path);
        let is_folder = self.listen_path.ends_with('/');
        let rest = if self.is_strict && !is_folder { "(?:(?:/|%2[Ff]).*)?" } else { ".*" };
        let change = |pattern: String| {
            let pattern = map([("regex", pattern.into())]);
            let to = format!("{base}/").replace('\\', "\\\\");
            ("regex_rewrite", map([("pattern", pattern), ("substitution", to.into())]))
        };
        let change = match self.strip {
            true => Some(change(format!("^{own}{}", if is_folder { "" } else { "(?:/|%2[Ff])?" }))),
            false if base.is_empty() => None,
            false => Some(change("^/".to_owned())),
        };
        (regex_match(&format!("{own}{rest}")), change)
    }

    fn route(&self, mut condition: Yaml, rewrite: Option<(&'static str, Yaml)>, timeout: i64) -> String {
        if let (Some(version), Yaml::Map(conditions)) = (&self.version, &mut condition) {
            let exact = map([("exact", version.as_str().into())]);
            let header = map([("name", ROUTE_HEADER.into()), ("string_match", exact)]);
            conditions.push(("headers".to_owned(), vec![header].into()));
        }
        if !self.closed.is_empty() || self.upstream.targets.is_empty() {
            return route(condition, disallowed());
        }
        let targets = &self.upstream.targets;
        let host = |target: &Target| ("host_rewrite_literal", Yaml::from(target.authority()));
        let keeps_host = self.upstream.preserve_host;
        let mut action = match self.is_split() {
            false => vec![("cluster", Yaml::from(self.cluster.as_str()))],
            true => {
                let weighted = self.clusters().into_iter().zip(targets).map(|((name, _), target)| {
                    let mut cluster = vec![("name", name.into()), ("weight", target.weight.into())];
                    cluster.extend((!keeps_host).then(|| host(target)));
                    map(cluster)
                });
                vec![("weighted_clusters", map([("clusters", weighted.collect::<Vec<_>>().into())]))]
            }
        };
        action.push(("timeout", format!("{timeout}s").into()));
        action.extend(rewrite);
        match targets.as_slice() {
            _ if keeps_host || self.is_split() => {}
            [target] => action.push(host(target)),
            _ => action.push(("auto_host_rewrite", true.into())),
        }
        let mut rest = vec![("route", map(action))];
        if self.version.is_some() {
            rest.push(("request_headers_to_remove", vec![Yaml::from(ROUTE_HEADER)].into()));
        }
        route(condition, rest)
    }

    /// True if each target has its own cluster. The name for a TLS server, which must be in its certificate, follows
    /// from the Host header, and Envoy rewrites that by cluster.
    pub(super) fn is_split(&self) -> bool {
        self.upstream.targets.len() > 1 && self.upstream.targets.iter().any(|target| target.https)
    }

    /// The names and targets of the clusters.
    pub(super) fn clusters(&self) -> Vec<(String, &[Target])> {
        let targets = self.upstream.targets.as_slice();
        if !self.is_split() {
            return vec![(self.cluster.clone(), targets)];
        }
        let numbered = targets.chunks(1).enumerate();
        numbered.map(|(index, target)| (format!("{}.{}", self.cluster, index + 1), target)).collect()
    }
}
