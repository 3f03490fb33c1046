package work

import "embed"

// Kubernetes are manifests, each with what it is for at its beginning:
//
//	kubernetes/indexed-job.yaml  a run in parts, one a pod: --shard auto/N reads JOB_COMPLETION_INDEX
//	kubernetes/merge.yaml        makes one run of the parts
//	kubernetes/queue.yaml        a run on a work queue: NATS, a coordinator and workers
//
//go:embed kubernetes/*.yaml
var Kubernetes embed.FS
