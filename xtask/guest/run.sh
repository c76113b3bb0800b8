#!/usr/bin/busybox sh
# Runs the command and reports. All that is needed afterwards is opened before, and only the shell's built-ins report,
# so that a policy under test that refuses every open and exec cannot stop it.
. /guest/conf
exec 7>/dev/kmsg 8>/proc/sysrq-trigger
[ -z "$OUT_DISK" ] || exec 9>"$OUT_DISK"
cd /

if [ "$TERMINAL" ]; then
    # Opened before stty: a port forgets its settings when it is closed.
    exec 3<>/dev/ttyS1
    # shellcheck disable=SC2086 # several words on purpose: rows N cols N
    stty -F /dev/ttyS1 sane $TERMINAL
    setsid -c sh -c 'exec 3>&- 7>&- 8>&- 9>&-; . /guest/cmd' <&3 >&3 2>&3
    STATUS=$?
else
    exec 3>/dev/ttyS1 4>/dev/ttyS2
    stty -F /dev/ttyS1 raw -echo
    stty -F /dev/ttyS2 raw -echo
    (
        exec 3>&- 4>&- 7>&- 8>&- 9>&-
        . /guest/cmd
    ) </dev/null >&3 2>&4
    STATUS=$?
fi
if [ "$OUT_DISK" ]; then
    tar -cf - -C /out . >&9
    # sysrq's sync below may be overtaken by the power going off.
    sync
fi
# The end of each stream is marked, and the mark padded: the last bytes in a serial port's queue may be lost when the
# machine goes off.
if [ -z "$TERMINAL" ]; then
    echo "$END_MARK                                                                " >&3
    echo "$END_MARK                                                                " >&4
    exec 3>&- 4>&-
fi
echo "<1>guest-exit $NONCE $STATUS" >&7
echo s >&8
echo o >&8
# Reads nothing, waits for the power to go.
while :; do read -r _ </dev/null; done
