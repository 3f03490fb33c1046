#!/bin/sh
# What busybox's DHCP client runs: the box takes the address that it was given, and leaves the machine's files alone.
case "$1" in
deconfig)
	ip address flush dev "$interface"
	;;
bound | renew)
	ip address replace "$ip/${mask:-24}" dev "$interface"
	[ -z "${router:-}" ] || ip route replace default via "${router%% *}" dev "$interface"
	;;
esac
