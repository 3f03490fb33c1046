// Package source is a camera's live video: one capture by an ffmpeg subprocess, for any number of viewers.
//
//	rtsp://…          ┌─ capture (ffmpeg) ─┐  H.264 as it is ──────────► rendition "copy" ─┬─► Reader ─► camera core
//	/dev/video0  ───► │ copy, or decode    │──┬────────────────────────────────────────────┴─► Reader ─► recorder
//	lavfi:…           └────────────────────┘  └─ FLV or Y4M ─► encoder (ffmpeg) ─► rendition, N bit/s ─► Reader
//
// The capture runs while somebody reads (Config.Always: all the time), and a little longer; it is started again, with growing
// pauses, whenever it ends, hangs or cannot be started. Video that is H.264 already is passed on as it is, byte for byte. What a
// path can't carry, and what is no H.264, an encoder makes: the capture's output goes into its stdin. For another bit rate, or for a
// key frame that is asked for, a second encoder starts beside the first and takes over with its first picture, which is a key frame.
//
// A Reader begins at a key frame: with what there is of the running group of pictures. It has no queue of its own but a place in the
// rendition's, so that a slow reader costs no memory; one that falls behind goes on at the newest key frame.
//
// Every process is the leader of a group, which is killed as a whole, and ends with this program however that ends.
package source
