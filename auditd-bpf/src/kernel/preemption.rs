//! Whether the kernel takes the CPU from a task while it is in the kernel.
//!
//! Where it does, it leaves out a tracing program that another task on the CPU was preempted in, and with it an event.

use std::fs::File;
use std::io::{BufRead, BufReader};

use super::object::{Object, ObjectError};

/// Holds the model where it is chosen at boot (`CONFIG_PREEMPT_DYNAMIC`).
const MODE: &str = "preempt_dynamic_mode";
/// `preempt_dynamic_full` in `kernel/sched/core.c`; `none` and `voluntary` are below it, `lazy` is above.
const FULL: i32 = 2;

/// Address of the variable that holds the preemption model, where this kernel has one and shows it.
fn mode_address() -> Option<u64> {
    let symbols = BufReader::new(File::open("/proc/kallsyms").ok()?);
    symbols.lines().map_while(Result::ok).find_map(|line| address_of_mode(&line)).filter(|address| *address != 0)
}

/// `ffffffff82c550e0 D preempt_dynamic_mode`
fn address_of_mode(line: &str) -> Option<u64> {
    let mut words = line.split_ascii_whitespace();
    let (address, _, name) = (words.next()?, words.next()?, words.next()?);
    if name == MODE { u64::from_str_radix(address, 16).ok() } else { None }
}

/// Whether this kernel preempts.
///
/// # Errors
/// If the kernel refuses the program that reads the model.
pub fn preempts(object: &mut Object) -> Result<bool, ObjectError> {
    match mode_address() {
        Some(address) => Ok(object.read_word(address)?.cast_signed() >= FULL),
        // Fixed when the kernel was built, which writes it behind the build number (`init/version-timestamp.c`).
        None => Ok(nix::sys::utsname::uname().is_ok_and(|name| name.version().to_string_lossy().contains("PREEMPT"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_found_by_its_whole_name() {
        assert_eq!(address_of_mode("ffffffff82c550e0 D preempt_dynamic_mode"), Some(0xffff_ffff_82c5_50e0));
        assert_eq!(address_of_mode("ffffffff810caac0 T preempt_model_none"), None);
        assert_eq!(address_of_mode("ffffffffc0000000 d preempt_dynamic_mode_x\t[module]"), None);
        assert_eq!(address_of_mode(""), None);
    }
}
