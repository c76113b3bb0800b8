#!/bin/sh
# Life of the packages on a Debian system with systemd: `cargo xtask test-packages` boots it once for each phase. One line a case,
# as guest-tests prints them; /guest has the packages, /srv/auditd Debian's auditd.
export DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
log=/var/log/audit/audit.json.gz
failed=0

# Runs the function of that name; what it prints shows only if it fails, but for lines that begin with "figure: ".
case_() {
    if said=$("$1" 2>&1); then
        echo "ok $1"
        echo "$said" | sed -n 's/^figure: /  /p'
    else
        echo "FAILED $1"
        echo "$said" | tail -n 40 | sed 's/^/  /'
        failed=$((failed + 1))
    fi
}

is() { # what is, what should be
    [ "$1" = "$2" ] || { echo "is: $1; should be: $2"; return 1; }
}

state() { systemctl is-active "$1" || true; }

# Until a command succeeds, at most a minute.
until_() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || { echo "not within a minute: $*"; return 1; }
        sleep 0.1
    done
}

records() { auditd-bpf search -k "$1" --format json 2>/dev/null | wc -l; }
more_than() { [ "$(records "$1")" -gt "$2" ]; }

# Makes files that have numbers for names until /run/enough is there, and tells when each was made.
make_numbered() { # directory below /srv/numbered
    n=0
    while [ ! -e /run/enough ]; do
        n=$((n + 1))
        : >"/srv/numbered/$1/$n"
        read -r uptime _ </proc/uptime
        echo "$n $uptime"
        sleep 0.02
    done >"/run/made-$1"
}

last_made() { tail -n 1 "/run/made-$1" | cut -d' ' -f1; }
numbers_recorded() {
    auditd-bpf search -k numbered --format json | sed -n "s|.*\"path\":\"/srv/numbered/$1/\\([0-9]*\\)\".*|\\1|p"
}
number_is_recorded() { numbers_recorded "$1" | grep -qx "$2"; }
# What was made until now is in the log.
made_is_recorded() { until_ number_is_recorded "$1" "$(last_made "$1")"; }
# First and last of each row of numbers that were made and are not recorded; fails if one is recorded twice.
numbers_missing() {
    numbers_recorded "$1" | sort -n | awk -v last="$(last_made "$1")" '
        $1 == before { print "twice: " $1; twice = 1 }
        $1 > before + 1 { print before + 1, $1 - 1 }
        { before = $1 }
        END { if (before < last) print before + 1, last; exit twice }'
}

# An edit of a watched file is in the log.
edit_is_recorded() { # file, key
    before=$(records "$2")
    start=$(date +%s%N)
    echo edited >>"$1" || return 1
    until_ more_than "$2" "$before" || return 1
    echo "figure: recorded and found by search after $((($(date +%s%N) - start) / 1000000)) ms"
}

# One call: what a rule costs to load is the verifier's time, which is long under emulation.
write_rules() {
    mkdir -p /etc/audit/rules.d /srv/numbered
    touch /etc/watched
    for rule in 'path=/etc/watched -k life' 'path=/mnt/late/file -k late' 'dir=/srv/numbered -k numbered'; do
        echo "-a always,exit -F arch=b64 -S openat -F $rule"
    done >/etc/audit/rules.d/life.rules
}

fresh_install_enables_and_starts() {
    out=$(dpkg -i /guest/auditd-bpf.deb 2>&1) || { echo "$out"; return 1; }
    echo "$out"
    case $out in *lsm=*) echo "a hint that this host does not need"; return 1 ;; esac
    is "$(systemctl is-enabled auditd-bpf)" enabled && is "$(state auditd-bpf)" active || { journalctl -u auditd-bpf --no-pager; return 1; }
}

rules_are_loaded_while_it_runs() {
    write_rules
    systemctl start auditd-bpf-rules || { journalctl -u auditd-bpf-rules --no-pager; return 1; }
    edit_is_recorded /etc/watched life
}

mistake_in_rules_fails_the_oneshot_and_changes_nothing() {
    echo '-w relative -p wa' >/etc/audit/rules.d/wrong.rules
    systemctl start auditd-bpf-rules && { echo "it did not fail"; return 1; }
    rm /etc/audit/rules.d/wrong.rules
    edit_is_recorded /etc/watched life
}

# The daemon's mount namespace is its own: what is mounted after its start must be there too.
file_on_a_later_mount_is_watched() {
    mkdir -p /mnt/late && mount -t tmpfs late /mnt/late && touch /mnt/late/file || return 1
    tries=0
    until [ "$(records late)" -gt 0 ]; do
        echo edited >>/mnt/late/file
        tries=$((tries + 1))
        [ $tries -lt 100 ] || { journalctl -u auditd-bpf --no-pager | tail; return 1; }
        sleep 0.2
    done
}

sandbox_refuses_nothing_that_is_needed() {
    journalctl -u auditd-bpf --no-pager -o cat >/tmp/journal
    if grep -Ei 'ordinary priority|not permitted|denied|are not received|cannot ' /tmp/journal; then return 1; fi
    echo "figure: $(systemd-analyze security auditd-bpf.service --no-pager | tail -n 1)"
    echo "figure: memory $(systemctl show -P MemoryCurrent auditd-bpf) bytes"
}

examples_and_completions_have_no_mistake() {
    for rules in /usr/share/doc/auditd-bpf/examples/rules/*; do
        auditd-bpf check "$rules" || return 1
    done
    bash -c '. /usr/share/bash-completion/completions/auditd-bpf
        COMP_WORDS=(auditd-bpf sear) COMP_CWORD=1
        function=$(complete -p auditd-bpf)
        function=${function#*-F }
        ${function%% *} auditd-bpf sear auditd-bpf
        [ "${COMPREPLY[*]}" = search ]' || return 1
    is "$(fish -c 'complete -C "auditd-bpf sear"' | cut -f1)" search || return 1
    zsh -c 'autoload -U compinit && compinit -D && [ "$_comps[auditd-bpf]" = _auditd-bpf ] && autoload +X _auditd-bpf'
}

example_of_the_configuration_starts_it() {
    cp /usr/share/doc/auditd-bpf/examples/auditd-bpf.toml /etc/audit || return 1
    systemctl restart auditd-bpf || { journalctl -u auditd-bpf --no-pager | tail; return 1; }
    edit_is_recorded /etc/watched life && rm /etc/audit/auditd-bpf.toml
}

messages_of_programs_are_received() {
    auditd-bpf ctl -m life-cycle || return 1
    until_ sh -c "auditd-bpf search -m USER --format json | grep life-cycle"
}

# Its time is when it last said that it is alive.
watchdog_is_fed() {
    first=$(systemctl show -P WatchdogTimestampMonotonic auditd-bpf)
    until_ sh -c "[ \"\$(systemctl show -P WatchdogTimestampMonotonic auditd-bpf)\" != $first ]"
}

stopped_by_a_mistake_in_the_configuration_it_is_not_tried_again() {
    echo 'nonsense = 1' >/etc/audit/auditd-bpf.toml
    systemctl restart auditd-bpf && { echo "it started"; return 1; }
    is "$(systemctl show -P ExecMainStatus auditd-bpf)" 6 && is "$(state auditd-bpf)" failed || return 1
    rm /etc/audit/auditd-bpf.toml
    systemctl reset-failed auditd-bpf; systemctl start auditd-bpf
}

upgrade_keeps_what_the_admin_changed() {
    echo AUDITD_BPF_LOG=info >>/etc/default/auditd-bpf
    pid=$(systemctl show -P MainPID auditd-bpf)
    dpkg-deb -R /guest/auditd-bpf.deb /tmp/next && sed -i 's/^\(Version: .*\)-1$/\1-2/' /tmp/next/DEBIAN/control || return 1
    echo '# A new release.' >>/tmp/next/etc/default/auditd-bpf
    dpkg-deb -Zgzip -z1 -b /tmp/next /tmp/next.deb && dpkg --force-confdef --force-confold -i /tmp/next.deb || return 1
    grep -q '^AUDITD_BPF_LOG=info' /etc/default/auditd-bpf || return 1
    is "$(state auditd-bpf)" active || return 1
    [ "$(systemctl show -P MainPID auditd-bpf)" != "$pid" ] || { echo "the old one still runs"; return 1; }
    edit_is_recorded /etc/watched life
}

upgrade_under_load_loses_no_event() {
    rm -f /run/enough
    mkdir -p /srv/numbered/upgrade
    make_numbered upgrade &
    until_ number_is_recorded upgrade 50 || return 1
    sed -i 's/^\(Version: .*\)-2$/\1-3/' /tmp/next/DEBIAN/control
    dpkg-deb -Zgzip -z1 -b /tmp/next /tmp/next.deb && apt-get install -y /tmp/next.deb || return 1
    case $(dpkg-query -W -f '${Version}' auditd-bpf) in *-3) ;; *) echo "not upgraded"; return 1 ;; esac
    made_is_recorded upgrade
    touch /run/enough
    wait
    made_is_recorded upgrade || return 1
    missing=$(numbers_missing upgrade) || { echo "$missing"; return 1; }
    is "$missing" '' || { auditd-bpf search -m LOST,DAEMON_CONFIG,DAEMON_START,DAEMON_END; return 1; }
    auditd-bpf search -m LOST --format json | grep . && return 1
    [ ! -e /run/auditd-bpf/control.sock.persist ] || { echo "the next stop will leave rules in force"; return 1; }
    waited=$(auditd-bpf search -m DAEMON_CONFIG --format json | sed -n 's/.*take-over.*"events":"\([0-9]*\)".*/\1/p' | tail -n 1)
    echo "figure: of $(last_made upgrade) files made during the upgrade none is missing; $waited events waited for the new daemon"
    echo "figure: from the old daemon's end to the new one's start $(seconds_between_daemons) s"
}

# By the times of the last records of their kinds.
seconds_between_daemons() {
    for type in DAEMON_END DAEMON_START; do
        time=$(auditd-bpf search -m $type --format json | sed -n 's/.*"time":"\([^"]*\)".*/\1/p' | tail -n 1)
        date -d "$time" +%s.%N
    done | awk '{ time[NR] = $1 } END { printf "%.1f", time[2] - time[1] }'
}

disabled_stays_disabled_after_an_upgrade() {
    systemctl disable auditd-bpf && dpkg -i /tmp/next.deb || return 1
    is "$(systemctl is-enabled auditd-bpf)" disabled || return 1
    systemctl enable auditd-bpf && systemctl start auditd-bpf
}

# For the next boot, in which files are made from before the daemon starts.
make_early_files_at_the_next_boot() {
    mkdir -p /srv/numbered/early
    cat >/etc/systemd/system/early.service <<END
[Unit]
DefaultDependencies=no
After=local-fs.target
Before=auditd-bpf.service

[Service]
ExecStart=/usr/bin/dash /guest/life-cycle.sh early
END
    mkdir -p /etc/systemd/system/sysinit.target.wants
    ln -sf ../early.service /etc/systemd/system/sysinit.target.wants
}

# The writer was there before the daemon: what it makes later is recorded, without a gap.
early_boot_is_recorded_from_the_moment_that_the_daemon_is_ready() {
    made_is_recorded early || return 1
    touch /run/enough
    until_ sh -c '! systemctl -q is-active early'
    made_is_recorded early || return 1
    missing=$(numbers_missing early) || { echo "$missing"; return 1; }
    is "$(echo "$missing" | wc -l)" 1 && is "${missing% *}" 1 || { echo "$missing"; return 1; }
    first=$((${missing#* } + 1))
    passed=$(awk -v first=$first 'NR == 1 { start = $2 } $1 == first { print $2 - start }' /run/made-early)
    echo "figure: of $(last_made early) files the first ${missing#* } are missing: $passed s"
    echo "figure: the daemon is ready $(milliseconds Userspace ActiveEnter) ms after systemd's own start, $(milliseconds ExecMainStart ActiveEnter) ms after its own"
}

# Between two moments of the unit's life, the first of which may be systemd's.
milliseconds() {
    from=$(systemctl show -P "$1TimestampMonotonic" auditd-bpf)
    from=${from:-$(systemctl show -P "$1TimestampMonotonic")}
    echo $((($(systemctl show -P "$2TimestampMonotonic" auditd-bpf) - from) / 1000))
}

reboot_keeps_it() {
    is "$(state auditd-bpf)" active || { journalctl -b -u auditd-bpf --no-pager; return 1; }
    [ "$(records life)" -ge 3 ] || { echo "older records are gone"; return 1; }
    auditd-bpf verify /var/log/audit || return 1
    edit_is_recorded /etc/watched life
}

# Nobody replaces the program of a daemon that guards it, a package manager neither; `auditctl --signal stop` lifts the guard.
guarded_it_is_upgraded_after_a_stop() {
    echo 'protect = ["logs", "config", "process", "bpf"]' >/etc/audit/auditd-bpf.toml
    systemctl restart auditd-bpf || { journalctl -u auditd-bpf --no-pager | tail; return 1; }
    pid=$(systemctl show -P MainPID auditd-bpf)
    kill -9 "$pid" && { echo "it was killed"; return 1; }
    dpkg --force-confold -i /guest/auditd-bpf.deb && { echo "the program was replaced"; return 1; }
    is "$(systemctl show -P MainPID auditd-bpf)" "$pid" && is "$(state auditd-bpf)" active || return 1
    auditd-bpf search -k auditd-bpf-guard --format json | grep dpkg || return 1
    systemctl stop auditd-bpf || return 1
    dpkg --force-confold -i /guest/auditd-bpf.deb || return 1
    is "$(state auditd-bpf)" active && edit_is_recorded /etc/watched life || return 1
    kill -9 "$(systemctl show -P MainPID auditd-bpf)" && { echo "it was killed"; return 1; }
    return 0
}

nothing_is_in_force() {
    left=$(ls /sys/fs/bpf/auditd-bpf 2>/dev/null)
    is "$left" ''
}

# Still guarded: the package's own scripts stop it.
removal_stops_it_and_leaves_logs() {
    dpkg -r auditd-bpf || return 1
    is "$(state auditd-bpf)" inactive || return 1
    pgrep -x auditd-bpf && return 1
    nothing_is_in_force || return 1
    zcat $log | grep -q '"life"' && [ -e /etc/default/auditd-bpf ] && [ -e /etc/audit/rules.d/life.rules ]
}

reinstallation_goes_on_in_the_same_log() {
    before=$(zcat $log | wc -l)
    dpkg --force-confold -i /guest/auditd-bpf.deb || return 1
    is "$(state auditd-bpf)" active && edit_is_recorded /etc/watched life || return 1
    [ "$(zcat $log | wc -l)" -gt "$before" ]
}

rules_that_outlive_the_daemon_do_not_outlive_the_package() {
    # Its configuration is guarded.
    systemctl stop auditd-bpf || return 1
    echo 'persist = true' >/etc/audit/auditd-bpf.toml
    systemctl start auditd-bpf && systemctl stop auditd-bpf || return 1
    [ "$(ls /sys/fs/bpf/auditd-bpf)" ] || { echo "nothing stays in force"; return 1; }
    dpkg -r auditd-bpf && nothing_is_in_force && dpkg --force-confold -i /guest/auditd-bpf.deb
}

purge_removes_logs_and_configuration() {
    dpkg -P auditd-bpf || return 1
    for left in /var/log/audit/audit*.json.gz* /etc/default/auditd-bpf /var/spool/auditd-bpf /etc/systemd/system/multi-user.target.wants/auditd-bpf.service; do
        [ ! -e "$left" ] && [ ! -L "$left" ] || { echo "left: $left"; return 1; }
    done
    [ -e /etc/audit/rules.d/life.rules ] || { echo "rules of the admin are gone"; return 1; }
}

sums() { (cd /etc/audit && find . -type f | sort | xargs sha256sum); }
# Through a command substitution that is not there, so that a missing program fails.
original() { auditctl -v | grep -v auditd-bpf; }

beside_auditd_nothing_of_it_changes() {
    dpkg -i /srv/auditd/auditd_*.deb || return 1
    augenrules --load
    is "$(state auditd)" active || return 1
    sums >/tmp/sums
    auditctl -l >/tmp/kernel-rules
    stat -c '%a %U %G' /var/log/audit /etc/audit >/tmp/modes
    dpkg -i /guest/auditd-bpf.deb || return 1
    is "$(state auditd)" active && is "$(state auditd-bpf)" active || return 1
    original && sums | diff /tmp/sums - && auditctl -l | diff /tmp/kernel-rules - || return 1
    stat -c '%a %U %G' /var/log/audit /etc/audit | diff /tmp/modes - || return 1
    edit_is_recorded /etc/watched life || return 1
    until_ grep -q 'key="life"' /var/log/audit/audit.log
}

compat_takes_the_place_of_a_running_auditd() {
    sums >/tmp/sums
    lines=$(wc -l </var/log/audit/audit.log)
    apt-get install -y /guest/auditd-bpf-compat.deb || return 1
    pgrep -x auditd && { echo "auditd still runs"; return 1; }
    is "$(state auditd)" active && is "$(state auditd-bpf)" active || { journalctl -b --no-pager -t auditd-bpf -t auditd -t systemd | grep audit | tail -n 40; return 1; }
    is "$(systemctl show -P Id auditd)" auditd-bpf.service || return 1
    auditctl -v | grep auditd-bpf && sums | diff /tmp/sums - || return 1
    auditctl -l | grep life || return 1
    echo edited >>/etc/watched
    # auditd.conf holds: the records go on in auditd's log, in its format.
    until_ sh -c "tail -n +$((lines + 1)) /var/log/audit/audit.log | grep 'key=\"life\"'" || return 1
    [ "$(ausearch -k life --format csv 2>/dev/null | wc -l)" -gt 2 ]
}

service_has_auditds_actions() {
    service auditd rotate || return 1
    until_ sh -c 'ls /var/log/audit/audit-*.log' || return 1
    service auditd reload && service auditd state && service auditd restart && is "$(state auditd)" active
}

auditd_comes_back() {
    sums >/tmp/sums
    apt-get install -y /srv/auditd/auditd_*.deb || return 1
    is "$(state auditd)" active && is "$(systemctl show -P Id auditd)" auditd.service && original || return 1
    sums | diff /tmp/sums - || return 1
    augenrules --load; auditctl -l | grep life || return 1
    grep -q 'key="life"' /var/log/audit/audit.log || return 1
    systemctl start auditd-bpf && is "$(state auditd)" active
}

without_bpf_in_the_lsm_list_it_degrades_and_says_so() {
    systemctl stop auditd-bpf 2>/dev/null
    dpkg -P auditd-bpf-compat auditd-bpf >/dev/null 2>&1
    out=$(dpkg -i /guest/auditd-bpf.deb 2>&1) || { echo "$out"; return 1; }
    case $out in *'mode observe'*lsm=*bpf*) ;; *) echo "no hint: $out"; return 1 ;; esac
    echo "$out" | sed -n '/^auditd-bpf: mode/,$s/^/figure: /p' | head -n 4
    is "$(state auditd-bpf)" active && edit_is_recorded /etc/watched life
}

# Debian's rpm knows no Debian packages, hence --nodeps.
rpm_installs_and_starts_it() {
    systemctl stop auditd-bpf
    dpkg -P auditd-bpf || return 1
    out=$(rpm -i --nodeps /guest/auditd-bpf.rpm 2>&1) || { echo "$out"; return 1; }
    case $out in *lsm=*) ;; *) echo "no hint: $out"; return 1 ;; esac
    is "$(systemctl is-enabled auditd-bpf)" enabled && is "$(state auditd-bpf)" active && edit_is_recorded /etc/watched life
}

rpm_upgrade_keeps_what_the_admin_changed() {
    echo AUDITD_BPF_LOG=info >>/etc/sysconfig/auditd-bpf
    pid=$(systemctl show -P MainPID auditd-bpf)
    rpm -U --force --nodeps /guest/auditd-bpf.rpm || return 1
    grep -q '^AUDITD_BPF_LOG=info' /etc/sysconfig/auditd-bpf && is "$(state auditd-bpf)" active || return 1
    [ "$(systemctl show -P MainPID auditd-bpf)" != "$pid" ] || { echo "the old one still runs"; return 1; }
}

rpm_has_auditds_names() {
    # Debian's auditd is still there, as another is until the end of a transaction that puts this in its place.
    systemctl start auditd && is "$(systemctl show -P Id auditd)" auditd.service || return 1
    rpm -i --nodeps /guest/auditd-bpf-compat.rpm || return 1
    pgrep -x auditd && { echo "auditd still runs"; return 1; }
    is "$(systemctl show -P Id auditd)" auditd-bpf.service && is "$(state auditd)" active || return 1
    auditctl -v | grep auditd-bpf && auditctl -l | grep life && ausearch -k life --format csv || return 1
    /usr/libexec/initscripts/legacy-actions/auditd/rotate || return 1
    rpm -e auditd-bpf-compat && [ ! -L /usr/lib/systemd/system/auditd.service ]
}

rpm_erases_it_and_leaves_logs() {
    rpm -e auditd-bpf || return 1
    is "$(state auditd-bpf)" inactive && ls /var/log/audit/audit*.json.gz || return 1
    [ ! -e /usr/bin/auditd-bpf ] && [ -e /etc/sysconfig/auditd-bpf.rpmsave ]
}

case $1 in
    install)
        case_ fresh_install_enables_and_starts
        case_ rules_are_loaded_while_it_runs
        case_ mistake_in_rules_fails_the_oneshot_and_changes_nothing
        case_ file_on_a_later_mount_is_watched
        case_ examples_and_completions_have_no_mistake
        case_ example_of_the_configuration_starts_it
        case_ messages_of_programs_are_received
        case_ watchdog_is_fed
        case_ stopped_by_a_mistake_in_the_configuration_it_is_not_tried_again
        case_ upgrade_keeps_what_the_admin_changed
        case_ upgrade_under_load_loses_no_event
        case_ disabled_stays_disabled_after_an_upgrade
        case_ sandbox_refuses_nothing_that_is_needed
        make_early_files_at_the_next_boot
        ;;
    early) make_numbered early ;;
    reboot)
        case_ early_boot_is_recorded_from_the_moment_that_the_daemon_is_ready
        case_ reboot_keeps_it
        case_ guarded_it_is_upgraded_after_a_stop
        case_ removal_stops_it_and_leaves_logs
        case_ reinstallation_goes_on_in_the_same_log
        case_ rules_that_outlive_the_daemon_do_not_outlive_the_package
        case_ purge_removes_logs_and_configuration
        ;;
    compat)
        write_rules
        case_ beside_auditd_nothing_of_it_changes
        case_ compat_takes_the_place_of_a_running_auditd
        case_ service_has_auditds_actions
        case_ auditd_comes_back
        ;;
    degraded)
        write_rules
        case_ without_bpf_in_the_lsm_list_it_degrades_and_says_so
        case_ rpm_installs_and_starts_it
        case_ rpm_upgrade_keeps_what_the_admin_changed
        case_ rpm_has_auditds_names
        case_ rpm_erases_it_and_leaves_logs
        ;;
esac
sync
[ $failed -eq 0 ]
