#!/bin/sh
# make-clip.sh [OUT] makes the embedded test clip, impl/media/clip.h264, anew.
#
# The clip: 4 s of 1280x720 H.264 Annex B at 25 frames/s and about 2 Mbit/s, constrained baseline
# in all that matters to transport: a key frame (IDR) each second with SPS and PPS before it, closed
# groups of pictures, no B-frames, one slice a picture, no SEI. Each key frame takes 30 to 60 kB.
#
# Each picture shows its number twice: as text for people and, along the lower edge, as a row of
# 16 blocks of 80x80 pixels for programs. Left to right:
#
#	block   0      1      2 ... 13                    14           15
#	        white  black  frame number, 12 bits,      even parity  odd parity
#	                      most significant first      of 2..13     of 2..13
#
# White is a one. decode_test.go reads them back.
#
# Needs ffmpeg with libx264 and drawtext (Debian: apt-get install ffmpeg) and go, whose module
# golang.org/x/image carries the font. One thread, fixed seeds and bit-exact flags: the same
# ffmpeg and x264 make the same bytes. The committed clip was made by ffmpeg 5.1.9, x264 core 164.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
out=${1:-$here/clip.h264}
font=$(cd "$here" && go list -m -f "{{.Dir}}" golang.org/x/image || true)/font/gofont/ttfs/Go-Mono-Bold.ttf
if [ ! -f "$font" ]; then
	echo "make-clip.sh: no font at $font; run: go mod download golang.org/x/image" >&2
	exit 70
fi

# block INDEX EXPRESSION: a white block where EXPRESSION of the frame number n is not zero.
filters=
block() {
	filters="$filters,drawbox=x=$(($1 * 80)):y=640:w=80:h=80:color=white:t=fill:enable='$2'"
}
block 0 1
ones=0
bit=0
while [ $bit -lt 12 ]; do
	value="mod(floor(n/$((1 << bit))),2)"
	block $((13 - bit)) "$value"
	ones="$ones+$value"
	bit=$((bit + 1))
done
block 14 "mod($ones,2)"
block 15 "1-mod($ones,2)"

ffmpeg -nostdin -hide_banner -loglevel error -y -threads 1 -filter_threads 1 \
	-f lavfi -i "testsrc2=size=1280x720:rate=25:duration=4" \
	-vf "noise=c0_seed=1:c0_strength=4:c0_flags=t\
,drawbox=x=0:y=640:w=1280:h=80:color=black:t=fill$filters\
,drawtext=fontfile=$font:text='%{frame_num}':start_number=0:fontsize=120:fontcolor=white:box=1:boxcolor=black:boxborderw=16:x=(w-text_w)/2:y=260\
,format=yuv420p" \
	-an -c:v libx264 -threads 1 -profile:v baseline -preset medium -bf 0 -g 25 -keyint_min 25 -sc_threshold 0 \
	-b:v 2000k -maxrate 2200k -bufsize 2000k \
	-x264-params "repeat-headers=1:open-gop=0:slices=1:sliced-threads=0:aud=0:nal-hrd=none" \
	-flags:v +bitexact -fflags +bitexact -bsf:v filter_units=remove_types=6 -f h264 "$out"
