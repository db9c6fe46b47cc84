//! The built-in emails. Each is written once, as paragraphs and a list of facts, from which the text and the HTML are
//! made. None shows a key.

use super::{GATEWAY_EVENT, KEY_EVENT, PORTAL_EVENT, USER_ACTIVATED, USER_DEACTIVATED, USER_KEY_REQUEST, USER_SIGN_UP};

/// The paragraph of a digest.
const DIGEST: &str = "This email reports {{Meta.Suppressed}} events. The first happened at {{Meta.FirstSeen}}, the last at \
                      {{Meta.LastSeen}}.";

/// The end of that paragraph in an email about a gateway event, whose digest also has the first event's details.
const OF_THE_FIRST: &str = " The other details are those of the first event.";

/// The list of crossed thresholds in a digest, with the markup around the list and around each item.
fn crossings([begin, before, after, end]: [&str; 4]) -> String {
    let who = "{{#if (eq Subject \"organisation\")}}organisation {{OrgID}}\
               {{else}}{{#if Alias}}{{Alias}}{{else}}{{Key}}{{/if}}{{#if OrgID}} of {{OrgID}}{{/if}}{{/if}}";
    format!(
        "{{{{#if Meta.Crossings}}}}{begin}{{{{#each Meta.Crossings}}}}{before}{who}: {{{{TriggerLimit}}}} % \
         ({{{{Used}}}} of {{{{Max}}}}){after}{{{{/each}}}}\
         {{{{#if Meta.Unnamed}}}}{before}and {{{{Meta.Unnamed}}}} more{after}{{{{/if}}}}{end}{{{{/if}}}}"
    )
}

/// Combines a template for digests of management events, which contain only their number and times, with one for all
/// other events.
fn either(of_management: &str, of_others: &str) -> String {
    format!("{{{{#if (or data.suppressed Message.Suppressed)}}}}{of_management}{{{{else}}}}{of_others}{{{{/if}}}}")
}

/// A built-in email.
pub(super) struct Builtin {
    pub(super) name: &'static str,
    /// The template of the subject.
    subject: &'static str,
    /// The paragraphs, as templates for both text and HTML: no markup, and no character that needs escaping in HTML.
    /// Empty ones are left out.
    paragraphs: &'static [&'static str],
    /// Details: a label, and the variable that is shown if it has a value.
    facts: &'static [(&'static str, &'static str)],
}

impl Builtin {
    /// The template of the subject.
    pub(super) fn subject(&self) -> String {
        let count = "{{#if Meta.Suppressed}}{{Meta.Suppressed}} events: {{/if}}";
        either("{{Meta.Suppressed}} events: {{Type}}", &format!("{count}{}", self.subject))
    }

    /// The template of the plain text.
    pub(super) fn text(&self) -> String {
        let mut out = self.paragraphs.join("\n\n");
        out.push_str(&format!("\n\n{{{{#if Meta.Suppressed}}}}{DIGEST}{OF_THE_FIRST}\n\n{{{{/if}}}}"));
        out.push_str(&crossings(["", "- ", "\n", "\n"]));
        for (label, variable) in self.facts {
            out.push_str(&format!("{{{{#if {variable}}}}}{label}: {{{{{variable}}}}}\n{{{{/if}}}}"));
        }
        either(DIGEST, &out)
    }

    /// The template of the HTML.
    pub(super) fn html(&self) -> String {
        let mut paragraphs: String = self.paragraphs.iter().map(|text| format!("<p>{text}</p>\n")).collect();
        paragraphs.push_str(&format!("{{{{#if Meta.Suppressed}}}}<p>{DIGEST}{OF_THE_FIRST}</p>\n{{{{/if}}}}"));
        paragraphs.push_str(&crossings(["<ul>\n", "<li>", "</li>\n", "</ul>\n"]));
        let row = |(label, variable): &(&str, &str)| {
            format!(
                "{{{{#if {variable}}}}}<tr><td style=\"padding-right:1em;color:#555\">{label}</td>\
                 <td>{{{{{variable}}}}}</td></tr>\n{{{{/if}}}}"
            )
        };
        let rows: String = self.facts.iter().map(row).collect();
        let content = either(&format!("<p>{DIGEST}</p>\n"), &format!("{paragraphs}<table>\n{rows}</table>\n"));
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title></head>\n\
             <body style=\"font-family:sans-serif;line-height:1.4\">\n{content}\
             </body></html>\n",
            self.subject()
        )
    }
}

/// The action as a past participle.
macro_rules! done {
    () => {
        "{{#if (go_eq action \"add\" \"added\" \"created\")}}created\
         {{else if (go_eq action \"update\" \"updated\" \"modified\")}}changed\
         {{else if (go_eq action \"delete\" \"deleted\")}}removed{{else}}{{action}}{{/if}}"
    };
}

/// The result of a key request.
macro_rules! request_is {
    () => {
        "{{#if (eq action \"deleted\")}}removed{{else}}{{action}}{{/if}}"
    };
}

const APP: (&str, &str) = ("Application", "Message.AppID");
const PLAN: (&str, &str) = ("Plan", "Message.PlanID");
const PRODUCTS: (&str, &str) = ("Products", "Message.ProductIDs");
const REQUEST: (&str, &str) = ("Request", "Message.ID");
const STATUS: (&str, &str) = ("Status", "Message.Status");
const TIME: (&str, &str) = ("Time", "TimeStamp");
const ORG: (&str, &str) = ("Organisation", "OrgID");

/// The greeting of a portal's user. The event may not contain the name.
const GREETING: &str = "Hello{{#if Message.First}} {{Message.First}}{{/if}},";

/// The owner of the quota. Both developers and the operator of the gateway get this email.
macro_rules! quota {
    () => {
        "the quota of {{#unless Meta.Key}}organisation {{Meta.OrgID}}{{else}}{{#if Meta.Alias}}API key \
         {{Meta.Alias}}{{else}}an API key{{/if}}{{/unless}}"
    };
}

/// All built-in emails.
pub(super) const ALL: [Builtin; 16] = [
    Builtin {
        name: "api_event",
        subject: concat!("API {{data.api_definition.name}} was ", done!()),
        paragraphs: &[concat!("An API was ", done!(), ".")],
        facts: &[("Name", "data.api_definition.name"), ("API", "data.api_definition.api_id"), ORG, TIME],
    },
    Builtin {
        name: KEY_EVENT,
        subject: concat!("An API key was ", done!()),
        paragraphs: &[concat!("An API key was ", done!(), ".")],
        facts: &[
            ("Alias", "data.data.alias"),
            ("Alias", "data.alias"),
            ("Hash of the key", "data.key_hash"),
            ("Policies", "data.data.apply_policies"),
            ORG,
            TIME,
        ],
    },
    Builtin {
        name: "key_request_event",
        subject: concat!("A key request was ", request_is!()),
        paragraphs: &[concat!("A developer's request for an API key was ", request_is!(), ".")],
        facts: &[
            ("Developer", "data.portal_developer.email"),
            ("API", "data.catalogue_entry.name"),
            ("Request", "data.id"),
            ("Plan", "data.for_plan"),
            ORG,
            TIME,
        ],
    },
    Builtin {
        name: "password_reset_event",
        subject: "A password was reset",
        paragraphs: &["The password of a dashboard user was reset, or a reset was requested."],
        facts: &[("User", "data.email"), ("User", "data.email_address"), ORG, TIME],
    },
    Builtin {
        name: "portal_password_reset_event",
        subject: "A developer's password was reset",
        paragraphs: &["The password of a portal developer was reset, or a reset was requested."],
        facts: &[("Developer", "data.email"), ORG, TIME],
    },
    Builtin {
        name: "TriggerExceeded",
        subject: concat!("{{Meta.TriggerLimit}}% of ", quota!(), " is used"),
        paragraphs: &[
            "Hello,",
            concat!(
                "The use of ",
                quota!(),
                " has reached {{Meta.TriggerLimit}}%. When the quota is used up, the gateway refuses requests until it renews."
            ),
        ],
        facts: &[
            ("Threshold in percent", "Meta.TriggerLimit"),
            ("Use in percent", "Meta.UsagePercentage"),
            ("API", "Meta.APIID"),
            ("Organisation", "Meta.OrgID"),
            ("Key", "Fingerprint"),
            TIME,
        ],
    },
    Builtin {
        name: GATEWAY_EVENT,
        subject: "{{Type}}{{#if Meta.Message}}: {{Meta.Message}}{{/if}}{{#if Meta.APIID}} ({{Meta.APIID}}){{/if}}",
        paragraphs: &["The gateway reports {{Type}}{{#if Meta.Message}}: {{Meta.Message}}{{/if}}."],
        facts: &[
            ("API", "Meta.APIID"),
            ("Path", "Meta.Path"),
            ("Client", "Meta.Origin"),
            ("Key", "Fingerprint"),
            ("Alias", "Meta.Alias"),
            ("Organisation", "Meta.OrgID"),
            ("Reason", "Meta.Reason"),
            ("Cluster", "Meta.Cluster"),
            ("Checked", "Meta.HostInfo.CheckURL"),
            ("Status", "Meta.HostInfo.ResponseCode"),
            TIME,
        ],
    },
    Builtin {
        name: PORTAL_EVENT,
        subject: "Developer portal: {{Type}}{{#if Message.Name}} {{Message.Name}}{{/if}}",
        paragraphs: &["The developer portal reports {{Type}}."],
        facts: &[
            ("Id", "Message.ID"),
            ("Name", "Message.Name"),
            ("E-mail", "Message.Email"),
            ("First name", "Message.First"),
            ("Last name", "Message.Last"),
            ("Administrator", "Message.AdminEmail"),
            ("Organisation", "Message.OrgID"),
            APP,
            ("User", "Message.UserID"),
            ("By user", "Message.ByUser"),
            STATUS,
            ("Created", "Message.CreatedAt"),
            TIME,
        ],
    },
    Builtin {
        name: "UserRegistered",
        subject: "Developer portal: {{#if Message.Email}}{{Message.Email}}{{else}}a user{{/if}} has signed up",
        paragraphs: &["A user has signed up to the developer portal, or was added to it."],
        facts: &[
            ("Id", "Message.ID"),
            ("E-mail", "Message.Email"),
            ("First name", "Message.First"),
            ("Last name", "Message.Last"),
            ("Organisation", "Message.OrgID"),
            STATUS,
            TIME,
        ],
    },
    Builtin {
        name: "AccessRequestCreated",
        subject: "Developer portal: access was requested",
        paragraphs: &[
            "Access to APIs was requested in the developer portal.{{#if (eq Message.Status \"approved\")}} The request \
             is already approved.{{/if}}",
        ],
        facts: &[REQUEST, APP, PLAN, PRODUCTS, STATUS, TIME],
    },
    Builtin {
        name: "AccessRequestApproved",
        subject: "Developer portal: a request for access was approved",
        paragraphs: &["A request for access to APIs was approved."],
        facts: &[REQUEST, APP, PLAN, PRODUCTS, TIME],
    },
    Builtin {
        name: "AccessRequestRejected",
        subject: "Developer portal: a request for access was declined",
        paragraphs: &["A request for access to APIs was declined."],
        facts: &[REQUEST, APP, PLAN, PRODUCTS, TIME],
    },
    Builtin {
        name: USER_SIGN_UP,
        subject: "Welcome to our developer portal",
        paragraphs: &[
            GREETING,
            "Welcome to our developer portal. {{#if (eq Message.Status \"active\")}}Your account is ready: you can \
             sign in now.{{else if (eq Message.Status \"inactive\")}}Your account has been registered. We will write to \
             you when it is active.{{else}}Your account has been registered.{{/if}}",
        ],
        facts: &[("Account", "Message.Email")],
    },
    Builtin {
        name: USER_ACTIVATED,
        subject: "Your account is active",
        paragraphs: &[GREETING, "Your account with our developer portal is active. You can sign in now."],
        facts: &[("Account", "Message.Email"), TIME],
    },
    Builtin {
        name: USER_DEACTIVATED,
        subject: "Your account has been deactivated",
        paragraphs: &[GREETING, "Your account with our developer portal is no longer active. You cannot sign in."],
        facts: &[("Account", "Message.Email"), TIME],
    },
    Builtin {
        name: USER_KEY_REQUEST,
        subject: "{{#if (eq action \"submitted\")}}We received your request for an API key{{else if (eq action \
                  \"approved\")}}Your request for an API key was approved{{else if (eq action \"deleted\")}}Your \
                  request for an API key was removed{{else}}Your request for an API key was changed{{/if}}",
        paragraphs: &[
            "Hello,",
            "{{#if (eq action \"submitted\")}}We received your request for an API key. We will write to you when a \
             decision is made.{{else if (eq action \"approved\")}}Your request for an API key was approved. You can find the key in \
             the developer portal.{{else if (eq action \"deleted\")}}Your request for an API key was declined or \
             removed.{{else}}Your request for an API key was changed.{{/if}}",
        ],
        facts: &[
            ("API", "data.catalogue_entry.name"),
            ("Request", "data.id"),
            ("Account", "data.portal_developer.email"),
            TIME,
        ],
    },
];
