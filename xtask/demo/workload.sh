#!/bin/sh
# What `cargo xtask run` does under audit, with a moment after each act for its events to appear.
# usage: workload.sh DIR
dir=$1
PORT=47113

act() {
    echo
    echo "--- $1"
}

act "edit a watched file"
echo "colour = blue" >>"$dir/settings.conf"
chmod 640 "$dir/settings.conf"
chmod 644 "$dir/settings.conf"
sleep 1

act "run a program"
"$dir/bin/greet" world
sleep 1

act "an unprivileged user tries to write to it"
su -s /bin/sh nobody -c "'$dir/busybox' sh -c 'echo x >>$dir/settings.conf'"
sleep 1

act "connect to a port"
"$dir/busybox" nc -l -p $PORT >/dev/null </dev/null &
sleep 1
echo hello | "$dir/busybox" timeout 3 "$dir/busybox" nc 127.0.0.1 $PORT
sleep 1
