// Package label prints a camera's label as a QR code, and reads one from a photo.
//
//	identity.Label ─String─► text ─New─► Code ─► PNG, SVG, Terminal
//	                                                │ printed, photographed
//	identity.Label ◄─ParseLabel─ text ◄─── Read ◄─ PNG, JPEG, GIF, WebP
//
// Codes are written with rsc.io/qr's tables and read with gozxing, so that each checks the other. Reading goes on from what
// costs little to what costs much: the picture as it is; at other sizes, for a code can be too fine or too coarse for the
// finder; and smoothed against noise. A code may lie at any angle, mirrored or inverted. TestReadPhotos says how much else
// is borne: among others noise of 100 levels of 255, blur by a third of a module, a fourth of all pixels lost, two pixels a
// module, dirt on 4 % of the code, and an edge nearer than the other by a quarter.
//
// Texts and pictures are secrets: errors quote neither.
package label
