package document

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab"
)

// Names lists the documents in a folder of the program, sorted, without their ending.
func Names(files fs.FS) []string {
	found, err := fs.Glob(files, "*.yaml")
	if err != nil {
		panic("document: list embedded files: " + err.Error())
	}
	names := make([]string, len(found))
	for i, f := range found {
		names[i] = strings.TrimSuffix(f, ".yaml")
	}
	slices.Sort(names)
	return names
}

// IsFile says whether a word means a file and not a named document.
func IsFile(nameOrFile string) bool {
	return strings.ContainsRune(nameOrFile, os.PathSeparator) || strings.HasSuffix(nameOrFile, ".yaml") || strings.HasSuffix(nameOrFile, ".yml")
}

// Read returns a named document of the program, or that of a file. Folder is where the program's documents are in its source,
// what is one in words: "topology". The first result is the file's name for errors.
func Read(files fs.FS, folder, what, nameOrFile string) (string, []byte, error) {
	if IsFile(nameOrFile) {
		data, err := readFile(nameOrFile)
		if err != nil {
			return "", nil, Errors{{File: nameOrFile, Msg: fmt.Sprintf("read %s: %v", what, Cause(err))}}
		}
		return nameOrFile, data, nil
	}
	data, err := fs.ReadFile(files, nameOrFile+".yaml")
	if err != nil {
		p := lab.Unknown("", what, nameOrFile, Names(files))
		if p.Suggestion == "" {
			p.Msg += "; a file's name ends in .yaml"
		}
		return "", nil, Errors{{File: what, Msg: p.Msg, Suggestion: p.Suggestion}}
	}
	return path.Join(folder, nameOrFile+".yaml"), data, nil
}

// readFile reads no more than a document may have, so that neither a device nor a huge file fills the memory.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxBytes+1))
}

// OpenFile opens a regular file: what comes from a device or a pipe might never come, or never end.
func OpenFile(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	return os.Open(name)
}

// Cause drops the operation and the name that a message has already.
func Cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
