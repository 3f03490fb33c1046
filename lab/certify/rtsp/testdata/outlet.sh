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
	rm -f "$folder/on"
	kill -USR1 "$(cat "$folder/outlet")" || exit 1
	until [ -e "$folder/on" ]; do sleep 0.05; done
	exit 0
fi
off() {
	kill -s KILL -- "-$box" 2>/dev/null
	wait "$box" 2>/dev/null
	ip link set group default down # what has no power answers nobody
}
on() { setsid "$@" & box=$!; }
cut=no
trap 'cut=yes' USR1
trap 'off; exit 0' TERM INT
echo $$ >"$folder/outlet.new" && mv "$folder/outlet.new" "$folder/outlet"
on "$@"
while :; do
	wait "$box" # until it ends, or a signal comes
	if [ "$cut" = yes ]; then
		cut=no
		off
		sleep 1
		on "$@"
		: >"$folder/on"
	elif ! kill -0 "$box" 2>/dev/null; then
		echo "the box has ended by itself" >&2
		exit 1
	fi
done
