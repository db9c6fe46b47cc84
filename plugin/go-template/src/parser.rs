//! Parses the tokens of one tag into a statement.

use std::slice::Iter;

use serde_json::Value;

use crate::MAX_NESTING;
use crate::dialect::Dialect;
use crate::functions::{Function, printf};
use crate::lexer::{Kind, Token, tokens};

/// The statement of one tag.
#[derive(Debug)]
pub(crate) enum Statement {
    Print(Expr),
    /// `$x := …`
    Declare(String, Expr),
    If(Control),
    With(Control),
    /// `range`, with the variables for index and element.
    Range(Option<String>, Option<String>, Expr),
    Else,
    ElseIf(Control),
    ElseWith(Control),
    End,
}

/// The condition of `if` or `with`, and the variable that stores it.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) variable: Option<String>,
    pub(crate) condition: Expr,
}

#[derive(Debug)]
pub(crate) enum Expr {
    /// `.`
    Dot,
    /// `$`
    Root,
    Variable(String),
    Fields(Box<Expr>, Vec<String>),
    Constant(Value),
    Call(&'static Function, Vec<Expr>),
}

/// Parses the content of a tag.
pub(crate) fn parse(inner: &str, dialect: &Dialect) -> Result<Statement, String> {
    let tokens = tokens(inner)?;
    let (first, after) = match tokens.split_first() {
        Some((Token { kind: Kind::Word(word), .. }, after)) => (word.as_str(), after),
        Some(_) => ("", tokens.as_slice()),
        None => return Err("a tag is empty".to_owned()),
    };
    match first {
        "if" => Ok(Statement::If(control(after, "if", dialect)?)),
        "with" => Ok(Statement::With(control(after, "with", dialect)?)),
        "range" => range(after, dialect),
        "end" if after.is_empty() => Ok(Statement::End),
        "end" => Err("{{end}} takes nothing".to_owned()),
        "else" => match after.split_first() {
            None => Ok(Statement::Else),
            Some((Token { kind: Kind::Word(word), .. }, after)) if word == "if" => {
                Ok(Statement::ElseIf(control(after, "else if", dialect)?))
            }
            Some((Token { kind: Kind::Word(word), .. }, after)) if word == "with" => {
                Ok(Statement::ElseWith(control(after, "else with", dialect)?))
            }
            Some(_) => Err("only `if` or `with` and a value can follow in {{else}}".to_owned()),
        },
        "define" | "template" | "block" => {
            Err(format!("{{{{{first}}}}} cannot be translated: write the text out where it is used"))
        }
        "break" | "continue" => {
            Err(format!("{{{{{first}}}}} cannot be translated: put what it skips into an {{{{if}}}}"))
        }
        _ => print_or_declare(&tokens, dialect),
    }
}

fn print_or_declare(tokens: &[Token], dialect: &Dialect) -> Result<Statement, String> {
    match declaration(tokens)? {
        (Some(name), None, after) => Ok(Statement::Declare(name, pipeline_to_end(after, dialect)?)),
        (_, Some(_), _) => Err("only {{range}} declares two variables".to_owned()),
        _ => Ok(Statement::Print(pipeline_to_end(tokens, dialect)?)),
    }
}

fn control(tokens: &[Token], word: &str, dialect: &Dialect) -> Result<Control, String> {
    let (variable, second, after) = declaration(tokens)?;
    if second.is_some() {
        return Err("only {{range}} declares two variables".to_owned());
    }
    if after.is_empty() {
        return Err(format!("{{{{{word}}}}} needs a value"));
    }
    Ok(Control { variable, condition: pipeline_to_end(after, dialect)? })
}

fn range(tokens: &[Token], dialect: &Dialect) -> Result<Statement, String> {
    let (first, second, after) = declaration(tokens)?;
    if after.is_empty() {
        return Err("{{range}} needs a value".to_owned());
    }
    let over = pipeline_to_end(after, dialect)?;
    if matches!(over, Expr::Constant(_)) {
        return Err("{{range}} needs a list or a map, not a constant".to_owned());
    }
    Ok(match second {
        Some(element) => Statement::Range(first, Some(element), over),
        None => Statement::Range(None, first, over),
    })
}

type Declaration<'t> = (Option<String>, Option<String>, &'t [Token]);

/// The variables before `:=`, and the tokens after it.
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

fn pipeline_to_end(tokens: &[Token], dialect: &Dialect) -> Result<Expr, String> {
    let mut parser = Parser { dialect, tokens: tokens.iter(), depth: 0 };
    let value = parser.pipeline()?;
    match parser.tokens.next() {
        None => Ok(value),
        Some(Token { kind: Kind::Close, .. }) => Err("a parenthesis is closed but was not opened".to_owned()),
        Some(Token { kind: Kind::Declare | Kind::Assign, .. }) => {
            Err("a variable is declared at the beginning of a tag, as {{$x := .Type}}".to_owned())
        }
        Some(_) => Err("a comma is allowed only between the variables of {{range}}".to_owned()),
    }
}

struct Parser<'t> {
    dialect: &'t Dialect,
    tokens: Iter<'t, Token>,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t Token> {
        self.tokens.as_slice().first()
    }

    /// `a | f x` means `f x a`.
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

    /// One stage of a pipeline, with the value of the stage before it.
    fn command(&mut self, piped: Option<Expr>) -> Result<Expr, String> {
        if let Some(Token { kind: Kind::Word(name), .. }) = self.peek() {
            self.tokens.next();
            let function = function(name, self.dialect)?;
            let mut arguments = self.arguments()?;
            arguments.extend(piped);
            return call(function, arguments);
        }
        let value = self.operand()?;
        if piped.is_some() {
            return Err("| must be followed by a function, as in {{.Type | printf \"%s\"}}".to_owned());
        }
        if !self.arguments()?.is_empty() {
            return Err(match value {
                Expr::Fields(..) => format!(
                    "a field is not a function, and methods cannot be called; the functions are {}",
                    names(self.dialect)
                ),
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
                _ if !token.apart => return Err("a space is missing between two values".to_owned()),
                Kind::Word(name) => {
                    self.tokens.next();
                    arguments.push(call(function(name, self.dialect)?, Vec::new())?);
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

fn function(name: &str, dialect: &Dialect) -> Result<&'static Function, String> {
    if let Some(function) = dialect.all_functions().find(|function| function.name == name) {
        return Ok(function);
    }
    if name.starts_with(|c: char| c.is_ascii_uppercase()) {
        return Err(format!("there is no function {name}: a field has a dot before it, as in {{{{.{name}}}}}"));
    }
    if name == "call" {
        return Err("call needs a function among the values, and there is none".to_owned());
    }
    Err(format!("there is no function {name}; there are {}", names(dialect)))
}

fn names(dialect: &Dialect) -> String {
    dialect.all_functions().map(|function| function.name).collect::<Vec<_>>().join(", ")
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
