//! The state of the probe. No borrow outlives a function, so that a host which enters the guest during a hostcall is
//! reported, and the probe does not panic.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::script::{Op, Script};

#[derive(Default)]
struct State {
    contexts: BTreeMap<u32, Context>,
    /// The scripts of the root contexts.
    scripts: BTreeMap<u32, Rc<Script>>,
    vm_script: Rc<Script>,
    turns: BTreeMap<(u32, &'static str), u32>,
    variables: BTreeMap<String, i64>,
    ordinals: BTreeMap<(char, u32), usize>,
    /// Calls from the time before the first script is known.
    early: Vec<String>,
}

#[derive(Default)]
struct Context {
    root: u32,
    path: Option<String>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

fn with<T: Default>(work: impl FnOnce(&mut State) -> T) -> T {
    STATE.with(|state| state.try_borrow_mut().map(|mut state| work(&mut state)).unwrap_or_default())
}

/// Records a context. It is a root context if `parent` is 0.
pub(crate) fn create_context(id: u32, parent: u32) {
    let root = if parent == 0 { id } else { parent };
    with(|state| state.contexts.insert(id, Context { root, path: None }));
}

/// Sets the script of the VM, or with `root` that of a root context.
pub(crate) fn set_script(root: Option<u32>, script: Script) {
    let script = Rc::new(script);
    with(|state| match root {
        Some(root) => drop(state.scripts.insert(root, script)),
        None => state.vm_script = script,
    });
}

/// Keeps a line until it is known whether a script traces.
pub(crate) fn hold(line: String) {
    with(|state| state.early.push(line));
}

/// The kept lines, if `context` traces.
pub(crate) fn release(context: u32) -> Vec<String> {
    if is_traced(context) { with(|state| std::mem::take(&mut state.early)) } else { Vec::new() }
}

fn scripts(state: &State, context: u32) -> [Option<Rc<Script>>; 2] {
    let root = state.contexts.get(&context).map_or(context, |context| context.root);
    [Some(Rc::clone(&state.vm_script)), state.scripts.get(&root).cloned()]
}

/// True if every callback in `context` is logged.
pub(crate) fn is_traced(context: u32) -> bool {
    with(|state| scripts(state, context).iter().flatten().any(|script| script.trace))
}

/// Counts a callback in a context, and finds the sections for it. `path` is called only if a section needs it.
pub(crate) fn sections(context: u32, callback: &'static str, path: impl Fn() -> Option<String>) -> Vec<Rc<Vec<Op>>> {
    let (scripts, turn, known) = with(|state| {
        let turn = state.turns.entry((context, callback)).or_default();
        *turn = turn.saturating_add(1);
        let turn = *turn;
        let known = state.contexts.get(&context).and_then(|context| context.path.clone());
        (scripts(state, context), turn, known)
    });
    let wants_path = scripts.iter().flatten().flat_map(|script| &script.sections).any(|section| section.path.is_some());
    let path = if wants_path { known.or_else(path) } else { None };
    with(|state| state.contexts.get_mut(&context).map(|context| context.path.clone_from(&path)));
    let sections = scripts.iter().flatten().flat_map(|script| &script.sections);
    sections
        .filter(|section| section.is_for(callback))
        .filter(|section| section.turn.is_none_or(|wanted| wanted == turn))
        .filter(|section| section.path.is_none() || section.path == path)
        .map(|section| Rc::clone(&section.ops))
        .collect()
}

/// Stores a number for the VM's life.
pub(crate) fn set_variable(name: &str, value: i64) {
    with(|state| state.variables.insert(name.to_owned(), value));
}

/// The stored number with this name.
pub(crate) fn variable(name: &str) -> Option<i64> {
    with(|state| state.variables.get(name).copied())
}

/// The index of this value among the different values of a kind, from 1.
pub(crate) fn ordinal(kind: char, value: u32) -> usize {
    with(|state| {
        let next = state.ordinals.keys().filter(|(known, _)| *known == kind).count().saturating_add(1);
        *state.ordinals.entry((kind, value)).or_insert(next)
    })
}
