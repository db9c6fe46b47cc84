//! Modules that call WASI functions and log what the host does.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tollbell_tests::project_root;
use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    ImportSection, InstructionSink, MemArg, MemArgTarget, MemorySection, MemoryType, Module, TypeSection, ValType,
};

/// `0123456789abcdef`
const DIGITS: u64 = 64;
/// An iovec of `hello`, and one of a newline.
const VECTORS: i32 = 128;
const TEXT: i32 = 192;
/// Where results are written: 16 bytes, filled with `ff`.
const RESULT: i32 = 512;
const LINES: i32 = 1024;
/// The code and the result at the end of a line.
const BLANKS: &str = "00 00000000000000000000000000000000";

/// Makes a module that makes these calls when a request arrives, and returns its path.
///
/// A call is a function with its arguments: a number, a number with `l` for 64 bits, `@` or `@8` for the place of the
/// result or 8 bytes after it, `vectors` for two iovecs. The module logs the returned number and the result in
/// hexadecimal. A function with `!` returns nothing. A call with `module.` before it imports from that module.
pub fn module(name: &str, calls: &[String]) -> Result<PathBuf> {
    let path = project_root().join("target/conformance").join(name).with_extension("wasm");
    fs::create_dir_all(path.parent().context("no folder")?)?;
    fs::write(&path, encoded(calls)?)?;
    Ok(path)
}

struct Call<'c> {
    line: &'c str,
    module: &'c str,
    function: &'c str,
    args: Vec<Arg>,
    returns: bool,
}

#[derive(Clone, Copy)]
enum Arg {
    Short(i32),
    Long(i64),
}

impl<'c> Call<'c> {
    fn parse(line: &'c str) -> Result<Self> {
        let mut words = line.split(' ');
        let function = words.next().unwrap_or_default();
        let (module, function) = function.split_once('.').unwrap_or(("wasi_snapshot_preview1", function));
        let (function, returns) = function.strip_suffix('!').map_or((function, true), |function| (function, false));
        let args = words.map(arg).collect::<Result<_>>().with_context(|| line.to_owned())?;
        Ok(Call { line, module, function, args, returns })
    }

    fn types(&self) -> (Vec<ValType>, Vec<ValType>) {
        let kind = |arg: &Arg| if matches!(arg, Arg::Short(_)) { ValType::I32 } else { ValType::I64 };
        (self.args.iter().map(kind).collect(), if self.returns { vec![ValType::I32] } else { vec![] })
    }
}

fn arg(word: &str) -> Result<Arg> {
    Ok(match word {
        "vectors" => Arg::Short(VECTORS),
        "@" => Arg::Short(RESULT),
        "@8" => Arg::Short(RESULT + 8),
        _ => match word.strip_suffix('l') {
            Some(number) => Arg::Long(number.parse()?),
            None => Arg::Short(number(word)?),
        },
    })
}

fn number(word: &str) -> Result<i32> {
    Ok(word.parse()?)
}

fn encoded(lines: &[String]) -> Result<Vec<u8>> {
    let calls: Vec<Call<'_>> = lines.iter().map(|line| Call::parse(line)).collect::<Result<_>>()?;
    let (mut types, mut imports, mut data) = (TypeSection::new(), ImportSection::new(), DataSection::new());
    types.ty().function([ValType::I32; 3], [ValType::I32]);
    types.ty().function([], []);
    types.ty().function([ValType::I32], [ValType::I32]);
    imports.import("env", "proxy_log", EntityType::Function(0));
    for (index, call) in calls.iter().enumerate() {
        let (params, results) = call.types();
        types.ty().function(params, results);
        imports.import(call.module, call.function, EntityType::Function(3 + u32::try_from(index)?));
    }
    data.active(0, &ConstExpr::i32_const(i32::try_from(DIGITS)?), *b"0123456789abcdef");
    let vectors = [TEXT, 5, TEXT + 5, 1].map(i32::to_le_bytes).concat();
    data.active(0, &ConstExpr::i32_const(VECTORS), vectors);
    data.active(0, &ConstExpr::i32_const(TEXT), *b"hello\n");
    let mut body = Function::new([(1, ValType::I32)]);
    let mut place = LINES;
    for (index, call) in calls.iter().enumerate() {
        let text = format!("{} -> {BLANKS}", call.line);
        data.active(0, &ConstExpr::i32_const(place), text.bytes());
        let end = place + i32::try_from(text.len())?;
        make(&mut body.instructions(), call, 1 + u32::try_from(index)?, end - i32::try_from(BLANKS.len())?);
        body.instructions().i32_const(2).i32_const(place).i32_const(end - place).call(0).drop();
        place = end;
    }
    body.instructions().i32_const(0).end();
    let mut marker = Function::new([]);
    marker.instructions().end();
    let mut malloc = Function::new([]);
    malloc.instructions().i32_const(32768).end();
    let (mut functions, mut exports, mut code) = (FunctionSection::new(), ExportSection::new(), CodeSection::new());
    let first = 1 + u32::try_from(calls.len())?;
    let own = [("proxy_abi_version_0_2_1", 1, marker), ("malloc", 2, malloc), ("proxy_on_request_headers", 0, body)];
    for (index, (name, kind, function)) in (first..).zip(own) {
        functions.function(kind);
        exports.export(name, ExportKind::Func, index);
        code.function(&function);
    }
    exports.export("memory", ExportKind::Memory, 0);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&memories).section(&exports);
    module.section(&code).section(&data);
    Ok(module.finish())
}

/// Fills the place of the result, makes a call, and writes its code and its result into a line.
fn make(sink: &mut InstructionSink<'_>, call: &Call<'_>, function: u32, line: i32) {
    let at = |offset: u64| MemArg { offset, align: 0, target: MemArgTarget::default(), ordering: None };
    for half in [0, 8] {
        sink.i32_const(RESULT + half).i64_const(-1).i64_store(at(0));
    }
    for arg in &call.args {
        match *arg {
            Arg::Short(number) => sink.i32_const(number),
            Arg::Long(number) => sink.i64_const(number),
        };
    }
    sink.call(function);
    if !call.returns {
        sink.i32_const(0);
    }
    // The only local after the parameters.
    sink.local_set(3);
    sink.i32_const(line).local_get(3).i32_const(10).i32_div_u().i32_load8_u(at(DIGITS)).i32_store8(at(0));
    sink.i32_const(line).local_get(3).i32_const(10).i32_rem_u().i32_load8_u(at(DIGITS)).i32_store8(at(1));
    for byte in 0..16 {
        let load = |sink: &mut InstructionSink<'_>| {
            sink.i32_const(line + 3 + 2 * byte).i32_const(RESULT + byte).i32_load8_u(at(0));
        };
        load(sink);
        sink.i32_const(4).i32_shr_u().i32_load8_u(at(DIGITS)).i32_store8(at(0));
        load(sink);
        sink.i32_const(15).i32_and().i32_load8_u(at(DIGITS)).i32_store8(at(1));
    }
}
