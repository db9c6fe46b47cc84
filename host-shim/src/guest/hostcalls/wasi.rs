//! The WASI functions of Envoy, under both module names of WASI. A module has a clock, randomness, its environment, and
//! standard output, which is logged. It has no files and no sockets.

use wasmtime::{Caller, Linker};

use crate::base::LogLevel;
use crate::guest::memory::{self, index, word};
use crate::guest::state::VmState;

const SUCCESS: u32 = 0;
const EBADF: u32 = 8;
const ENOTDIR: u32 = 20;
const EFAULT: u32 = 21;
const EINVAL: u32 = 28;
const ENOENT: u32 = 44;
const ENOSYS: u32 = 52;
const ENOTSUP: u32 = 58;
const ENOTCAPABLE: u32 = 76;

const MAX_RANDOM: u32 = 64 * 1024;

/// Functions that exist and always fail.
macro_rules! refuse {
    ($linker:expr, $module:expr; $($name:literal ($($arg:ty),*) => $errno:expr;)*) => { $(
        $linker.func_wrap($module, $name, |caller: Caller<'_, VmState> $(, _: $arg)*| allowed(&caller, $name).err().unwrap_or($errno))?;
    )* };
}

/// Functions that return SUCCESS or an errno.
macro_rules! wasi {
    ($linker:expr, $module:expr; $(fn $name:ident($call:ident $(, $arg:ident: $type:ty)*) $body:block)*) => { $(
        $linker.func_wrap($module, stringify!($name), |mut caller: Caller<'_, VmState> $(, $arg: $type)*| -> u32 {
            fn carry_out($call: &mut Caller<'_, VmState> $(, $arg: $type)*) -> Result<(), u32> $body
            let answer = allowed(&caller, stringify!($name)).and_then(|()| carry_out(&mut caller $(, $arg)*));
            answer.err().unwrap_or(SUCCESS)
        })?;
    )* };
}

pub(super) fn offer(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        offer_as(linker, module)?;
    }
    Ok(())
}

fn offer_as(linker: &mut Linker<VmState>, module: &str) -> wasmtime::Result<()> {
    wasi! { linker, module;
        fn fd_write(call, fd: u32, vectors: u32, count: u32, written: u32) { log_vectors(call, fd, vectors, count, written) }

        fn fd_pwrite(call, fd: u32, vectors: u32, count: u32, _offset: u64, written: u32) {
            log_vectors(call, fd, vectors, count, written)
        }

        fn fd_fdstat_get(call, fd: u32, result: u32) {
            is_output(fd)?;
            // The file type is 0, there are no flags, and there is the right to write.
            let mut stat = [0; 24];
            stat[8] = 64;
            // Envoy does not report a wrong address.
            write(call, result, &stat).or(Ok(()))
        }

        fn environ_sizes_get(call, count: u32, size: u32) {
            let environment = environment(call);
            write(call, count, &word(environment.len()).to_le_bytes())?;
            write(call, size, &word(environment.iter().map(Vec::len).sum()).to_le_bytes())
        }

        fn environ_get(call, pointers: u32, text: u32) {
            let (mut pointer, mut address) = (pointers, text);
            for entry in environment(call) {
                write(call, pointer, &address.to_le_bytes())?;
                write(call, address, &entry)?;
                pointer = pointer.wrapping_add(4);
                address = address.wrapping_add(word(entry.len()));
            }
            Ok(())
        }

        fn args_sizes_get(call, count: u32, size: u32) {
            write(call, count, &[0; 4])?;
            write(call, size, &[0; 4])
        }

        fn args_get(_call, _pointers: u32, _text: u32) { Ok(()) }

        fn clock_time_get(call, clock: u32, _precision: u64, result: u32) {
            let now = match clock {
                0 => call.data().host.clock.now(),
                1 => call.data().host.clock.monotonic(),
                _ => return Err(ENOTSUP),
            };
            write(call, result, &now.to_le_bytes())
        }

        fn clock_res_get(call, clock: u32, result: u32) {
            if clock > 1 {
                return Err(ENOTSUP);
            }
            write(call, result, &1u64.to_le_bytes())
        }

        fn random_get(call, buffer: u32, length: u32) {
            if length > MAX_RANDOM {
                return Err(EINVAL);
            }
            if length == 0 {
                return Ok(());
            }
            write(call, buffer, &random(index(length))?)
        }

        fn sched_yield(_call) { Ok(()) }

        fn poll_oneoff(call, _subscriptions: u32, _events: u32, _count: u32, result: u32) { write(call, result, &[0; 4]) }

        fn fd_seek(_call, _fd: u32, _offset: i64, _whence: u32, _result: u32) { Ok(()) }

        fn fd_close(_call, _fd: u32) { Ok(()) }

        fn fd_advise(_call, _fd: u32, _offset: u64, _length: u64, _advice: u32) { Ok(()) }

        fn fd_allocate(_call, fd: u32, _offset: u64, _length: u64) { is_output(fd) }

        fn fd_datasync(_call, fd: u32) { is_output(fd) }

        fn fd_fdstat_set_rights(_call, fd: u32, _base: u64, _inheriting: u64) { is_output(fd) }

        fn fd_filestat_set_size(_call, fd: u32, _size: u64) { is_output(fd) }

        fn fd_filestat_set_times(_call, fd: u32, _accessed: u64, _modified: u64, _flags: u32) { is_output(fd) }

        fn fd_sync(_call, fd: u32) { is_output(fd) }

        fn fd_tell(call, fd: u32, result: u32) {
            is_output(fd)?;
            write(call, result, &[0; 8])
        }

        fn fd_renumber(_call, fd: u32, to: u32) {
            is_output(fd)?;
            is_output(to)?;
            Err(ENOTSUP)
        }

        fn fd_readdir(call, _fd: u32, _buffer: u32, _length: u32, _cookie: u64, read: u32) {
            write(call, read, &[0; 4])?;
            Err(ENOTDIR)
        }

        fn path_readlink(call, _fd: u32, _path: u32, _path_length: u32, _buffer: u32, _length: u32, read: u32) {
            write(call, read, &[0; 4])?;
            Err(ENOTSUP)
        }

        fn sock_accept(call, _fd: u32, _flags: u32, result: u32) {
            write(call, result, &[0; 8])?;
            Err(ENOTSUP)
        }

        fn sock_recv(call, _fd: u32, _vectors: u32, _count: u32, _flags: u32, read: u32, flags: u32) {
            write(call, read, &[0; 4])?;
            write(call, flags, &[0; 2])?;
            Err(ENOTSUP)
        }

        fn sock_send(call, _fd: u32, _vectors: u32, _count: u32, _flags: u32, written: u32) {
            write(call, written, &[0; 4])?;
            Err(ENOTSUP)
        }
    }
    // `path_link` and `path_symlink` have the parameters of Envoy, which has fewer than WASI.
    refuse! { linker, module;
        "fd_fdstat_set_flags"(u32, u32) => ENOSYS;
        "fd_filestat_get"(u32, u32) => EBADF;
        "fd_pread"(u32, u32, u32, u64, u32) => ENOSYS;
        "fd_prestat_get"(u32, u32) => EBADF;
        "fd_prestat_dir_name"(u32, u32, u32) => ENOSYS;
        "fd_read"(u32, u32, u32, u32) => ENOSYS;
        "path_create_directory"(u32, u32, u32) => ENOTSUP;
        "path_filestat_get"(u32, u32, u32, u32, u32) => ENOTSUP;
        "path_filestat_set_times"(u32, u32, u32, u32, u64, u64, u32) => ENOTSUP;
        "path_link"(u32, u32, u32, u32, u32, u32) => ENOTSUP;
        "path_open"(u32, u32, u32, u32, u32, u64, u64, u32, u32) => ENOENT;
        "path_remove_directory"(u32, u32, u32) => ENOTSUP;
        "path_rename"(u32, u32, u32, u32, u32, u32) => ENOTSUP;
        "path_symlink"(u32, u32, u32, u32) => ENOTSUP;
        "path_unlink_file"(u32, u32, u32) => ENOTSUP;
        "sock_shutdown"(u32, u32) => ENOTSUP;
    }
    // Envoy logs the call and returns from it. Most modules then trap.
    linker.func_wrap(module, "proc_exit", |caller: Caller<'_, VmState>, code: u32| {
        let state = caller.data();
        state.host.log(state.thread, LogLevel::Error, format!("the module called proc_exit({code})"));
    })?;
    Ok(())
}

/// Whether this is standard output or standard error, the only files.
fn is_output(fd: u32) -> Result<(), u32> {
    if fd == 1 || fd == 2 { Ok(()) } else { Err(EBADF) }
}

fn allowed(caller: &Caller<'_, VmState>, name: &str) -> Result<(), u32> {
    if caller.data().spec.allows(name) { Ok(()) } else { Err(ENOTCAPABLE) }
}

fn write(caller: &mut Caller<'_, VmState>, address: u32, bytes: &[u8]) -> Result<(), u32> {
    let memory = caller.data().memory.ok_or(EFAULT)?;
    memory::write(memory, caller, address, bytes).map_err(|_| EFAULT)
}

fn read_words(caller: &Caller<'_, VmState>, address: u32) -> Result<(u32, u32), u32> {
    let memory = caller.data().memory.ok_or(EFAULT)?;
    let bytes = memory::read(memory, caller, address, 8).map_err(|_| EFAULT)?;
    let bytes = <[u8; 8]>::try_from(bytes).map_err(|_| EFAULT)?;
    let [a, b, c, d, e, f, g, h] = bytes;
    Ok((u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])))
}

/// Standard output is logged as info, standard error as error.
fn log_vectors(caller: &mut Caller<'_, VmState>, fd: u32, vectors: u32, count: u32, written: u32) -> Result<(), u32> {
    let level = match fd {
        1 => LogLevel::Info,
        2 => LogLevel::Error,
        _ => return Err(EBADF),
    };
    let mut text = Vec::new();
    for number in 0..count {
        let (address, length) = read_words(caller, vectors.wrapping_add(number.wrapping_mul(8)))?;
        if length > 0 {
            let memory = caller.data().memory.ok_or(EFAULT)?;
            text.extend(memory::read(memory, &*caller, address, length).map_err(|_| EFAULT)?);
        }
        if text.len() > caller.data().host.limits.memory {
            return Err(EINVAL);
        }
    }
    if !text.is_empty() {
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        caller.data().log(level, &String::from_utf8_lossy(text));
    }
    write(caller, written, &word(text.len()).to_le_bytes())
}

fn environment(caller: &Caller<'_, VmState>) -> Vec<Vec<u8>> {
    caller.data().spec.environment.iter().map(|(name, value)| format!("{name}={value}\0").into_bytes()).collect()
}

/// Returns random bytes of the system.
fn random(length: usize) -> Result<Vec<u8>, u32> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).map_err(|_| ENOSYS)?;
    Ok(bytes)
}
