//! Small wasm modules for tests, written byte by byte.

/// A module of ABI 0.2.1 with a memory and an allocator.
#[derive(Default)]
pub struct Guest {
    imports: Vec<(&'static str, usize)>,
    functions: Vec<Function>,
    has_start: bool,
}

struct Function {
    name: &'static str,
    params: usize,
    results: usize,
    body: Vec<u8>,
}

/// `i32.const`, for numbers up to 63.
pub const CONST: u8 = 0x41;
pub const CALL: u8 = 0x10;
pub const DROP: u8 = 0x1a;
pub const UNREACHABLE: u8 = 0x00;
/// An endless loop.
pub const LOOP: [u8; 6] = [0x03, 0x40, 0x0c, 0x00, 0x0b, UNREACHABLE];

impl Guest {
    /// A module that imports host functions. Each takes i32 parameters and returns an i32. Calls use their index.
    pub fn importing(imports: &[(&'static str, usize)]) -> Self {
        Guest { imports: imports.to_vec(), ..Guest::default() }.function("proxy_abi_version_0_2_1", 0, 0, &[]).function(
            "malloc",
            1,
            1,
            &[CONST, 0x20],
        )
    }

    pub fn function(mut self, name: &'static str, params: usize, results: usize, body: &[u8]) -> Self {
        self.functions.push(Function { name, params, results, body: body.to_vec() });
        self
    }

    /// Adds a start function, which runs while the module is instantiated.
    pub fn start(mut self, body: &[u8]) -> Self {
        self.has_start = true;
        self.function("start", 0, 0, body)
    }

    pub fn module(&self) -> Vec<u8> {
        let types = self.imports.iter().map(|(_, params)| function_type(*params, 1));
        let types = types.chain(self.functions.iter().map(|function| function_type(function.params, function.results)));
        let imports = self
            .imports
            .iter()
            .enumerate()
            .map(|(number, (import, _))| [name("env"), name(import), vec![0x00], length(number)].concat());
        let own = self.imports.len();
        let declared = (0..self.functions.len()).map(|number| length(own + number));
        let exports = self
            .functions
            .iter()
            .enumerate()
            .map(|(number, function)| [name(function.name), vec![0x00], length(own + number)].concat());
        let exports = exports.chain([[name("memory"), vec![0x02, 0x00]].concat()]);
        let code = self.functions.iter().map(|function| {
            let body = [&[0x00], function.body.as_slice(), &[0x0b]].concat();
            [length(body.len()), body].concat()
        });
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        module.extend(section(1, types.collect()));
        module.extend(section(2, imports.collect()));
        module.extend(section(3, declared.collect()));
        module.extend(section(5, vec![vec![0x00, 0x02]]));
        module.extend(section(7, exports.collect()));
        if self.has_start {
            let start = self.functions.iter().position(|function| function.name == "start").unwrap_or_default();
            let index = length(own + start);
            module.extend([vec![8], length(index.len()), index].concat());
        }
        module.extend(section(10, code.collect()));
        module
    }
}

fn function_type(params: usize, results: usize) -> Vec<u8> {
    [vec![0x60], length(params), vec![0x7f; params], length(results), vec![0x7f; results]].concat()
}

fn section(id: u8, items: Vec<Vec<u8>>) -> Vec<u8> {
    let content = [length(items.len()), items.concat()].concat();
    [vec![id], length(content.len()), content].concat()
}

fn name(text: &str) -> Vec<u8> {
    [length(text.len()), text.as_bytes().to_vec()].concat()
}

/// Encodes a number as LEB128.
fn length(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
