//! The kernel structure fields that programs read, each once. Rust emits no CO-RE relocations, so every field is a read-only
//! global in the object (named after the field) that the loader sets from the running kernel's BTF.

/// Calls `$callback! { GLOBAL = "struct.field"; ... }` with every field.
#[macro_export]
macro_rules! kernel_fields {
    ($callback:ident) => {
        $callback! {
            FILE_F_PATH = "file.f_path";
            FILE_F_INODE = "file.f_inode";
            FILE_F_MODE = "file.f_mode";
            FILE_F_FLAGS = "file.f_flags";
            PATH_DENTRY = "path.dentry";
            PATH_MNT = "path.mnt";
            INODE_I_INO = "inode.i_ino";
            INODE_I_SB = "inode.i_sb";
            INODE_I_MODE = "inode.i_mode";
            INODE_I_UID = "inode.i_uid.val";
            INODE_I_GID = "inode.i_gid.val";
            INODE_I_RDEV = "inode.i_rdev";
            SUPER_BLOCK_S_MAGIC = "super_block.s_magic";
            SUPER_BLOCK_S_DEV = "super_block.s_dev";
            DENTRY_D_PARENT = "dentry.d_parent";
            DENTRY_D_INODE = "dentry.d_inode";
            DENTRY_D_SB = "dentry.d_sb";
            DENTRY_D_NAME_NAME = "dentry.d_name.name";
            DENTRY_D_NAME_LEN = "dentry.d_name.len";
            DENTRY_D_HASH_PPREV = "dentry.d_hash.pprev";
            VFSMOUNT_MNT_ROOT = "vfsmount.mnt_root";
            MOUNT_MNT = "mount.mnt";
            MOUNT_MNT_PARENT = "mount.mnt_parent";
            MOUNT_MNT_MOUNTPOINT = "mount.mnt_mountpoint";
            TASK_FLAGS = "task_struct.flags";
            TASK_STATUS = "task_struct.thread_info.status";
            TASK_LOGINUID = "task_struct.loginuid.val";
            TASK_SESSIONID = "task_struct.sessionid";
            TASK_CRED = "task_struct.cred";
            TASK_MM = "task_struct.mm";
            TASK_FS = "task_struct.fs";
            TASK_FILES = "task_struct.files";
            TASK_SIGNAL = "task_struct.signal";
            TASK_REAL_PARENT = "task_struct.real_parent";
            TASK_PERSONALITY = "task_struct.personality";
            TASK_TGID = "task_struct.tgid";
            TASK_COMM = "task_struct.comm";
            FS_ROOT = "fs_struct.root";
            FS_PWD = "fs_struct.pwd";
            FILES_FDT = "files_struct.fdt";
            FDTABLE_FD = "fdtable.fd";
            FDTABLE_MAX_FDS = "fdtable.max_fds";
            SIGNAL_TTY = "signal_struct.tty";
            TTY_NAME = "tty_struct.name";
            MM_EXE_FILE = "mm_struct.exe_file";
            MM_ARG_START = "mm_struct.arg_start";
            MM_ARG_END = "mm_struct.arg_end";
            CRED_UID = "cred.uid.val";
            CRED_EUID = "cred.euid.val";
            CRED_SUID = "cred.suid.val";
            CRED_FSUID = "cred.fsuid.val";
            CRED_GID = "cred.gid.val";
            CRED_EGID = "cred.egid.val";
            CRED_SGID = "cred.sgid.val";
            CRED_FSGID = "cred.fsgid.val";
            CRED_CAP_INHERITABLE = "cred.cap_inheritable";
            CRED_CAP_PERMITTED = "cred.cap_permitted";
            CRED_CAP_EFFECTIVE = "cred.cap_effective";
            CRED_CAP_AMBIENT = "cred.cap_ambient";
            CRED_SECUREBITS = "cred.securebits";
            CRED_USER_NS = "cred.user_ns";
            USER_NS_UID_EXTENT = "user_namespace.uid_map.extent";
            VFS_CAPS_MAGIC = "cpu_vfs_cap_data.magic_etc";
            VFS_CAPS_ROOT = "cpu_vfs_cap_data.rootid.val";
            VFS_CAPS_PERMITTED = "cpu_vfs_cap_data.permitted";
            VFS_CAPS_INHERITABLE = "cpu_vfs_cap_data.inheritable";
            IPC_UID = "kern_ipc_perm.uid.val";
            IPC_GID = "kern_ipc_perm.gid.val";
            IPC_MODE = "kern_ipc_perm.mode";
            CRED_GROUP_INFO = "cred.group_info";
            GROUP_INFO_NGROUPS = "group_info.ngroups";
            GROUP_INFO_GID = "group_info.gid";
            MSGHDR_NAME = "msghdr.msg_name";
            MSGHDR_NAMELEN = "msghdr.msg_namelen";
            BPRM_FILE = "linux_binprm.file";
            BPRM_CRED = "linux_binprm.cred";
            REGS_DI = "pt_regs.di";
            REGS_SI = "pt_regs.si";
            REGS_DX = "pt_regs.dx";
            REGS_R10 = "pt_regs.r10";
            REGS_R8 = "pt_regs.r8";
            REGS_R9 = "pt_regs.r9";
            REGS_BX = "pt_regs.bx";
            REGS_CX = "pt_regs.cx";
            REGS_BP = "pt_regs.bp";
            REGS_ORIG_AX = "pt_regs.orig_ax";
        }
    };
}
