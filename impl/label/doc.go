// Package label prints a camera's label as a QR code, and reads one from a photo.
//
//	identity.Label ─String─► text ─New─► Code ─► PNG, SVG, Terminal
//	                                                │ printed, photographed
//	identity.Label ◄─ParseLabel─ text ◄─── Read ◄─ PNG, JPEG, GIF, WebP
//
// Codes are written with rsc.io/qr's tables and read with gozxing, so that each checks the other. Reading goes on from what
// costs little to what costs much: the picture as it is; at other sizes, for a code can be too fine or too coarse for the
// finder; smoothed against noise; and with another threshold against shadows. A code may lie at any angle, be mirrored or
// inverted, and lie askew; see the tests for how much.
//
// Texts and pictures are secrets: errors quote neither.
package label
