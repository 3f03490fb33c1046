#!/bin/bash
# One cell as a shell script: a camera and a viewer, each behind a Linux router that masquerades, meet by hole punching.
#
#   cam 192.168.1.2 ── crt 203.0.113.2 ──┐
#                                        inet ── rv 198.51.100.2
#   view 192.168.2.2 ─ vrt 203.0.114.2 ──┘
#
# usage: cell.sh PUNCHLAB FOLDER TRIALS    prints, for each trial that got so far, the viewer's first frame
# Everything is made anew for each trial, as such scripts do, and is gone with the namespaces that the script itself runs in.
set -eu
punchlab=$1 trials=$3
cd "$2"
mount -t tmpfs none /run && mkdir -p /run/netns
export HOME=$PWD XDG_CONFIG_HOME=$PWD

wire() { # namespace interface address, of both ends
  ip link add "$2" netns "$1" type veth peer name "$5" netns "$4"
  ip -n "$1" addr add "$3" dev "$2" && ip -n "$1" link set "$2" up
  ip -n "$4" addr add "$6" dev "$5" && ip -n "$4" link set "$5" up
}

router() { # namespace: masquerade what leaves by wan, drop what nobody asked for
  ip netns exec "$1" sysctl -qw net.ipv4.ip_forward=1
  ip netns exec "$1" nft -f - <<NFT
table ip nat {
  chain post { type nat hook postrouting priority srcnat; oifname wan masquerade; }
  chain input { type filter hook input priority filter; iifname wan ct state new drop; }
  chain forward { type filter hook forward priority filter; iifname wan ct state new drop; }
}
NFT
}

up() {
  for n in inet rv crt cam vrt view; do ip netns add $n && ip -n $n link set lo up; done
  wire inet rv 198.51.100.1/24 rv eth 198.51.100.2/24
  wire inet crt 203.0.113.1/24 crt wan 203.0.113.2/24
  wire inet vrt 203.0.114.1/24 vrt wan 203.0.114.2/24
  wire crt lan 192.168.1.1/24 cam eth 192.168.1.2/24
  wire vrt lan 192.168.2.1/24 view eth 192.168.2.2/24
  ip netns exec inet sysctl -qw net.ipv4.ip_forward=1
  ip -n rv route add default via 198.51.100.1
  ip -n crt route add default via 203.0.113.1 && ip -n vrt route add default via 203.0.114.1
  ip -n cam route add default via 192.168.1.1 && ip -n view route add default via 192.168.2.1
  router crt && router vrt
}

down() {
  kill $server $camera && wait $server $camera || true
  for n in inet rv crt cam vrt view; do ip netns del $n; done
}

said() { # file text
  until grep -q "$2" "$1" 2>/dev/null; do sleep 0.005; done
}

"$punchlab" rendezvous --key rv.key --print-key >rv.pub
for ((i = 0; i < trials; i++)); do
  rm -f *.log label.txt
  up
  ip netns exec rv "$punchlab" rendezvous --key rv.key --listen 198.51.100.2:4479 --tls 0 --stun=false --drain 0s --database memory 2>rv.log &
  server=$!
  said rv.log msg=listening
  ip netns exec cam "$punchlab" camera --key cam.key --rendezvous 198.51.100.2:4479 --rendezvous-key rv.pub --no-lan --no-map >label.txt 2>cam.log &
  camera=$!
  said cam.log msg=ready
  ip netns exec view "$punchlab" viewer label.txt --key view.key --strategy direct --no-lan --for 40ms --json 2>view.log | grep '"key frame"' || true
  down
done
