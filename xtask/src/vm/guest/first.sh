#!/bin/busybox sh
# The guest's first program, in the kernel's first file system: finds the root disk and goes there.
# NVMe numbers devices as they answer; the namespace's number is ours.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
# None where the kernel has all that it needs for a disk built in.
for module in /modules/*; do
    [ ! -e "$module" ] || $b insmod "$module"
done
for disk in /sys/block/nvme*; do
    $b ln -s "${disk##*/}" "/dev/graven-$($b cat "$disk/nsid")"
done
$b mount -t ext4 "$($b readlink -f /dev/graven-1)" /root || exec $b reboot -f
for folder in proc sys dev; do
    $b mount --move /$folder /root/$folder
done
$b mount -t tmpfs -o mode=755 run /root/run
$b mkdir /root/run/graven
$b cp /command /root/run/graven/
exec $b switch_root /root /sbin/graven-start
