//! The template files that handlers name.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tollbell_core::config::raw::Named;

use super::source::At;

/// The built-in templates of tollbell, under Tyk's names.
const BUILT_IN: [&str; 2] = ["default_webhook.json", "monitor_template.json"];

/// The folders of templates, and the templates that were found.
pub(super) struct Templates {
    folders: Vec<PathBuf>,
    found: RefCell<BTreeMap<String, String>>,
}

impl Templates {
    /// If `given` is set, only that folder is searched; otherwise `conf`, the folder of tyk.conf, and its
    /// `template_path`.
    pub(super) fn new(given: Option<&Path>, conf: &Path, template_path: &str) -> Self {
        // A file name without a folder means the current folder, and an error must name one.
        let conf = if conf.as_os_str().is_empty() { Path::new(".") } else { conf };
        let folders = match given {
            Some(given) => vec![given.to_owned()],
            None if template_path.is_empty() => vec![conf.to_owned()],
            None => vec![conf.to_owned(), conf.join(template_path)],
        };
        Templates { folders, found: RefCell::default() }
    }

    /// The name for a `template_path`. A template that was found is kept. A missing template is an error.
    pub(super) fn resolve(&self, at: &At<'_>) -> Option<String> {
        let name = at.words();
        if name.is_empty() {
            return None;
        }
        if let Some(file) = self.find(name) {
            match fs::read_to_string(&file) {
                Ok(text) => {
                    self.found.borrow_mut().insert(name.to_owned(), text);
                    at.carried();
                    return Some(name.to_owned());
                }
                Err(error) => at.error(format!("the template {} cannot be read: {error}", file.display())),
            }
            return None;
        }
        let file_name = Path::new(name).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if BUILT_IN.contains(&file_name.as_str()) {
            let built_in = format!("templates/{file_name}");
            at.changed(format!("{built_in}, which tollbell has built in, because there is no such file"));
            return Some(built_in);
        }
        let looked = self.folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>();
        at.error(format!("the template {name:?} is not in {}; --templates names its folder", looked.join(" or ")));
        None
    }

    /// Tyk's paths are relative to its working directory, or absolute on its machine. Here the end of a path counts.
    fn find(&self, name: &str) -> Option<PathBuf> {
        let parts: Vec<_> = Path::new(name).components().collect();
        let ends = (0..parts.len()).map(|start| parts.iter().skip(start).collect::<PathBuf>());
        let ends: Vec<PathBuf> = ends.collect();
        let candidates = self.folders.iter().flat_map(|folder| ends.iter().map(move |end| folder.join(end)));
        candidates.into_iter().find(|file| file.is_file())
    }

    /// The templates by name.
    pub(super) fn into_named(self) -> Named<String> {
        self.found.into_inner().into_iter().collect()
    }
}
