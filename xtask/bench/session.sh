#!/bin/sh
# Measures in a guest: sets up what is measured, lets it settle, runs the workload beside it. Prints `name value` lines.
# usage: session.sh bare|auditd-bpf|kernel-audit EVENTS none|stig|watches|deny|NUMBER
here=$(dirname "$0")
log_dir=/scratch/log
rules=/etc/audit/bench.rules
SETTLE_SECONDS=5
# The longest that either daemon keeps an event back, and some more.
FLUSH_SECONDS=5
START_SECONDS=600

die() {
    echo "$*" >&2
    [ ! -f /tmp/daemon.log ] || tail -n 40 /tmp/daemon.log >&2
    exit 1
}

# What the rules name has to be there: auditctl refuses a watch in a directory that is not.
prepare() {
    mkdir -p /etc/security /etc/sudoers.d /etc/audit /var/log "$log_dir" /srv/bench
    for file in /etc/shadow /etc/gshadow /etc/security/opasswd /etc/sudoers /etc/localtime /var/log/lastlog \
        /var/log/wtmp /srv/bench/unwatched; do
        : >"$file"
    done
    # Not the links to busybox that are there: the workload executes busybox.
    for program in su sudo passwd chage crontab; do
        rm -f "/usr/bin/$program"
        : >"/usr/bin/$program"
        chmod 755 "/usr/bin/$program"
    done
    case $set in
    none) : >"$rules" ;;
    stig) cp "$here/stig-like.rules" "$rules" ;;
    watches) grep '^-w' "$here/stig-like.rules" >"$rules" ;;
    # All but the first, which the workload matches.
    deny) grep '^-w' "$here/stig-like.rules" | sed '2,$s/$/ --action deny/' >"$rules" ;;
    *) more_rules "$set" >"$rules" ;;
    esac
    chmod 640 "$rules"
    # What tar reads.
    for dir in 1 2 3 4 5 6 7 8; do
        mkdir -p "/srv/bench/tree/$dir"
        for file in 1 2 3 4 5 6 7 8 9 10 11 12; do
            cat "$here/stig-like.rules" "$here/session.sh" >"/srv/bench/tree/$dir/$file.c"
        done
    done
}

# The first rules, and others of the kinds that hardening guides consist of, up to a number.
more_rules() {
    mkdir -p /etc/watched
    cat "$here/stig-like.rules"
    awk -v first="$(grep -c '^-' "$here/stig-like.rules")" -v total="$1" 'BEGIN {
        for (n = first; n < total; n++) {
            arch = n % 2 ? "b32" : "b64"
            if (n % 4 == 0) print "-w /etc/watched/" n ".conf -p wa -k watched"
            if (n % 4 == 1) print "-a always,exit -F arch=" arch " -S open,creat,truncate,ftruncate,openat -F exit=-EACCES" \
                " -F auid>=" 2000 + n " -F auid!=unset -F key=access"
            if (n % 4 == 2) print "-a always,exit -F path=/etc/watched/tool" n " -F perm=x -F auid>=1000 -F auid!=unset" \
                " -F key=privileged"
            if (n % 4 == 3) print "-a always,exit -F arch=" arch " -S chmod,fchmod,fchmodat,chown -F auid=" 2000 + n \
                " -F key=perm_mod"
        }
    }'
}

start_auditd_bpf() {
    log=$log_dir/audit.json.gz
    cat >/etc/audit/auditd-bpf.toml <<END
[kernel]
user_messages = "off"
[[output]]
type = "file"
format = "json"
path = "$log"
compression = "gzip"
END
    chmod 640 /etc/audit/auditd-bpf.toml
    auditd-bpf daemon --config /etc/audit/auditd-bpf.toml --rules "$rules" 2>/tmp/daemon.log &
    daemon=$!
    waited=0
    until grep -q ready /tmp/daemon.log; do
        kill -0 $daemon 2>/dev/null || die "auditd-bpf ended"
        [ $waited -lt $START_SECONDS ] || die "auditd-bpf did not get ready"
        sleep 1
        waited=$((waited + 1))
    done
}

# Debian's own configuration, but with the log on a disk.
start_kernel_audit() {
    log=$log_dir/audit.log
    sed -i "s|^log_file *=.*|log_file = $log|" /etc/audit/auditd.conf
    chmod 640 /etc/audit/auditd.conf
    auditd -n >/tmp/daemon.log 2>&1 &
    daemon=$!
    waited=0
    until auditctl -s | grep -q "^pid $daemon\$"; do
        kill -0 $daemon 2>/dev/null || die "auditd ended"
        [ $waited -lt $START_SECONDS ] || die "auditd did not register"
        sleep 1
        waited=$((waited + 1))
    done
    auditctl -b 8192 >>/tmp/daemon.log 2>&1 || die "auditctl -b failed"
    auditctl -R "$rules" >>/tmp/daemon.log 2>&1 || die "auditctl -R failed"
    [ "$(auditctl -l | grep -c '^-')" = "$(grep -c '^-' "$rules")" ] || die "auditctl -l: not all rules are there"
}

# Events of the matched workload in the log, and those lost on the way.
count_auditd_bpf() {
    zcat "$log" >/tmp/records || die "the log does not unpack"
    awk '/"keys":\["identity"\]/ { logged++; bytes += length($0) + 1 }
        END { print "logged", logged + 0; if (logged) print "json_bytes", int(bytes / logged) }' /tmp/records
    awk 'match($0, /"lost":[0-9]+/) { lost += substr($0, RSTART + 7, RLENGTH - 7) } END { print "lost", lost + 0 }' \
        /tmp/records
}

count_kernel_audit() {
    # The records that loading the rules made carry keys as well.
    echo "logged $(grep -c '^type=SYSCALL.*key="identity"' "$log")"
    echo "lost $(auditctl -s | awk '$1 == "lost" { print $2 }')"
}

resident() {
    awk '$1 == "VmRSS:" { print "resident_kib", $2 }' "/proc/$daemon/status"
}

# Bytes of the daemon's maps, as the kernel counts them.
tables() {
    cat /proc/$daemon/fdinfo/* | awk '$1 == "map_type:" { map = 1 } $1 == "prog_type:" { map = 0 }
        $1 == "memlock:" && map { bytes += $2; map = 0 } END { print "table_bytes", bytes + 0 }'
}

kind=$1 events=$2 set=$3
prepare
case $kind in
bare) ;;
auditd-bpf) start_auditd_bpf ;;
kernel-audit) start_kernel_audit ;;
*) die "no such kind: $kind" ;;
esac
sleep $SETTLE_SECONDS
workload unmatched /srv/bench/unwatched /usr/bin/busybox true /srv/bench/tree || die "the workload failed"
if [ "$kind" = bare ]; then
    exit 0
fi
[ "$kind" = kernel-audit ] || tables
if [ "$set" = none ]; then
    resident
    exit 0
fi
workload matched --log "$log" /etc/passwd "$events" $FLUSH_SECONDS || die "the workload failed"
resident
if [ "$kind" = auditd-bpf ]; then
    kill -TERM $daemon
    wait $daemon || die "auditd-bpf did not end well"
    count_auditd_bpf
else
    count_kernel_audit
fi
