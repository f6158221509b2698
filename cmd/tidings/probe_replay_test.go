package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A recording is polled by the clock of its time, however long ago that was: the window that is asked for is the one that was.
func TestRecordingKeepsItsTime(t *testing.T) {
	for hidden, want := range map[string]string{"false": "", "true": "the recording has no body of this answer"} {
		dir := t.TempDir()
		for name, content := range map[string]string{
			recordingFile: `{"format":1,"source":"a","at":"2026-01-02T03:04:05Z","pages":2,"start":{"Earliest":true},"events":["*"],"on_lost_position":"from_time",
				"exchanges":1,"http":{"URL":"http://127.0.0.1:1/","Position":"time_window","Window":{"Since":"since","Until":"until"},"ID":"id","Type":"=x","Time":"at"}}`,
			exchangeFile(0): `{"request":"GET http://127.0.0.1:1/","key":"k","loose":"GET /","status":200,"hidden":` + hidden +
				`,"header":{"Date":["Fri, 02 Jan 2026 03:04:05 GMT"]}}` + "\n" + `[{"id":1,"at":"2026-01-02T03:04:00Z"}]`,
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r, err := probeAgain(t.Context(), dir, 0)
		if err != nil {
			t.Fatal(err)
		}
		if want != "" {
			if !strings.Contains(r.Error, want) {
				t.Errorf("%q is not in the error %q", want, r.Error)
			}
			continue
		}
		if len(r.Steps) != 2 || r.Counts[verdictNew] != 1 || r.Error != "" {
			t.Errorf("%d steps, %v, %s: %+v", len(r.Steps), r.Counts, r.Error, r.Steps)
		}
	}
}
