//! Starting programs.

use crate::{
    filter::Call,
    kernel::{self, Object, field, member},
    record::{self, Met},
};
use auditd_bpf_common::{hooks, plan_rows::ROW_ALL, wire::name_type};
use aya_ebpf::{macros::lsm, programs::LsmContext};

/// Called for the file named, and again for the interpreter of a script.
#[lsm(hook = "bprm_check_security")]
pub fn lsm_bprm_check_security(ctx: LsmContext) -> i32 {
    let bprm: Object = ctx.arg(0);
    if let Some(call) = Call::current() {
        let file: Object = field(bprm, &kernel::BPRM_FILE);
        let object = Met::at(name_type::NORMAL, member(file, &kernel::FILE_F_PATH));
        record::objects_of(&call, hooks::BPRM_CHECK, 0, ROW_ALL, [object]);
    }
    0
}

/// Files that the kernel reads as a whole: modules, firmware, kexec images. Only those of a watched call count.
#[lsm(hook = "kernel_read_file")]
pub fn lsm_kernel_read_file(ctx: LsmContext) -> i32 {
    let file: Object = ctx.arg(0);
    if !file.is_null() {
        record::objects(hooks::KERNEL_READ_FILE, [Met::at(name_type::NORMAL, member(file, &kernel::FILE_F_PATH))]);
    }
    0
}
