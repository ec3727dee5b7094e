#!/bin/busybox sh
# The guest's first program on its root disk: mounts what a host has, runs the command, hands its results back.
export PATH=/usr/sbin:/usr/bin
result=/run/graven/result
mkdir -p $result/out /run/lock
ln -s $result/out /run/graven/out
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
ln -s /proc/self/fd /dev/fd
mount -t securityfs securityfs /sys/kernel/security
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t ext4 -o ro,noload "$(readlink -f /dev/graven-2)" /lib/modules
# There is nobody who would load it for the first who looks for a free one.
modprobe -q loop
# The disk was made by somebody who is not root: all on it belongs to them.
if [ "$(stat -c %u /sbin/graven-start)" != 0 ]; then
    for top in /*; do
        case $top in /proc | /sys | /dev | /run) ;; *) chown -hR 0:0 "$top" ;; esac
    done
fi
mount -t tmpfs -o mode=1777 tmpfs /mnt/tmpfs
mkdir -p /run/graven/upper /run/graven/work
mount -t overlay -o lowerdir=/mnt/lower,upperdir=/run/graven/upper,workdir=/run/graven/work overlay /mnt/overlay
ip link set lo up
hostname graven-vm
stty -F /dev/ttyS1 raw -echo
setsid sh /run/graven/command </dev/null >/dev/ttyS1 2>&1
echo $? >$result/status
# What a test that failed has kept for people to look at.
for kept in /tmp/graven-*; do
    [ ! -e "$kept" ] || cp -a "$kept" $result/out/
done
tar -C $result -cf /dev/graven-3 status out
sync
reboot -f
