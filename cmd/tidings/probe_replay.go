package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"time"

	"tidings/config"
	"tidings/event"
	"tidings/sources"
)

// Bounds of a recording that is read.
const (
	maxRecordedFile = 64 << 20
	maxExchanges    = 20_000
)

// probeAgain polls a recording.
func probeAgain(ctx context.Context, dir string, pages int) (*probeReport, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, exit(exitUsage, "--from: %w", err)
	}
	defer root.Close()
	r, exchanges, err := readRecording(root)
	if err != nil {
		return nil, fmt.Errorf("--from %s: %w", dir, err)
	}
	p := r.probe()
	if pages > 0 {
		p.Pages = pages
	}
	return p.again(ctx, r, exchanges, dir)
}

func (p *probe) again(ctx context.Context, r *recordedProbe, exchanges []sources.Exchange, dir string) (*probeReport, error) {
	begun := time.Now()
	w := &watch{pages: p.Pages, recording: true, now: func() time.Time { return p.At.Add(time.Since(begun)).Round(0) }}
	known := map[string]bool{}
	for _, id := range r.Known {
		known[id] = true
	}
	st := newProbeStore(ctx, event.Position{Generation: p.Generation, Data: p.Position}, func(_ context.Context, ids []string) ([]bool, error) {
		answers := make([]bool, len(ids))
		for i, id := range ids {
			answers[i] = known[id]
		}
		return answers, nil
	})
	tape := &tape{exchanges: exchanges, played: make([]bool, len(exchanges)), watch: w}
	report, err := p.run(ctx, w, st, sources.Options{Trace: tape.told, Replay: tape.answer, Transport: offline{}})
	if err != nil {
		return nil, fmt.Errorf("--from %s: what %s says can't be polled: %w", dir, recordingFile, err)
	}
	report.From = dir
	return report, nil
}

// offline reaches nobody.
type offline struct{}

func (offline) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("a recording is polled, and nobody is asked")
}

// tape plays recorded exchanges.
type tape struct {
	exchanges []sources.Exchange
	played    []bool
	last      sources.Exchange
	watch     *watch
}

// answer gives the recorded exchange of a request: that of the same one, else of one that differs by its time alone, else the next; each
// once, as long as there are others.
func (t *tape) answer(asked sources.Exchange) (sources.Exchange, error) {
	same := func(x sources.Exchange) bool { return x.Key == asked.Key }
	alike := func(x sources.Exchange) bool { return x.Loose == asked.Loose }
	any := func(sources.Exchange) bool { return true }
	at := t.find(asked, false, same, alike)
	if at < 0 {
		at = t.find(asked, true, same, alike)
	}
	if at < 0 {
		if at = t.find(asked, false, any); at >= 0 {
			t.watch.note("the recording has no answer to %s; the next one in it is that of %s", asked.Request, t.exchanges[at].Request)
		}
	}
	if at < 0 {
		return sources.Exchange{}, errors.New("the recording has no answer to this request")
	}
	t.played[at], t.last = true, t.exchanges[at]
	return t.last, nil
}

// find returns the first exchange of the asked one's kind that fits by the first of these rules that any fits by, -1 for none.
func (t *tape) find(asked sources.Exchange, played bool, rules ...func(sources.Exchange) bool) int {
	for _, fits := range rules {
		for i, x := range t.exchanges {
			if t.played[i] == played && x.Program == asked.Program && x.Login == asked.Login && fits(x) {
				return i
			}
		}
	}
	return -1
}

// told takes down an exchange with the time that it took when it was recorded.
func (t *tape) told(x sources.Exchange) {
	x.Took, x.Size = t.last.Took, t.last.Size
	t.watch.exchange(x)
}

// probe is what was polled when r was recorded.
func (r *recordedProbe) probe() *probe {
	s := config.Source{
		Name: r.Source, Preset: r.Preset, HTTP: r.HTTP, Feeds: r.Feeds, Identity: r.API, Open: r.Open, Start: r.Start, Overlap: r.Overlap,
		OnLost: r.OnLost, Events: r.Events, Values: map[string]event.Secret{},
	}
	for name, value := range r.Parameters {
		s.Values[name] = event.NewSecret(value)
	}
	if e := r.Exec; e != nil {
		s.Exec = &config.ExecSource{
			Command: []event.Secret{event.NewSecret(e.Program)}, Timeout: e.Timeout, ID: e.ID, Type: e.Type, Time: e.Time, Zone: e.Zone, Layout: e.Layout,
		}
	}
	p := &probe{Source: s, Sinks: r.Sinks, Remember: r.Remember, At: r.At, Pages: r.Pages, Generation: r.Generation, Note: r.Note}
	if !bytes.Equal(bytes.TrimSpace(r.Position), []byte("null")) {
		p.Position = r.Position
	}
	return p
}

// readRecording reads a directory that --save made.
func readRecording(root *os.Root) (*recordedProbe, []sources.Exchange, error) {
	content, err := readRecorded(root, recordingFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, exit(exitFailed, "there is no %s in it: it is no recording of a probe, or one that was not finished", recordingFile)
	}
	if err != nil {
		return nil, nil, err
	}
	r, err := decodeProbe(content)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", recordingFile, err)
	}
	exchanges := make([]sources.Exchange, 0, min(r.Exchanges, 100))
	for i := range r.Exchanges {
		content, err := readRecorded(root, exchangeFile(i))
		if err != nil {
			return nil, nil, fmt.Errorf("the recording is not whole: %w", err)
		}
		x, err := decodeExchange(content)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", exchangeFile(i), err)
		}
		exchanges = append(exchanges, x)
	}
	return r, exchanges, nil
}

func readRecorded(root *os.Root, name string) ([]byte, error) {
	if info, err := root.Stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", name)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxRecordedFile+1))
	if err == nil && len(content) > maxRecordedFile {
		err = fmt.Errorf("%s is longer than %s", name, bytesText(maxRecordedFile))
	}
	return content, err
}

// decodeProbe reads probe.json.
func decodeProbe(content []byte) (*recordedProbe, error) {
	var format struct{ Format int }
	if err := json.Unmarshal(content, &format); err != nil {
		return nil, fmt.Errorf("it is not JSON as a probe writes it: %w", err)
	}
	if format.Format != recordingFormat {
		return nil, fmt.Errorf("it has format %d, and this program (%s) reads format %d: use the one that wrote it", format.Format, version, recordingFormat)
	}
	r := &recordedProbe{}
	dec := json.NewDecoder(bytes.NewReader(content))
	dec.DisallowUnknownFields()
	if err := dec.Decode(r); err != nil {
		return nil, fmt.Errorf("it is not as a probe writes it: %w", err)
	}
	switch {
	case r.Source == "" || r.Pages < 1 || r.At.IsZero() || r.Overlap < 0 || r.Remember < 0:
		return nil, errors.New("it does not say what was polled: source, at or pages is missing or wrong")
	case r.Exchanges < 0 || r.Exchanges > maxExchanges:
		return nil, fmt.Errorf("it names %d exchanges, and there are at most %d", r.Exchanges, maxExchanges)
	case !slices.Contains([]string{"from_time", "stop", "from_now"}, r.OnLost):
		return nil, fmt.Errorf("on_lost_position is %q", r.OnLost)
	}
	return r, nil
}
