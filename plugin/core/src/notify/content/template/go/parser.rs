//! From the tokens of one tag to a statement.

use std::slice::Iter;

use serde_json::Value;

use super::MAX_NESTING;
use super::lexer::{Kind, Token, tokens};
use crate::notify::content::template::functions::{FUNCTIONS, Function, printf};

/// What one tag says.
#[derive(Debug)]
pub(in super::super) enum Statement {
    Print(Expr),
    /// `$x := …`
    Declare(String, Expr),
    If(Control),
    With(Control),
    /// `range`, with the variables of index and element.
    Range(Option<String>, Option<String>, Expr),
    Else,
    ElseIf(Control),
    ElseWith(Control),
    End,
}

/// The condition of `if` or `with`, and the variable that holds it.
#[derive(Debug)]
pub(in super::super) struct Control {
    pub(in super::super) variable: Option<String>,
    pub(in super::super) condition: Expr,
}

#[derive(Debug)]
pub(in super::super) enum Expr {
    /// `.`
    Dot,
    /// `$`
    Root,
    Variable(String),
    Fields(Box<Expr>, Vec<String>),
    Constant(Value),
    Call(&'static Function, Vec<Expr>),
}

/// Reads what stands between the braces.
pub(in super::super) fn parse(inner: &str) -> Result<Statement, String> {
    let tokens = tokens(inner)?;
    let (first, after) = match tokens.split_first() {
        Some((Token { kind: Kind::Word(word), .. }, after)) => (word.as_str(), after),
        Some(_) => ("", tokens.as_slice()),
        None => return Err("a tag says nothing".to_owned()),
    };
    match first {
        "if" => Ok(Statement::If(control(after, "if")?)),
        "with" => Ok(Statement::With(control(after, "with")?)),
        "range" => range(after),
        "end" if after.is_empty() => Ok(Statement::End),
        "end" => Err("{{end}} takes nothing".to_owned()),
        "else" => match after.split_first() {
            None => Ok(Statement::Else),
            Some((Token { kind: Kind::Word(word), .. }, after)) if word == "if" => {
                Ok(Statement::ElseIf(control(after, "else if")?))
            }
            Some((Token { kind: Kind::Word(word), .. }, after)) if word == "with" => {
                Ok(Statement::ElseWith(control(after, "else with")?))
            }
            Some(_) => Err("{{else}} takes nothing, or `if` or `with` and a value".to_owned()),
        },
        "define" | "template" | "block" => {
            Err(format!("{{{{{first}}}}} cannot be translated: write the text out where it is used"))
        }
        "break" | "continue" => {
            Err(format!("{{{{{first}}}}} cannot be translated: put what it skips into an {{{{if}}}}"))
        }
        _ => print_or_declare(&tokens),
    }
}

fn print_or_declare(tokens: &[Token]) -> Result<Statement, String> {
    match declaration(tokens)? {
        (Some(name), None, after) => Ok(Statement::Declare(name, pipeline_to_end(after)?)),
        (_, Some(_), _) => Err("only {{range}} declares two variables".to_owned()),
        _ => Ok(Statement::Print(pipeline_to_end(tokens)?)),
    }
}

fn control(tokens: &[Token], word: &str) -> Result<Control, String> {
    let (variable, second, after) = declaration(tokens)?;
    if second.is_some() {
        return Err("only {{range}} declares two variables".to_owned());
    }
    if after.is_empty() {
        return Err(format!("{{{{{word}}}}} needs a value"));
    }
    Ok(Control { variable, condition: pipeline_to_end(after)? })
}

fn range(tokens: &[Token]) -> Result<Statement, String> {
    let (first, second, after) = declaration(tokens)?;
    if after.is_empty() {
        return Err("{{range}} needs a value".to_owned());
    }
    let over = pipeline_to_end(after)?;
    if matches!(over, Expr::Constant(_)) {
        return Err("{{range}} goes through a list or a map, not through a constant".to_owned());
    }
    Ok(match second {
        Some(element) => Statement::Range(first, Some(element), over),
        None => Statement::Range(None, first, over),
    })
}

type Declaration<'t> = (Option<String>, Option<String>, &'t [Token]);

/// The variables before `:=`, and what comes after it.
fn declaration(tokens: &[Token]) -> Result<Declaration<'_>, String> {
    let variable = |at: usize| match tokens.get(at).map(|token| &token.kind) {
        Some(Kind::Variable(name, fields)) if fields.is_empty() && !name.is_empty() => Some(name.clone()),
        _ => None,
    };
    let kind = |at: usize| tokens.get(at).map(|token| &token.kind);
    let after = |at: usize| tokens.get(at..).unwrap_or_default();
    let (first, second, operator) = match (variable(0), kind(1), variable(2)) {
        (Some(first), Some(Kind::Comma), Some(second)) => (first, Some(second), 3),
        (Some(first), _, _) => (first, None, 1),
        _ => return Ok((None, None, tokens)),
    };
    match kind(operator) {
        Some(Kind::Declare) => Ok((Some(first), second, after(operator.saturating_add(1)))),
        Some(Kind::Assign) => Err(format!(
            "${first} = … cannot be translated: a variable keeps its value; declare another one with := in the \
             branch that needs it"
        )),
        _ => Ok((None, None, tokens)),
    }
}

fn pipeline_to_end(tokens: &[Token]) -> Result<Expr, String> {
    let mut parser = Parser { tokens: tokens.iter(), depth: 0 };
    let value = parser.pipeline()?;
    match parser.tokens.next() {
        None => Ok(value),
        Some(Token { kind: Kind::Close, .. }) => Err("a parenthesis is closed that was not opened".to_owned()),
        Some(Token { kind: Kind::Declare | Kind::Assign, .. }) => {
            Err("a variable is declared at the beginning of a tag, as {{$x := .Type}}".to_owned())
        }
        Some(_) => Err("a comma stands only between the variables of {{range}}".to_owned()),
    }
}

struct Parser<'t> {
    tokens: Iter<'t, Token>,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t Token> {
        self.tokens.as_slice().first()
    }

    /// `a | f x` is `f x a`.
    fn pipeline(&mut self) -> Result<Expr, String> {
        let mut stages = 0_usize;
        let mut value = self.command(None)?;
        while matches!(self.peek(), Some(Token { kind: Kind::Pipe, .. })) {
            self.tokens.next();
            stages = stages.saturating_add(1);
            if self.depth.saturating_add(stages) > MAX_NESTING {
                return Err("a pipeline has too many stages".to_owned());
            }
            value = self.command(Some(value))?;
        }
        Ok(value)
    }

    /// One stage of a pipeline, with what the stage before it gave.
    fn command(&mut self, piped: Option<Expr>) -> Result<Expr, String> {
        if let Some(Token { kind: Kind::Word(name), .. }) = self.peek() {
            self.tokens.next();
            let function = function(name)?;
            let mut arguments = self.arguments()?;
            arguments.extend(piped);
            return call(function, arguments);
        }
        let value = self.operand()?;
        if piped.is_some() {
            return Err("after | stands a function, as in {{.Type | printf \"%s\"}}".to_owned());
        }
        if !self.arguments()?.is_empty() {
            return Err(match value {
                Expr::Fields(..) => "a field is no function, and methods cannot be called; for times there is \
                     {{as_rfc3339 .TimeStamp}}"
                    .to_owned(),
                _ => "a value is followed by another: functions come first, as in {{eq .Type \"HostDown\"}}".to_owned(),
            });
        }
        Ok(value)
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, String> {
        let mut arguments = Vec::new();
        while let Some(token) = self.peek() {
            match &token.kind {
                Kind::Pipe | Kind::Close | Kind::Comma | Kind::Declare | Kind::Assign => break,
                _ if !token.apart => return Err("between two values a space is missing".to_owned()),
                Kind::Word(name) => {
                    self.tokens.next();
                    arguments.push(call(function(name)?, Vec::new())?);
                }
                _ => arguments.push(self.operand()?),
            }
        }
        Ok(arguments)
    }

    fn operand(&mut self) -> Result<Expr, String> {
        let token = self.tokens.next().ok_or("a value is missing")?;
        match &token.kind {
            Kind::Dot => Ok(Expr::Dot),
            Kind::Fields(names) => Ok(Expr::Fields(Box::new(Expr::Dot), names.clone())),
            Kind::Variable(name, fields) => {
                let base = if name.is_empty() { Expr::Root } else { Expr::Variable(name.clone()) };
                Ok(if fields.is_empty() { base } else { Expr::Fields(Box::new(base), fields.clone()) })
            }
            Kind::Constant(value) => Ok(Expr::Constant(value.clone())),
            Kind::Open => self.parenthesis(),
            _ => Err("a value is missing".to_owned()),
        }
    }

    fn parenthesis(&mut self) -> Result<Expr, String> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_NESTING {
            return Err("parentheses are nested too deep".to_owned());
        }
        let value = self.pipeline()?;
        if !matches!(self.tokens.next(), Some(Token { kind: Kind::Close, .. })) {
            return Err("a parenthesis is not closed".to_owned());
        }
        self.depth = self.depth.saturating_sub(1);
        match self.peek() {
            Some(Token { kind: Kind::Fields(names), apart: false }) => {
                self.tokens.next();
                Ok(Expr::Fields(Box::new(value), names.clone()))
            }
            _ => Ok(value),
        }
    }
}

fn function(name: &str) -> Result<&'static Function, String> {
    if let Some(function) = FUNCTIONS.iter().find(|function| function.name == name) {
        return Ok(function);
    }
    if name.starts_with(|c: char| c.is_ascii_uppercase()) {
        return Err(format!("there is no function {name}: a field has a dot before it, as in {{{{.{name}}}}}"));
    }
    if name == "call" {
        return Err("call needs a function among the values, and an event has none".to_owned());
    }
    let names: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
    Err(format!("there is no function {name}; there are {}", names.join(", ")))
}

fn call(function: &'static Function, arguments: Vec<Expr>) -> Result<Expr, String> {
    let Function { name, least, most, .. } = function;
    let count = arguments.len();
    if count < *least || count > *most {
        let wanted = match (least, most) {
            (least, most) if least == most => format!("{least}"),
            (least, &usize::MAX) => format!("{least} or more"),
            (least, most) => format!("{least} to {most}"),
        };
        return Err(format!("{name} takes {wanted} values and gets {count}"));
    }
    if let ("printf", Some(Expr::Constant(format))) = (*name, arguments.first()) {
        let format = format.as_str().ok_or("the first value of printf is its format, a string")?;
        printf::check(format, count.saturating_sub(1))?;
    }
    Ok(Expr::Call(function, arguments))
}
