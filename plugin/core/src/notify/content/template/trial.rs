//! Renders a template before any event does, because Handlebars finds some errors only at rendering.

use go_template::{Branches, Format, excerpt};
use handlebars::{Handlebars, RenderError};

use super::registry;
use crate::base::json;
use crate::base::json::NotJson;
use crate::event::{Event, EventKind};

/// Why a trial failed.
pub(super) enum Failed {
    /// An error while rendering.
    Render(RenderError),
    /// An error while reading. It does not happen to a template that was read before.
    Read(handlebars::TemplateError),
}

/// Renders a template once for each type of event, and once with every branch of every block. So errors that Handlebars
/// finds only at rendering, such as an unknown helper, do not wait for an event. Returns the place of the first output
/// that is not JSON.
pub(super) fn try_out(
    handlebars: &Handlebars<'_>,
    name: &str,
    source: &str,
    format: Format,
) -> Result<Option<String>, Failed> {
    let mut fault = None;
    for kind in EventKind::of_gateway() {
        let event = Event::sample(kind);
        let body = registry::render(handlebars, name, format, event.view()).map_err(Failed::Render)?;
        registry::render(handlebars, name, format, event.stable_view()).map_err(Failed::Render)?;
        if let Err(NotJson { line, column, .. }) = json::parse(body.as_bytes())
            && fault.is_none()
        {
            let excerpt = excerpt(&body, line, column);
            fault = Some(format!("for {}, line {line}, column {column} of the message:{excerpt}", kind.name()));
        }
    }
    let mut every_branch = registry::of(format, Branches::All);
    every_branch.register_template_string(name, source).map_err(Failed::Read)?;
    registry::render(&every_branch, name, format, Event::sample(EventKind::AuthFailure).view())
        .map_err(Failed::Render)?;
    Ok(fault)
}
