// Package versitygw pins the S3 server that impl/cloud is tested against, in a Go module of its own so that the camera's
// dependencies do not grow by a server's. It holds no code:
//
//	(cd impl/cloud/versitygw && go build -trimpath -o ../../../bin/versitygw github.com/versity/versitygw/cmd/versitygw)
//
//	bin/versitygw ─ S3 API over TLS ─▶ posix backend: a folder for each bucket, a file for each object
package versitygw
