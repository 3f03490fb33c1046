package rendezvous

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the server's counts, read when they are asked for.
type metrics struct{ h *Handle }

// Describe sends nothing: which reasons for dropping there are shows in time.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect reads the counts once.
func (m *metrics) Collect(c chan<- prometheus.Metric) {
	s := m.h.Stats()
	one := func(t prometheus.ValueType, name, help string, v float64) {
		c <- prometheus.MustNewConstMetric(prometheus.NewDesc("punchlab_rendezvous_"+name, help, nil, nil), t, v)
	}
	count := func(name, help string, v int64) { one(prometheus.CounterValue, name+"_total", help, float64(v)) }
	gauge := func(name, help string, v int) { one(prometheus.GaugeValue, name, help, float64(v)) }

	gauge("cameras_online", "Cameras that can be reached.", s.Core.Online)
	gauge("devices", "Devices remembered.", s.Core.Registrations)
	gauge("relays", "Relays open.", s.Core.Relays)
	gauge("connections", "Connections remembered.", s.Core.Ties)
	gauge("streams", "Devices' TCP and TLS connections.", s.Node.Streams)
	gauge("records", "Records in the database.", s.Records)
	count("handshakes", "Sessions begun.", s.Core.Handshakes)
	count("cookies", "Handshakes answered by a cookie, under load.", s.Core.Cookies)
	count("introductions", "Viewers introduced to cameras.", s.Core.Introductions)
	count("refused", "Viewers' requests refused.", s.Core.Refused)
	count("relayed_bytes", "Bytes relayed, without framing.", s.Core.RelayedBytes)
	count("relayed_frames", "Frames relayed.", s.Core.RelayedFrames)
	count("over_quota_frames", "Frames dropped since they exceed a quota.", s.Core.OverQuota)
	count("stun_bindings", "STUN requests answered.", s.Core.Bindings)
	count("samples", "Samples of mappings passed on.", s.Core.Samples)
	count("received_packets", "Datagrams received.", s.Node.Received.Packets)
	count("received_bytes", "Bytes received in datagrams.", s.Node.Received.Bytes)
	count("sent_packets", "Datagrams sent.", s.Node.Sent.Packets)
	count("sent_bytes", "Bytes sent in datagrams.", s.Node.Sent.Bytes)
	count("write_errors", "Datagrams that the kernel refused.", s.Node.WriteErrors)
	dropped := prometheus.NewDesc("punchlab_rendezvous_dropped_packets_total", "Datagrams dropped, by reason.", []string{"reason"}, nil)
	for reason, n := range s.Core.Dropped {
		c <- prometheus.MustNewConstMetric(dropped, prometheus.CounterValue, float64(n), reason)
	}
	failing := 0
	if m.h.failing.Load() != nil {
		failing = 1
	}
	gauge("database_failing", "1: the database cannot be written to.", failing)
	if m.h.cluster == nil {
		return
	}
	connected := 0
	if m.h.cluster.Health().Connected {
		connected = 1
	}
	gauge("cluster_connected", "1: this node shares what it knows with the others.", connected)
	gauge("cluster_nodes", "Other nodes that live.", s.Cluster.Nodes)
	gauge("cluster_cameras", "Cameras of this node in the directory.", s.Cluster.Held)
	gauge("cluster_waiting", "Lookups and announcements that wait.", s.Cluster.Waiting)
	count("cluster_asked", "Messages of devices here for cameras elsewhere.", s.Cluster.Asked)
	count("cluster_unanswered", "Of them, in vain.", s.Cluster.Unanswered)
	count("cluster_visits", "Messages of other nodes' devices for cameras here.", s.Cluster.Visits)
	count("cluster_restored", "Connections that went on here after their home was lost.", s.Cluster.Restored)
	count("cluster_conflicts", "Cameras announced that another node held.", s.Cluster.Conflicts)
	count("cluster_frames_sent", "Relay frames to other nodes.", s.Cluster.FramesOut)
	count("cluster_frames_received", "Relay frames from other nodes.", s.Cluster.FramesIn)
	count("cluster_lost", "Letters that could not be sent.", s.Cluster.Lost)
	count("cluster_bad", "Letters, entries and frames that do not open.", s.Cluster.Bad)
}
