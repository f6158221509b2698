package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"tidings/config"
	"tidings/event"
	"tidings/recipe"
	"tidings/sources"
)

// A recording of a probe is a directory: probe.json says what was polled and from where, and each exchange has a file of its own, a line of
// JSON and then the body.
const (
	recordingFormat = 1
	recordingFile   = "probe.json"
	recordingReadme = `This directory holds one poll of an event API, made by "tidings probe --save".

probe.json       what was polled: the recipe, its parameters, the position before the poll
exchange-N.txt   the Nth request: a line of JSON that tells it, and behind that line the body of its answer

The values of secrets are replaced by words that begin with "hidden", and cookies and credentials are left out. The bodies are as the API
gave them, and may be data of your customers: look at them before you send them to anybody.

"tidings probe --from DIR" polls it again, without a configuration and without asking the API.
`
)

// recordedProbe is probe.json.
type recordedProbe struct {
	Format     int               `json:"format"`
	Tidings    string            `json:"tidings"` // version
	At         time.Time         `json:"at"`
	Source     string            `json:"source"`
	Preset     string            `json:"preset,omitempty"`
	API        string            `json:"api"`
	HTTP       recipe.HTTP       `json:"http"`
	Feeds      []recipe.Feed     `json:"feeds,omitempty"`
	Exec       *recordedExec     `json:"exec,omitempty"`
	Parameters map[string]string `json:"parameters,omitempty"` // those of Open as they were, placeholders for the others
	Open       []string          `json:"open,omitempty"`
	Start      config.Start      `json:"start"`
	Overlap    time.Duration     `json:"overlap"`
	OnLost     string            `json:"on_lost_position"`
	Events     event.Filter      `json:"events"`
	Remember   time.Duration     `json:"remember"`
	Sinks      []event.SinkSpec  `json:"sinks"`
	Pages      int               `json:"pages"`
	Generation uint64            `json:"generation"`
	Position   json.RawMessage   `json:"position"` // as it was stored; null: never polled
	Note       string            `json:"note,omitempty"`
	Known      []string          `json:"known"` // those of the listed ids that were remembered
	Exchanges  int               `json:"exchanges"`
}

// recordedExec is a program, without its arguments and its environment.
type recordedExec struct {
	Program string        `json:"program"`
	Timeout time.Duration `json:"timeout"`
	ID      string        `json:"id,omitempty"`
	Type    string        `json:"type,omitempty"`
	Time    string        `json:"time,omitempty"`
	Zone    string        `json:"zone,omitempty"`
	Layout  string        `json:"layout,omitempty"`
}

// recording is a directory that a probe is kept in.
type recording struct {
	dir  string
	root *os.Root
}

// newRecording makes the directory, or takes an empty one. It is asked before anything is polled.
func newRecording(dir string) (*recording, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("--save: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("--save: %w", err)
	}
	if len(entries) > 0 {
		return nil, exit(exitUsage, "--save: %s is not empty, and nothing in it is overwritten: name a new directory", dir)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("--save: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("--save: %w", err)
	}
	return &recording{dir, root}, nil
}

func (r *recording) close() { _ = r.root.Close() }

func (r *recording) file(name string, content []byte) error {
	f, err := r.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_, err = f.Write(content)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("--save %s: %w", r.dir, err)
	}
	return nil
}

// write writes all of it; probe.json comes last, so that a directory without it is not whole.
func (r *recording) write(p *probe, exchanges []sources.Exchange, known map[string]bool) error {
	if err := r.file("README.txt", []byte(recordingReadme)); err != nil {
		return err
	}
	hide := plainSecrets(p.Source)
	for i, x := range exchanges {
		content, err := encodeExchange(x)
		if err != nil {
			return err
		}
		if err := r.file(exchangeFile(i), []byte(hide.Replace(string(content)))); err != nil {
			return err
		}
	}
	content, err := json.MarshalIndent(recorded(p, len(exchanges), known), "", "  ")
	if err != nil {
		return err
	}
	return r.file(recordingFile, []byte(hide.Replace(string(content))))
}

func exchangeFile(i int) string { return fmt.Sprintf("exchange-%d.txt", i+1) }

func encodeExchange(x sources.Exchange) ([]byte, error) {
	var b bytes.Buffer
	if err := printJSON(&b, x); err != nil { // one line
		return nil, err
	}
	_, err := io.WriteString(&b, x.Body)
	return b.Bytes(), err
}

func decodeExchange(content []byte) (x sources.Exchange, err error) {
	line, body, found := bytes.Cut(content, []byte("\n"))
	if !found {
		return x, errors.New("it has no line of JSON with a body behind it")
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&x); err != nil {
		return x, fmt.Errorf("its first line does not tell an exchange: %w", err)
	}
	if x.Request == "" || x.Key == "" || x.Status < 0 || x.Size < 0 || x.Took < 0 {
		return x, errors.New("its first line does not tell an exchange")
	}
	x.Body = string(body)
	return x, nil
}

func recorded(p *probe, exchanges int, known map[string]bool) recordedProbe {
	s := p.Source
	r := recordedProbe{
		Format: recordingFormat, Tidings: version, At: p.At.UTC(), Source: s.Name, Preset: s.Preset, API: s.Identity, HTTP: s.HTTP, Feeds: s.Feeds,
		Parameters: map[string]string{}, Open: s.Open, Start: s.Start, Overlap: s.Overlap,
		OnLost: s.OnLost, Events: s.Events, Remember: p.Remember, Sinks: p.Sinks, Pages: p.Pages, Generation: p.Generation, Position: p.Position,
		Note: p.Note, Known: []string{}, Exchanges: exchanges,
	}
	if !json.Valid(r.Position) {
		r.Position = nil
	}
	for name, value := range s.Values {
		r.Parameters[name] = sources.Placeholder(name, value)
		if slices.Contains(s.Open, name) {
			r.Parameters[name] = value.Reveal()
		}
	}
	for id, is := range known {
		if is {
			r.Known = append(r.Known, id)
		}
	}
	slices.Sort(r.Known)
	if e := s.Exec; e != nil {
		r.Exec = &recordedExec{Program: e.Command[0].Reveal(), Timeout: e.Timeout, ID: e.ID, Type: e.Type, Time: e.Time, Zone: e.Zone, Layout: e.Layout}
	}
	if s.Preset == "" {
		withoutCredentials(&r.HTTP)
		r.Feeds = slices.Clone(r.Feeds)
		for i := range r.Feeds {
			withoutCredentials(&r.Feeds[i].HTTP)
		}
	}
	return r
}

const hiddenText = "hidden"

// withoutCredentials takes out of a recipe that a user wrote what proves who asks: somebody may have written a key in plain. No request
// is made with it again.
func withoutCredentials(h *recipe.HTTP) {
	h.Headers = nil
	switch a := h.Auth; {
	case a.Bearer != "":
		h.Auth = recipe.Auth{Bearer: hiddenText}
	case a.Basic != nil:
		h.Auth = recipe.Auth{Basic: &recipe.Basic{User: hiddenText, Password: hiddenText}}
	case a.Header != nil:
		h.Auth = recipe.Auth{Header: &recipe.Header{Name: a.Header.Name, Value: hiddenText}}
	case a.Login != nil:
		login := *a.Login
		if login.Basic != nil {
			login.Basic = &recipe.Basic{User: hiddenText, Password: hiddenText}
		}
		h.Auth = recipe.Auth{Login: &login}
	case a.OAuth2 != nil:
		grant := *a.OAuth2
		grant.ClientID, grant.ClientSecret, grant.Params = hiddenText, hiddenText, nil
		h.Auth = recipe.Auth{OAuth2: &grant}
	}
}

// plainSecrets replaces in a text what a recipe of the user's has in plain where credentials stand, and what the values of secrets are.
func plainSecrets(s config.Source) *strings.Replacer {
	secrets := map[string]string{}
	for name, value := range s.Values {
		if !slices.Contains(s.Open, name) {
			secrets[value.Reveal()] = sources.Placeholder(name, value)
		}
	}
	if s.Preset == "" {
		for _, list := range s.HTTP.Lists(s.Feeds) {
			for _, text := range plainCredentials(list.HTTP) {
				if !strings.Contains(text, "{") {
					secrets[text] = hiddenText
				}
			}
		}
	}
	var pairs []string
	for _, text := range slices.SortedFunc(maps.Keys(secrets), func(a, b string) int { return len(b) - len(a) }) {
		if len(text) >= 4 && !strings.Contains(hiddenText, text) {
			pairs = append(pairs, text, secrets[text])
		}
	}
	return strings.NewReplacer(pairs...)
}

// plainCredentials are the texts of a recipe that stand where credentials do.
func plainCredentials(h recipe.HTTP) []string {
	var texts []string
	for name, text := range h.Query {
		if recipe.Credential(name) {
			texts = append(texts, text)
		}
	}
	_, query, _ := strings.Cut(h.URL, "?")
	for pair := range strings.SplitSeq(query, "&") {
		if name, text, _ := strings.Cut(pair, "="); recipe.Credential(name) {
			texts = append(texts, text)
		}
	}
	for name, text := range h.Headers {
		if name = strings.ToLower(name); name != "accept" && name != "content-type" {
			texts = append(texts, text)
		}
	}
	texts = append(texts, h.Auth.Bearer)
	if b := h.Auth.Basic; b != nil {
		texts = append(texts, b.Password)
	}
	if a := h.Auth.Header; a != nil {
		texts = append(texts, a.Value)
	}
	if l := h.Auth.Login; l != nil && l.Basic != nil {
		texts = append(texts, l.Basic.Password)
	}
	if o := h.Auth.OAuth2; o != nil {
		texts = append(texts, o.ClientSecret)
	}
	return texts
}
