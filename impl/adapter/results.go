package adapter

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
)

// Files of the result folder.
const (
	readyFile    = "ready"
	ticketFile   = "ticket"
	identityFile = "identity.json"
	framesFile   = "frames.jsonl"
)

// public is what is known of a camera by everybody.
type public struct {
	UID string `json:"uid"`
}

// put writes a result, whole or not at all.
func (e environment) put(name string, content []byte) error {
	return identity.WriteFile(filepath.Join(e.result, name), content, 0o644)
}

// putCamera writes what a camera is known by: the ticket, which holds a secret, and what is public.
func (e environment) putCamera(l identity.Label) error {
	b, err := json.Marshal(public{UID: l.UID().String()})
	if err != nil {
		return err
	}
	return errors.Join(e.put(identityFile, append(b, '\n')), e.put(ticketFile, []byte(l.String())))
}

// frame is a line of frames.jsonl.
type frame struct {
	N      int     `json:"n"`
	T      float64 `json:"t"` // unix seconds
	Size   int     `json:"size"`
	SHA256 string  `json:"sha256"`
}

// frames writes frames.jsonl on a goroutine of its own: who sends or shows a frame does not wait for the disk.
type frames struct {
	file  *os.File
	queue chan noted
	wg    sync.WaitGroup
	err   error // the writer's, until close
	once  sync.Once
}

// noted is a frame that was sent or received; its data is shared and not written to.
type noted struct {
	n    int
	at   time.Time
	data []byte
}

// waiting is how many frames wait for the disk at most, before whoever has another one waits too.
const waiting = 1024

func (e environment) openFrames() (*frames, error) {
	file, err := os.OpenFile(filepath.Join(e.result, framesFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	f := &frames{file: file, queue: make(chan noted, waiting)}
	f.wg.Go(f.write)
	return f, nil
}

// note adds a frame: the source's number index, from 0.
func (f *frames) note(index int, at time.Time, data []byte) { f.queue <- noted{index + 1, at, data} }

// write appends a line at a time, each with one call: whoever reads meanwhile sees whole ones.
func (f *frames) write() {
	for x := range f.queue {
		sum := sha256.Sum256(x.data)
		b, err := json.Marshal(frame{N: x.n, T: float64(x.at.UnixMicro()) / 1e6, Size: len(x.data), SHA256: hex.EncodeToString(sum[:])})
		if err == nil && f.err == nil {
			_, err = f.file.Write(append(b, '\n'))
		}
		if err != nil && f.err == nil {
			f.err = fmt.Errorf("write %s: %w", framesFile, err)
		}
	}
}

// close waits until all is written. Nothing is noted any more.
func (f *frames) close() error {
	f.once.Do(func() {
		close(f.queue)
		f.wg.Wait()
		f.err = errors.Join(f.err, f.file.Close())
	})
	return f.err
}
