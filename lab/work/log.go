package work

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// logReader reads a stream from its start, each message once and in order, over whatever happens to the server and the
// connection: what comes out of turn is asked for again.
type logReader struct {
	stream jetstream.Stream
	read   uint64 // sequence of the last message

	consumer jetstream.Consumer
	turn     uint64 // of the consumer's last message
}

// readBatch is how many messages are asked for at once.
const readBatch = 256

// readerAge is after how long a server forgets a reader that is gone.
const readerAge = time.Minute

// next returns the messages that follow, as many as there are; none after waiting in vain.
func (r *logReader) next(ctx context.Context, wait time.Duration) ([]jetstream.Msg, error) {
	if r.consumer == nil {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		c, err := r.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
			AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.read + 1,
			InactiveThreshold: readerAge, MemoryStorage: true,
		})
		if err != nil {
			return nil, err
		}
		r.consumer, r.turn = c, 0
	}
	out, err := r.fetch(r.consumer.FetchNoWait(readBatch))
	if err != nil || len(out) > 0 || r.consumer == nil {
		return out, err
	}
	short, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	out, err = r.fetch(r.consumer.Fetch(1, jetstream.FetchContext(short)))
	if err != nil || len(out) > 0 || r.consumer == nil {
		return out, err
	}
	return nil, r.doubt(ctx)
}

// restart reads from the start again.
func (r *logReader) restart() { r.read, r.consumer = 0, nil }

// doubt begins again if there is more than was read, though nothing came: an answer may be lost. What the server has not any more is
// left out.
func (r *logReader) doubt(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	info, err := r.stream.Info(ctx)
	if err == nil && info.State.LastSeq > r.read {
		r.consumer = nil
		r.read = max(r.read, info.State.FirstSeq-1)
	}
	return err
}

// fetch takes messages as long as they come in turn.
func (r *logReader) fetch(b jetstream.MessageBatch, err error) (out []jetstream.Msg, _ error) {
	if errors.Is(err, jetstream.ErrInvalidOption) {
		return nil, nil // the time to wait was over before the server was asked
	}
	if err != nil {
		r.consumer = nil
		return nil, err
	}
	for m := range b.Messages() {
		about, err := m.Metadata()
		if err != nil || about.Sequence.Consumer != r.turn+1 || about.Sequence.Stream <= r.read {
			r.consumer = nil // begun again behind what was read
			continue
		}
		r.turn, r.read = about.Sequence.Consumer, about.Sequence.Stream
		out = append(out, m)
	}
	if err := b.Error(); err != nil && !quiet(err) {
		r.consumer = nil
		return out, fmt.Errorf("read %s: %w", r.stream.CachedInfo().Config.Name, err)
	}
	return out, nil
}

// quiet reports whether an error of a fetch only says that nothing came.
func quiet(err error) bool {
	return errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, jetstream.ErrNoMessages)
}
