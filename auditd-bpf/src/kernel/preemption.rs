//! Whether the kernel takes the CPU from a task while it is in the kernel.
//!
//! Where it does, it leaves out a tracing program that another task on the CPU was preempted in, and with it an event.

use super::object::{Object, ObjectError};
use super::symbols;

/// Holds the model where it is chosen at boot (`CONFIG_PREEMPT_DYNAMIC`).
const MODE: &str = "preempt_dynamic_mode";
/// `preempt_dynamic_full` in `kernel/sched/core.c`; `none` and `voluntary` are below it, `lazy` is above.
const FULL: i32 = 2;

/// Whether this kernel preempts.
///
/// # Errors
/// If the kernel refuses the program that reads the model.
pub fn preempts(object: &mut Object) -> Result<bool, ObjectError> {
    let address = symbols::find(|symbol| (symbol.name == MODE && symbol.address != 0).then_some(symbol.address));
    match address {
        Some(address) => Ok(object.read_word(address)?.cast_signed() >= FULL),
        // Fixed when the kernel was built, which writes it behind the build number (`init/version-timestamp.c`).
        None => Ok(nix::sys::utsname::uname().is_ok_and(|name| name.version().to_string_lossy().contains("PREEMPT"))),
    }
}
