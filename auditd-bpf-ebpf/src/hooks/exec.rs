//! Starting programs.

use crate::{
    kernel::{self, Object, field, member},
    record::{self, Met},
};
use auditd_bpf_common::{hooks, wire::name_type};
use aya_ebpf::{macros::lsm, programs::LsmContext};

/// Called for the file named, and again for the interpreter of a script.
#[lsm(hook = "bprm_check_security")]
pub fn lsm_bprm_check_security(ctx: LsmContext) -> i32 {
    let file: Object = field(ctx.arg(0), &kernel::BPRM_FILE);
    record::objects(hooks::BPRM_CHECK, [Met::at(name_type::NORMAL, member(file, &kernel::FILE_F_PATH))])
}

/// Files that the kernel reads as a whole: modules, firmware, kexec images. Only those of a watched call count.
#[lsm(hook = "kernel_read_file")]
pub fn lsm_kernel_read_file(ctx: LsmContext) -> i32 {
    let file: Object = ctx.arg(0);
    if file.is_null() {
        return 0;
    }
    record::objects(hooks::KERNEL_READ_FILE, [Met::at(name_type::NORMAL, member(file, &kernel::FILE_F_PATH))])
}
