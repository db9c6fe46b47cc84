//! The open blocks of a template, in Go's language and in Handlebars, and the tags that close them.

use crate::dialect::Dialect;
use crate::emit::{Scope, operand, shows_watched};
use crate::parser::{Control, Expr, Statement};

/// Handlebars renders nested blocks by recursion, so the depth is limited.
const MAX_DEPTH: usize = 100;

/// The rounds of nested loops multiply: three loops over all data make some ten thousand rounds.
const MAX_LOOPS: usize = 3;

/// A kind of block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// The template itself.
    All,
    If,
    Range,
    With,
    /// A block of Handlebars; `true` for a loop.
    Handlebars(bool),
}

impl Opened {
    fn go_name(self) -> Option<&'static str> {
        match self {
            Opened::If => Some("if"),
            Opened::Range => Some("range"),
            Opened::With => Some("with"),
            Opened::All | Opened::Handlebars(_) => None,
        }
    }
}

#[derive(Debug)]
struct Block {
    opened: Opened,
    /// The helper of a Handlebars block.
    helper: String,
    /// The position in the user's text.
    place: usize,
    /// The tags that its end becomes, the outermost first.
    closers: Vec<&'static str>,
    /// The number of these tags at the beginning of the current branch.
    before_branch: usize,
    /// The conditions of `else` in Handlebars, which nest, too.
    chained: usize,
    /// The number of variables around the block, and around the current branch.
    variables: usize,
    branch_variables: usize,
    has_else: bool,
}

/// The open blocks.
#[derive(Debug)]
pub(crate) struct Blocks {
    open: Vec<Block>,
    scope: Scope,
}

impl Blocks {
    pub(crate) fn new(dialect: &'static Dialect) -> Self {
        let mut blocks = Blocks { open: Vec::new(), scope: Scope { dialect, variables: Vec::new() } };
        blocks.push(Opened::All, 0);
        blocks
    }

    /// The visible variables.
    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(crate) fn in_go_block(&self) -> bool {
        self.open.last().is_some_and(|block| block.opened.go_name().is_some())
    }

    fn push(&mut self, opened: Opened, place: usize) {
        let variables = self.scope.variables.len();
        self.open.push(Block {
            opened,
            helper: String::new(),
            place,
            closers: Vec::new(),
            before_branch: 0,
            chained: 0,
            variables,
            branch_variables: variables,
            has_else: false,
        });
    }

    /// Opens a block of Handlebars.
    pub(crate) fn open_handlebars(&mut self, helper: &str, place: usize) -> Result<(), String> {
        self.open(Opened::Handlebars(helper == "each"), place)?;
        if let Some(block) = self.open.last_mut() {
            helper.clone_into(&mut block.helper);
        }
        Ok(())
    }

    /// Opens a block.
    fn open(&mut self, opened: Opened, place: usize) -> Result<(), String> {
        self.push(opened, place);
        self.check_depth()
    }

    fn check_depth(&self) -> Result<(), String> {
        let is_loop = |block: &&Block| matches!(block.opened, Opened::Range | Opened::Handlebars(true));
        if self.open.iter().filter(is_loop).count() > MAX_LOOPS {
            return Err(format!("loops can be nested {MAX_LOOPS} deep"));
        }
        let depth: usize = self.open.iter().map(|block| block.closers.len().max(1).saturating_add(block.chained)).sum();
        if depth <= MAX_DEPTH {
            return Ok(());
        }
        Err(format!("blocks, branches and variables can be nested {MAX_DEPTH} deep"))
    }

    /// Adds the tags for a statement to `tags`. Returns whether it can show a watched field.
    pub(crate) fn go(&mut self, statement: Statement, place: usize, tags: &mut Vec<String>) -> Result<bool, String> {
        let watched = match &statement {
            Statement::Print(value) | Statement::Declare(_, value) | Statement::Range(_, _, value) => {
                shows_watched(value, self.scope.dialect)
            }
            Statement::If(control)
            | Statement::ElseIf(control)
            | Statement::With(control)
            | Statement::ElseWith(control) => shows_watched(&control.condition, self.scope.dialect),
            Statement::Else | Statement::End => false,
        };
        match statement {
            Statement::Print(_) => {}
            Statement::Declare(name, value) => self.declare(name, &value, tags)?,
            Statement::If(control) => {
                self.open(Opened::If, place)?;
                self.branch("if", control, tags)?;
            }
            Statement::With(control) => {
                self.open(Opened::With, place)?;
                self.branch("with", control, tags)?;
            }
            Statement::Range(index, element, over) => {
                self.open(Opened::Range, place)?;
                let over = operand(&over, &self.scope)?;
                let element = element.unwrap_or_else(|| "_".to_owned());
                let index = index.unwrap_or_else(|| "_".to_owned());
                tags.push(format!("#go_range {over} as |${element} ${index}|"));
                self.opened("/go_range");
                self.scope.variables.extend([index, element]);
                self.begin_branch();
            }
            Statement::Else => self.go_else(None, tags)?,
            Statement::ElseIf(control) => {
                self.go_else(Some("if"), tags)?;
                self.branch("if", control, tags)?;
            }
            Statement::ElseWith(control) => {
                self.go_else(Some("with"), tags)?;
                self.branch("with", control, tags)?;
            }
            Statement::End => match self.open.pop_if(|block| block.opened.go_name().is_some()) {
                Some(block) => {
                    tags.extend(block.closers.iter().rev().map(|&closer| closer.to_owned()));
                    self.scope.variables.truncate(block.variables);
                }
                None => return Err(self.nothing_to("end")),
            },
        }
        self.check_depth()?;
        Ok(watched)
    }

    fn nothing_to(&self, word: &str) -> String {
        match self.open.last() {
            Some(Block { opened: Opened::Handlebars(_), .. }) => format!(
                "{{{{{word}}}}} is Go's, but its block was opened in Handlebars and ends with \
                 {{{{/…}}}}"
            ),
            _ => format!("no block is open that {{{{{word}}}}} could belong to"),
        }
    }

    fn opened(&mut self, closer: &'static str) {
        if let Some(block) = self.open.last_mut() {
            block.closers.push(closer);
        }
    }

    fn begin_branch(&mut self) {
        let variables = self.scope.variables.len();
        if let Some(block) = self.open.last_mut() {
            block.before_branch = block.closers.len();
            block.branch_variables = variables;
        }
    }

    fn declare(&mut self, name: String, value: &Expr, tags: &mut Vec<String>) -> Result<(), String> {
        tags.push(format!("#go_let {} as |${name}|", operand(value, &self.scope)?));
        self.opened("/go_let");
        self.scope.variables.push(name);
        Ok(())
    }

    /// Starts an `if` or `with` in a block that is already open.
    fn branch(&mut self, word: &str, control: Control, tags: &mut Vec<String>) -> Result<(), String> {
        let condition = match control.variable {
            Some(name) => {
                let variable = Expr::Variable(name.clone());
                self.declare(name, &control.condition, tags)?;
                variable
            }
            None => control.condition,
        };
        tags.push(format!("#go_{word} {}", operand(&condition, &self.scope)?));
        self.opened(if word == "if" { "/go_if" } else { "/go_with" });
        self.begin_branch();
        Ok(())
    }

    fn go_else(&mut self, then: Option<&str>, tags: &mut Vec<String>) -> Result<(), String> {
        let Some(block) = self.open.last_mut().filter(|block| block.opened.go_name().is_some()) else {
            return Err(self.nothing_to("else"));
        };
        if block.has_else {
            return Err("the block has its {{else}} already".to_owned());
        }
        match (then, block.opened.go_name()) {
            (None, _) => block.has_else = true,
            (Some(then), Some(name)) if then != name => {
                return Err(format!(
                    "in a block of {{{{{name}}}}} there is no {{{{else {then}}}}}: put the {then} into {{{{else}}}}"
                ));
            }
            _ => {}
        }
        tags.extend(block.closers.drain(block.before_branch..).rev().map(str::to_owned));
        tags.push("else".to_owned());
        self.scope.variables.truncate(block.branch_variables);
        Ok(())
    }

    /// Handles a closing tag of Handlebars: adds the tags that must come before it.
    pub(crate) fn close_handlebars(&mut self, inner: &str, tags: &mut Vec<String>) -> Result<(), String> {
        self.end_branch(inner, tags)?;
        let closing = inner.trim_start_matches('/').trim();
        match self.open.pop_if(|block| matches!(block.opened, Opened::Handlebars(_))) {
            Some(block) if block.helper == closing => Ok(()),
            Some(Block { helper, .. }) => {
                Err(format!("{{{{/{closing}}}}} was found where {{{{/{helper}}}}} must close {{{{#{helper}}}}}"))
            }
            None => Err(format!("no block is open that {{{{/{closing}}}}} could close")),
        }
    }

    /// Handles an `else` of Handlebars: adds the tags that must come before it.
    pub(crate) fn else_handlebars(&mut self, inner: &str, tags: &mut Vec<String>) -> Result<(), String> {
        self.end_branch(inner, tags)?;
        match self.open.last_mut() {
            Some(Block { opened: Opened::Handlebars(is_loop), chained, .. }) => {
                if let Some(then) = inner.split_ascii_whitespace().nth(1) {
                    *chained = chained.saturating_add(1);
                    *is_loop |= then == "each";
                }
                self.check_depth()
            }
            _ => Err(format!("no block is open that {{{{{inner}}}}} could belong to")),
        }
    }

    /// Ends a branch of Handlebars: adds the tags that must come before.
    fn end_branch(&mut self, inner: &str, tags: &mut Vec<String>) -> Result<(), String> {
        let Some(block) = self.open.last_mut() else { return Ok(()) };
        if let Some(name) = block.opened.go_name() {
            return Err(format!(
                "{{{{{inner}}}}} is Handlebars', but its block was opened with {{{{{name}}}}} and \
                 ends with {{{{end}}}}"
            ));
        }
        if matches!(block.opened, Opened::Handlebars(_)) {
            tags.extend(block.closers.drain(..).rev().map(str::to_owned));
            self.scope.variables.truncate(block.variables);
        }
        Ok(())
    }

    /// Ends the template: adds the closing tags.
    ///
    /// # Errors
    /// A block has no end. The error has its position.
    pub(crate) fn end(&mut self, tags: &mut Vec<String>) -> Result<(), (String, usize)> {
        for block in self.open.iter().rev() {
            if let Some(name) = block.opened.go_name() {
                return Err((format!("{{{{{name}}}}} has no {{{{end}}}}"), block.place));
            }
            if let Opened::Handlebars(_) = block.opened {
                let helper = &block.helper;
                return Err((format!("{{{{#{helper}}}}} has no {{{{/{helper}}}}}"), block.place));
            }
            tags.extend(block.closers.iter().rev().map(|&closer| closer.to_owned()));
        }
        Ok(())
    }
}
