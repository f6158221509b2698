package sources

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

// Exchange is one request and its answer, or one run of a program, as a person may be shown it and a file may keep it. In all of its
// texts Placeholders stand for the values of parameters, but for those of Options.Open, and for what is made of them.
type Exchange struct {
	Request string        `json:"request"` // method and URL, as an error has them; the program
	Key     string        `json:"key"`     // tells the request from the others of its source
	Loose   string        `json:"loose"`   // Key without what depends on the time of asking
	Program bool          `json:"program,omitempty"`
	Login   bool          `json:"login,omitempty"`  // Body of a success stands for the answer, and has no token
	Status  int           `json:"status,omitempty"` // 0 where no answer came; a program's exit code
	Header  http.Header   `json:"header,omitempty"` // without cookies and credentials
	Size    int64         `json:"size"`             // bytes of the body as it came
	Over    bool          `json:"over,omitempty"`   // it is longer than an answer may be, and not here
	Hidden  bool          `json:"hidden,omitempty"` // it holds a secret in a form that can't be replaced, and is not here
	Took    time.Duration `json:"took"`
	Error   string        `json:"error,omitempty"`   // why there is no whole answer; what a program's end means
	Limited bool          `json:"limited,omitempty"` // a program asks to be run later
	Body    string        `json:"-"`
}

const hidden = "hidden"

// noLabel are the characters that a host's name can't have.
var noLabel = regexp.MustCompile(`[^a-z0-9]+`)

// Placeholder is what stands for the value of a parameter in an Exchange. It can be put in the value's place: for an address it is one.
func Placeholder(name string, value event.Secret) string {
	if u, err := url.Parse(value.Reveal()); err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") {
		return "https://" + hidden + "-" + strings.Trim(noLabel.ReplaceAllString(strings.ToLower(name), "-"), "-") + ".invalid"
	}
	return hidden + "-" + name
}

// hider puts placeholders for secrets.
type hider struct {
	veil  veil // of what is to be hidden
	texts *strings.Replacer
}

// newHider hides values, but for those that are open, and what else v hides.
func newHider(values map[string]event.Secret, open []string, v veil) hider {
	to := map[string]string{}
	for _, s := range v.secrets {
		to[s.Reveal()] = hidden
	}
	for _, name := range open {
		for _, form := range (veil{}).with(values[name].Reveal()).secrets {
			delete(to, form.Reveal())
		}
	}
	for name, value := range values {
		if slices.Contains(open, name) {
			continue
		}
		for _, form := range (veil{}).with(value.Reveal()).secrets {
			to[form.Reveal()] = Placeholder(name, value)
		}
	}
	var texts []string
	for text := range to {
		if len(text) >= 4 && text != to[text] { // as event.Redact has it; a recording has placeholders already
			texts = append(texts, text)
		}
	}
	slices.SortFunc(texts, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	h := hider{}
	var pairs []string
	for _, text := range texts {
		h.veil.secrets = append(h.veil.secrets, event.NewSecret(text))
		pairs = append(pairs, text, to[text])
	}
	h.texts = strings.NewReplacer(pairs...)
	return h
}

// hide replaces the secrets in a text. false: it holds one in a disguise, and nothing of it may be shown.
func (h hider) hide(text string) (string, bool) {
	text = h.texts.Replace(text)
	return text, !h.veil.disguised(text)
}

func (h hider) line(text string) string {
	if text, ok := h.hide(text); ok {
		return printable(text)
	}
	return "[redacted]"
}

func (h hider) header(header http.Header) http.Header {
	shown := http.Header{}
	for name, values := range header {
		if recipe.Credential(name) {
			continue
		}
		for _, value := range values {
			if value, ok := h.hide(value); ok {
				shown[name] = append(shown[name], value)
			}
		}
	}
	return shown
}

func (h *HTTP) hider(token string) hider {
	return newHider(h.values, h.options.Open, h.veil.with(token))
}

// asked is the exchange that begins with r.
func (h *HTTP) asked(r request) Exchange {
	hide := h.hider(r.token)
	key := hide.line(cmp.Or(r.key, r.what))
	return Exchange{Request: r.what, Key: key, Loose: cmp.Or(hide.line(r.loose), key), Login: r.private}
}

// trace tells an exchange that has ended.
func (h *HTTP) trace(r request, a answer, took time.Duration, err error) {
	if h.options.Trace == nil {
		return
	}
	x, hide := h.asked(r), h.hider(r.token)
	x.Status, x.Header, x.Size, x.Over, x.Took = a.status, hide.header(a.header), a.size, a.over, took
	body, ok := hide.hide(a.body)
	if x.Body, x.Hidden = body, !ok; r.private && a.status/100 == 2 {
		x.Body, x.Hidden = r.instead, false
	}
	if err != nil {
		x.Error = hide.line(err.Error())
	}
	h.options.Trace(x)
}

// repeat answers r by what was recorded.
func (h *HTTP) repeat(r request, a answer) (answer, error) {
	x, err := h.options.Replay(h.asked(r))
	if err != nil {
		return a, failing("%s: %w", r.what, err)
	}
	a.status, a.header, a.body, a.size, a.over = x.Status, x.Header, x.Body, x.Size, x.Over
	if a.header == nil {
		a.header = http.Header{}
	}
	switch {
	case x.Hidden:
		return a, failing("%s: the recording has no body of this answer, as it held a secret in a form that could not be replaced", r.what)
	case x.Status == 0 || x.Error != "":
		return a, failing("%s", cmp.Or(printable(x.Error), r.what+" has no answer in the recording"))
	}
	return a, nil
}

// tokenAnswer is what stands for an answer with a token, at that path in it.
func tokenAnswer(path string) string {
	body := map[string]any{}
	if set(body, path, hidden+"-token") != nil {
		return ""
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return ""
	}
	return string(encoded)
}

// told is how a program's run went, for the one who traces it.
func (x *Exec) told(key string, output string, took time.Duration, err error) {
	if x.o.Trace == nil {
		return
	}
	hide := newHider(nil, nil, x.veil)
	e := Exchange{Request: x.o.Command[0], Program: true, Key: key, Loose: key, Size: int64(len(output)), Took: took}
	body, ok := hide.hide(output)
	e.Body, e.Hidden = body, !ok
	if fetch, ok := errors.AsType[*poller.FetchError](err); ok {
		e.Error, e.Limited = hide.line(fetch.Error()), fetch.Health == event.SourceLimited
	}
	x.o.Trace(e)
}

// repeat gives the output of a recorded run. No program is started.
func (x *Exec) repeat(key string) (string, error) {
	e, err := x.o.Replay(Exchange{Request: x.o.Command[0], Program: true, Key: key, Loose: key})
	switch {
	case err != nil:
		return "", failing("%s: %w", x.o.Command[0], err)
	case e.Hidden:
		return "", failing("%s: the recording has no output of this run, as it held a secret in a form that could not be replaced", x.o.Command[0])
	case e.Limited:
		return "", &poller.FetchError{Health: event.SourceLimited, Err: errors.New(printable(e.Error))}
	case e.Error != "":
		return "", failing("%s", printable(e.Error))
	}
	return e.Body, nil
}
