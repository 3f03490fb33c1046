package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/adapter"
	"github.com/punchlab/punchlab/impl/web/webtest"
	"github.com/punchlab/punchlab/lab/certify/contain"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/stack"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	contain.Main()
	live.Main()
	stack.Main()
	if len(os.Args) == 2 && os.Args[1] == adapterName && os.Getenv("PUNCHLAB_CONTRACT") != "" {
		adapter.Main() // testscript goes by the name that a program is called with, and certify calls its executable
	}
	testscript.Main(m, map[string]func(){
		"punchlab": main, "pictures": pictures, "said": program("said", said), "maim": program("maim", maim),
	})
}

// pictures is a browser for scripts: it opens a page, and says which numbers the pictures show, and by which path they came.
func pictures() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := lookAt(ctx, os.Args[len(os.Args)-1]); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

func lookAt(ctx context.Context, url string) error {
	if err := answers(ctx, url); err != nil {
		return err
	}
	page, err := webtest.Open(ctx, "chromium", url)
	if err != nil {
		return err
	}
	defer page.Close()
	seen, err := page.Pictures(ctx, 10)
	if err != nil {
		return err
	}
	fmt.Println("pictures:", strings.Trim(fmt.Sprint(seen), "[]"))
	return path(ctx, page)
}

// path says by which path the pictures come: the direct one, unless none is found.
func path(ctx context.Context, page *webtest.Page) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		facts, err := page.Text("#facts")
		if err != nil {
			return err
		}
		now := strings.Fields(facts)
		if len(now) > 1 && now[1] == "direct" || ctx.Err() != nil {
			fmt.Println("path:", strings.Join(now[min(1, len(now)):min(2, len(now))], " "))
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// answers waits until somebody listens at a URL.
func answers(ctx context.Context, url string) error {
	for {
		r, err := http.Get(url)
		if err == nil {
			return r.Body.Close()
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// have tells scripts what this machine can do. A feature that PUNCHLAB_REQUIRE names must be there.
func have(t *testing.T) map[string]bool {
	t.Helper()
	h := map[string]bool{"lab": true, "browser": true}
	if _, err := exec.LookPath("chromium"); err != nil {
		h["browser"] = false
		if strings.Contains(","+os.Getenv("PUNCHLAB_REQUIRE")+",", ",chromium,") {
			t.Fatal("PUNCHLAB_REQUIRE names chromium, which is not installed")
		}
	}
	if out, err := command(t, t.TempDir(), "doctor").CombinedOutput(); err != nil {
		h["lab"] = false
		t.Logf("punchlab doctor: %v\n%s", err, out)
		if strings.Contains(","+os.Getenv("PUNCHLAB_REQUIRE")+",", ",netns,") {
			t.Fatal("PUNCHLAB_REQUIRE names netns, and doctor says that the lab can't run here")
		}
	}
	return h
}

func TestScripts(t *testing.T) {
	can := have(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("NO_COLOR", "1")
			b, err := os.ReadFile("../../README.md")
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(e.WorkDir, "README.md"), b, 0o644)
		},
		Condition: func(cond string) (bool, error) { return can[cond], nil },
	})
}
