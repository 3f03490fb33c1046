package work

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// orphanAge is how old streams may be that belong to no job yet: a coordinator makes them first.
const orphanAge = 10 * time.Minute

// duplicates is for how long a server knows the identity of a message.
const duplicates = 2 * time.Minute

// openJobs makes the stream of jobs, if it is not there. A job is the last message of its subject; the coordinator repeats it long
// before it is as old as maxAge.
func (c *client) openJobs(ctx context.Context, maxAge time.Duration, replicas int) (jetstream.Stream, error) {
	s, err := c.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: jobsStream, Description: "runs of punchlab that want workers", Subjects: []string{jobsSubject + "*"},
		MaxMsgsPerSubject: 1, MaxAge: maxAge, Duplicates: min(duplicates, maxAge), Storage: jetstream.FileStorage, AllowDirect: true,
		Replicas: replicas,
	})
	return s, explain(err)
}

// openStreams makes the streams of a job, if they are not there.
func (c *client) openStreams(ctx context.Context, j *job, o Options) (units, records jetstream.Stream, err error) {
	about := map[string]string{"punchlab.run": j.Run, "punchlab.scenario": j.Manifest.Scenario.Name}
	units, err = c.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: j.stream("units"), Subjects: []string{j.subject("unit.>")}, Retention: jetstream.WorkQueuePolicy, Metadata: about,
		// A unit that nobody has finished is not put in again.
		Discard: jetstream.DiscardNew, MaxMsgsPerSubject: 1, DiscardNewPerSubject: true,
		MaxAge: o.MaxAge, Duplicates: min(duplicates, o.MaxAge), Storage: jetstream.FileStorage, AllowDirect: true, Replicas: o.Replicas,
	})
	if err == nil {
		records, err = c.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: j.stream("records"), Subjects: []string{j.subject("log.>")}, Metadata: about,
			MaxAge: o.MaxAge, Duplicates: min(duplicates, o.MaxAge), Storage: jetstream.FileStorage, Compression: jetstream.S2Compression, AllowDirect: true,
			Replicas: o.Replicas,
		})
	}
	if err == nil {
		_, err = units.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
			Durable: consumerName, AckPolicy: jetstream.AckExplicitPolicy, AckWait: o.AckWait, MaxDeliver: -1, MaxAckPending: -1, MaxWaiting: 8192,
		})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("make the streams of run %s: %w", j.Run, explain(err))
	}
	return units, records, nil
}

// explain adds what to do about an error of the server.
func explain(err error) error {
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount),
		errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%w: start the NATS server with -js, or give a user whose account has JetStream", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: the NATS server does not answer", err)
	}
	return err
}

// removeStreams removes what a job has on the server, the job first: its workers then know that it is over.
func (c *client) removeStreams(ctx context.Context, j *job) error {
	var errs []error
	if s, err := c.js.Stream(ctx, jobsStream); err == nil {
		errs = append(errs, s.Purge(ctx, jetstream.WithPurgeSubject(jobsSubject+j.Run)))
	}
	_ = c.nc.Publish(newsSubject, []byte(j.overNews()))
	_ = c.nc.Flush() // the server may be ours, and about to end
	for _, kind := range []string{"units", "records"} {
		if err := c.js.DeleteStream(ctx, j.stream(kind)); !errors.Is(err, jetstream.ErrStreamNotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// putJob shows a job to workers, or keeps it from being forgotten.
func (c *client) putJob(ctx context.Context, j *job) error {
	b, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("encode job: %w", err)
	}
	_, err = c.js.Publish(ctx, jobsSubject+j.Run, b)
	_ = c.nc.Publish(newsSubject, []byte("there is "+j.key())) // it does not matter if that gets lost
	return explain(err)
}

// overNews is what workers are told when a job is over.
func (j *job) overNews() string { return "over is " + j.key() }

// getJob reads the job of a run; nil: there is none.
func getJob(ctx context.Context, jobs jetstream.Stream, run string) (*job, error) {
	m, err := jobs.GetLastMsgForSubject(ctx, jobsSubject+run)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	j := &job{}
	if err := json.Unmarshal(m.Data, j); err != nil {
		return &job{Run: run}, nil // its schema is refused
	}
	return j, nil
}

// listJobs are the jobs on the server, the oldest run first.
func (c *client) listJobs(ctx context.Context) ([]*job, error) {
	s, err := c.js.Stream(ctx, jobsStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, explain(err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(jobsSubject+"*"))
	if err != nil {
		return nil, explain(err)
	}
	var all []*job
	for subject := range info.State.Subjects {
		j, err := getJob(ctx, s, strings.TrimPrefix(subject, jobsSubject))
		if err != nil {
			return nil, explain(err)
		}
		if j != nil {
			all = append(all, j)
		}
	}
	slices.SortFunc(all, func(a, b *job) int {
		if c := a.Manifest.Start.Compare(b.Manifest.Start); c != 0 {
			return c
		}
		return strings.Compare(a.Run, b.Run)
	})
	return all, nil
}

// sweep removes the streams of runs that no job is about: what was in them has aged away, and their coordinator is not coming back.
func (c *client) sweep(ctx context.Context, now time.Time) error {
	jobs, err := c.listJobs(ctx)
	if err != nil {
		return err
	}
	ours := map[string]bool{jobsStream: true}
	for _, j := range jobs {
		ours[j.stream("units")], ours[j.stream("records")] = true, true
	}
	list := c.js.ListStreams(ctx)
	for info := range list.Info() {
		if !strings.HasPrefix(info.Config.Name, streamPrefix) || info.Config.Metadata["punchlab.run"] == "" || ours[info.Config.Name] ||
			now.Sub(info.Created) < orphanAge {
			continue
		}
		if err := c.js.DeleteStream(ctx, info.Config.Name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
		c.log.Info("removed the stream of a run whose coordinator is gone", "stream", info.Config.Name)
	}
	return list.Err()
}
