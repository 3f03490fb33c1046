#!/bin/sh
# The switched outlet that the box's power comes from.
#
# Usage: outlet.sh FOLDER COMMAND…   gives the box power, until SIGTERM
#        outlet.sh FOLDER            as the hook of punchlab certify: CONTRACT.md, "A black box"
#
# It is started in the box's network namespace, and the hook where FOLDER is.
set -u
folder=$1
shift
if [ $# = 0 ]; then
	case "$PUNCHLAB_CASE" in
	ID-[1-6] | REG-[1-6] | NAT-[1-9] | NAT-10 | MED-[1-8] | BW-[1-6] | SEC-[1-9] | SEC-1[0-2] | RES-[1-5] | STD-[1-3]) ;;
	*) exit 127 ;; # a case that it was not written for
	esac
	case "$PUNCHLAB_ACTION/$PUNCHLAB_UNIT" in
	run/1) exit 0 ;;
	power/1) ;;
	*) exit 127 ;; # the box has no other actions, and there is one of it
	esac
	[ -p "$folder/switch" ] || exit 1
	rm -f "$folder/on"
	echo cut >"$folder/switch" # it is in the lab's process namespace: no signal gets out of there
	until [ -e "$folder/on" ]; do sleep 0.05; done
	exit 0
fi
off() {
	kill -s KILL -- "-$box" 2>/dev/null
	wait "$box" 2>/dev/null
	ip link set group default down # what has no power answers nobody
}
on() { setsid "$@" & box=$!; }
trap 'off; exit 0' TERM INT
rm -f "$folder/switch"
mkfifo "$folder/switch"
exec 3<>"$folder/switch" # held open: a read waits for who presses
on "$@"
while :; do
	read -r _ <&3 # until the switch is pressed
	off
	sleep 1
	on "$@"
	: >"$folder/on"
done
