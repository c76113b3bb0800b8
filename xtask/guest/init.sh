#!/usr/bin/busybox sh
# First process of the guest: mounts, kernel modules and disks, then the command (guest/run.sh).
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root TERM=linux

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
# Added files may lie in these two: they move along.
for dir in run tmp; do
    mount -t tmpfs -o mode=1777 $dir /mnt
    cp -a /$dir/. /mnt
    mount -o move /mnt /$dir
done
chmod 755 /run
chmod 1777 /tmp
for module in /guest/modules/*.ko; do
    [ ! -e "$module" ] || insmod "$module" || echo "guest: insmod $module failed"
done
mount -t securityfs securityfs /sys/kernel/security
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
ln -s /proc/self/fd /dev/fd
ip link set lo up
chmod 700 /root /var/log/audit
chown user:user /home/user
hostname guest

# Drivers may still be looking at their disks (on 7.3 they are at times): as many as there are on the PCI bus must come.
disks_to_come() {
    n=0
    for d in /sys/bus/pci/devices/*; do
        case "$(cat "$d/vendor" "$d/device" 2>/dev/null | tr -d '\n')" in
            0x1af40x1001 | 0x1af40x1042) n=$((n + 1)) ;;
        esac
    done
    for d in /sys/block/vd*; do
        [ ! -e "$d/serial" ] || n=$((n - 1))
    done
    [ $n -gt 0 ]
}
tries=0
while disks_to_come && [ $tries -lt 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done

# Disks are found by the serial that the host gave them: their order is the kernel's own affair.
disk() {
    for d in /sys/block/vd*; do
        [ "$(cat "$d/serial" 2>/dev/null)" != "$1" ] || echo "/dev/${d##*/}"
    done
}
scratch=$(disk scratch)
[ -z "$scratch" ] || mount -t ext4 "$scratch" /scratch
echo "OUT_DISK=$(disk out)" >>/guest/conf

# A system of its own, whose service guest.service runs /guest/run.
root=$(disk root)
if [ "$root" ]; then
    mount -t ext4 "$root" /mnt
    rm -rf /mnt/guest
    cp -a /guest /mnt/guest
    for dir in dev proc sys run; do
        mount -o move /$dir /mnt/$dir
    done
    exec switch_root /mnt /sbin/init </mnt/dev/console >/mnt/dev/console 2>&1
fi

exec /guest/run </dev/null
