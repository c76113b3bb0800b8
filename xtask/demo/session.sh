#!/bin/sh
# Starts the daemon on some rules, runs a command beside it, and stops the daemon with SIGTERM. Runs as root, in a guest
# or on the host, under busybox.
# usage: session.sh DAEMON DIR LOG RULES COMMAND...
daemon=$1 dir=$2 log=$3 rules=$4
shift 4
START_SECONDS=120

# What the workload acts on.
set -e
mkdir -p "$dir/bin"
echo "colour = red" >"$dir/settings.conf"
cp "$(which busybox)" "$dir/busybox"
printf '#!%s sh\necho "hello, $1"\n' "$dir/busybox" >"$dir/bin/greet"
chmod 755 "$dir" "$dir/bin" "$dir/bin/greet" "$dir/busybox"
chmod 644 "$dir/settings.conf"

sed "s|@DIR@|$dir|g" "$rules" >"$dir/audit.rules"
cat >"$dir/auditd-bpf.toml" <<END
[kernel]
user_messages = "off"
[[output]]
type = "stdout"
format = "text"

[[output]]
type = "file"
format = "json"
path = "$log"
compression = "gzip"
END
chmod 600 "$dir/audit.rules" "$dir/auditd-bpf.toml"
set +e

# Outside a terminal's foreground group, or Ctrl-C in a shell beside it would stop the daemon.
setsid "$daemon" daemon --config "$dir/auditd-bpf.toml" --rules "$dir/audit.rules" 2>"$dir/daemon.log" &
pid=$!
trap 'kill -TERM $pid; wait $pid; exit 130' INT TERM

waited=0
until grep -q ready "$dir/daemon.log"; do
    if ! kill -0 $pid 2>/dev/null || [ $waited -ge $START_SECONDS ]; then
        echo "the daemon did not start:" >&2
        cat "$dir/daemon.log" >&2
        kill $pid 2>/dev/null
        exit 1
    fi
    sleep 1
    waited=$((waited + 1))
done

"$@"

kill -TERM $pid
wait $pid
status=$?
if [ $status -ne 0 ]; then
    echo "the daemon ended with status $status:" >&2
    cat "$dir/daemon.log" >&2
fi
exit $status
