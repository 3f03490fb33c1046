package ice

import "github.com/pion/webrtc/v4"

var _ = webrtc.PeerConnection{}
