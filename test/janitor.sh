#!/bin/sh
# Waits for the end of a test process, whose number it is given, and removes what is left of it: processes with its mark in their
# environment or in its cgroups, these cgroups, and the folders that it was told of on its standard input, a line each.
owner=$1
# Who ends a whole tree of processes means what is to be removed, too.
trap '' HUP INT TERM
folders=$(cat)

cgroups() {
  find /sys/fs/cgroup -depth -type d \
    \( -path "*/oom-witness-test-$owner" -o -path "*/oom-witness-test-$owner[-/]*" \) 2>/dev/null
}

processes() {
  grep -lszx "TEST_PROCESS=$owner" /proc/[0-9]*/environ | cut -d / -f 3
  for cgroup in $(cgroups); do cat "$cgroup/cgroup.procs"; done 2>/dev/null
}

looks=300
while left=$(processes) && [ -n "$left" ] && [ $((looks -= 1)) -gt 0 ]; do
  kill -9 $left
  sleep 0.1
done
cgroups | while read -r cgroup; do rmdir "$cgroup"; done
echo "$folders" | while read -r folder; do
  if [ -n "$folder" ]; then rm -rf "$folder"; fi
done
