#!/bin/sh
# Certifies the traditional camera by the command line, as its vendor would: a box on the interface cam7, whose other end is in a network
# namespace. Needs root, punchlab in PATH or PUNCHLAB, and what firmware.sh and adapter.py use (Debian: gir1.2-gst-rtsp-server-1.0
# python3-gi ffmpeg busybox).
#
# Usage: try.sh FLAG…      of punchlab certify
#        try.sh --brief --out out/rtsp
#        try.sh --brief --case SEC-4
set -eu
here=$(cd "$(dirname "$0")" && pwd)/testdata
inside=punchlab-cam7 box=$(mktemp -d)
clean() {
	[ -z "${outlet:-}" ] || { kill "$outlet" && wait "$outlet"; } || :
	ip link delete cam7 2>/dev/null || : # gone already if the lab was killed
	ip netns delete "$inside" || :
	rm -rf "$box"
}
ip netns add "$inside"
trap clean EXIT
trap 'exit 130' INT TERM
ip link add cam7 type veth peer name eth0 netns "$inside"
ip link set cam7 up
ip netns exec "$inside" "$here/outlet.sh" "$box" "$here/firmware.sh" eth0 "$box" >"$box/log" 2>&1 &
outlet=$!

# The declaration is of what is installed here.
firmware=$(ls /usr/lib/*/libgstrtspserver-1.0.so.0)
digest=$(sha256sum "$firmware" | cut -d ' ' -f 1)
sed "s/\"0\{64\}\"/$digest/" "$here/rtsp.yaml" >"$box/rtsp.yaml"

"${PUNCHLAB:-punchlab}" certify --profile "$box/rtsp.yaml" --attach cam7 --forward 8554 --hook "$here/outlet.sh $box" "$@" -- "$here/adapter.py"
