package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// found is what a damaged file holds.
type found struct {
	records map[key]copied
	damaged int  // keys of which no copy is whole
	blank   bool // the file is all zeros, as after a crash of the file system
	named   bool // it has a bucket of our name
}

// copied is a record as one transaction wrote it.
type copied struct {
	record
	write uint64
}

// scan looks for records at every byte of a file, whatever its structure. bbolt writes pages anew rather than over the old
// ones: of several copies of a record the last written is taken. A record that was forgotten may come back from an old copy,
// which harms nobody.
func scan(path string) (found, error) {
	f, err := os.Open(path)
	if err != nil {
		return found{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return found{}, err
	}
	// A page is half full, and half of the file is old copies: as a guess, for a map that grows costs as much as it holds.
	s := scanner{found: found{records: make(map[key]copied, info.Size()/(4*recordSize)), blank: true}, broken: map[key]bool{}}
	buffer := make([]byte, 1<<20)
	kept := 0
	for {
		n, err := io.ReadFull(f, buffer[kept:])
		b := buffer[:kept+n]
		s.scan(b)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return found{}, fmt.Errorf("read damaged database: %w", err)
			}
			break
		}
		kept = copy(buffer, b[len(b)-(recordSize-1):]) // a record may go on in the next chunk, and none is seen twice whole
	}
	for k := range s.broken {
		if _, ok := s.records[k]; !ok {
			s.damaged++
		}
	}
	return s.found, nil
}

type scanner struct {
	found
	broken map[key]bool
}

func (s *scanner) scan(b []byte) {
	s.blank = s.blank && len(bytes.Trim(b, "\x00")) == 0
	s.named = s.named || bytes.Contains(b, metaBucket) || bytes.Contains(b, recordsBucket)
	for at := keySize; at+valueSize <= len(b); {
		i := bytes.Index(b[at:len(b)-valueSize+len(magic)], magic)
		if i < 0 {
			return
		}
		at += i
		k, r, write, ok := decode(b[at-keySize : at+valueSize])
		if !ok {
			s.broken[key(b[at-keySize:at])] = true
			at++
			continue
		}
		if other, known := s.records[k]; !known || write >= other.write {
			s.records[k] = copied{r, write}
		}
		at += valueSize
	}
}

// ours says whether a file may be set aside: it is a database of this program's, or was one.
func (f found) ours() bool { return f.named || f.blank || len(f.records) > 0 }

// setAside renames a damaged file, and returns its new name.
func setAside(path string, now time.Time) (string, error) {
	aside := path + ".damaged-" + now.UTC().Format("20060102T150405Z")
	for n := 2; ; n++ {
		_, err := os.Lstat(aside)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		aside = fmt.Sprintf("%s.damaged-%s-%d", path, now.UTC().Format("20060102T150405Z"), n)
	}
	return aside, os.Rename(path, aside)
}

// salvageSuffix names the new database while it is written. It is whole as soon as there is none of the right name.
const salvageSuffix = ".salvage"

// rebuild writes a new database with the records given, and puts it in the place of the damaged one, which it sets aside. An
// error leaves everything as it was.
func rebuild(path string, changes []keyed) (d *database, aside string, err error) {
	if err := os.Remove(path + salvageSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", err
	}
	if d, err = openDatabase(path + salvageSuffix); err != nil {
		return nil, "", err
	}
	if err = d.fill(changes); err == nil {
		aside, err = setAside(path, time.Now())
	}
	if errors.Is(err, fs.ErrNotExist) { // somebody has taken the damaged file away
		aside, err = "", nil
	}
	if err == nil {
		err = os.Rename(path+salvageSuffix, path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		d.abandon()
		return nil, "", errors.Join(err, os.RemoveAll(path+salvageSuffix))
	}
	return d, aside, nil
}

// fill writes many records, in transactions of a size that memory bears, and syncs at the end. In order, so that no page is
// written twice.
func (d *database) fill(changes []keyed) error {
	const some = 50_000
	sortByKey(changes)
	d.bolt.NoSync = true
	for len(changes) > 0 {
		n := min(some, len(changes))
		if _, err := d.write(changes[:n]); err != nil {
			return err
		}
		changes = changes[n:]
	}
	d.bolt.NoSync = false
	return d.bolt.Sync()
}

// finish puts a new database in its place if the process died in between.
func finish(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := os.Rename(path+salvageSuffix, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
