#!/bin/sh
# The box: what runs in it from when it has power. An address by DHCP (busybox), a scene, and the RTSP server.
#
# Usage: firmware.sh INTERFACE FOLDER                         in a network namespace of its own; FOLDER is its flash
#        firmware.sh INTERFACE FOLDER USER:PASSWORD METHOD    it asks for a password, by METHOD: Basic, Digest
#        firmware.sh INTERFACE FOLDER fragile                 it has a bug: fragile.py is in front of the server
#        firmware.sh INTERFACE FOLDER cookieless              it holds few half-open connections, and has no SYN cookies (RFC 4987 §3.6)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
interface=$1 flash=$2
shift 2
scene=$flash/scene.h264
[ -e "$scene" ] || {
	ffmpeg -nostdin -v error -f lavfi -i testsrc2=size=320x240:rate=25,noise=alls=12:allf=t -t 4 -c:v libx264 -preset ultrafast \
		-b:v 700k -maxrate 700k -bufsize 200k -x264-params aud=1:keyint=10:scenecut=0 -bsf:v h264_metadata=aud=insert \
		-f h264 -y "$scene.new"
	mv "$scene.new" "$scene"
}
# An address by DHCP, asked for anew when the cable has been plugged in again.
address() {
	was=no client=
	{ ip -o link show dev "$interface"; exec ip -o monitor link dev "$interface"; } | while read -r event; do
		case "$event" in
		*LOWER_UP*)
			[ "$was" = up ] && continue
			was=up
			[ -z "$client" ] || { kill "$client"; wait "$client"; } 2>/dev/null || :
			busybox udhcpc -f -S -i "$interface" -s "$here/lease.sh" -x hostname:frontdoor -V "traditional camera" -t 1000 -T 1 -A 1 &
			client=$!
			;;
		*) was=down ;;
		esac
	done
}
ip link set lo up
ip address flush dev "$interface"
ip link set "$interface" up
serve() {
	case "${1:-}" in
	cookieless)
		echo 0 >/proc/sys/net/ipv4/tcp_syncookies
		echo 16 >/proc/sys/net/ipv4/tcp_max_syn_backlog
		serve
		;;
	fragile)
		/usr/bin/python3 "$here/camera.py" "$scene" 8555 /stream | {
			read -r _
			exec /usr/bin/python3 "$here/fragile.py" 8554 8555
		}
		;;
	*) exec /usr/bin/python3 "$here/camera.py" "$scene" 8554 /stream "$@" ;;
	esac
}
serve "$@" | { read -r _ && address; } # it has no address before it listens
