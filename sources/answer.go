package sources

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

// maxRetryAfter is the longest wait that an API is believed to mean.
const maxRetryAfter = 31 * 24 * time.Hour

// answer is what came back for a request.
type answer struct {
	what    string
	private bool
	placed  bool // the request named a place in the list
	further bool // the request was for a page of a window that is counted, beyond the first
	checked bool // the request had a validator: 304 is an answer to it
	limits  recipe.Limits
	veil    veil
	status  int
	header  http.Header
	body    string
	over    bool  // the body is longer than asked for, and not here
	size    int64 // bytes of the body, as far as it was read
}

// judge says what an answer means: nil for a success. All who share the credential heed what it says about limits.
func (h *HTTP) judge(a answer) error {
	err := h.meaning(a)
	h.heed(a, err)
	return err
}

// meaning is what an answer means by the recipe's rules and by its status.
func (h *HTTP) meaning(a answer) error {
	if r := h.rule(a); r != nil {
		switch r.Means {
		case recipe.Refused:
			return a.is(event.SourceRefused, "the API refuses the account; see to it with the vendor")
		case recipe.Limited:
			return a.is(event.SourceLimited, "the API asks to be asked less often")
		case recipe.Empty:
			return nil
		default:
			err := a.is(event.SourceFailing, "the API no longer knows the position that was asked for")
			err.Lost = true
			return err
		}
	}
	_, waits := a.retryAfter()
	switch {
	case a.status/100 == 2, a.status == http.StatusNotModified && a.checked:
		return nil
	case a.status == http.StatusProxyAuthRequired:
		return a.is(event.SourceFailing, proxyRefuses)
	case a.status == http.StatusUnauthorized:
		return a.is(event.SourceRefused, "the API does not take the credentials; check them")
	case a.status == http.StatusForbidden && a.limits.Remaining != "" && number(a.header.Get(a.limits.Remaining)) == 0:
		return a.is(event.SourceLimited, "the API asks to be asked less often")
	case a.status == http.StatusForbidden:
		return a.is(event.SourceRefused, "the API does not allow the account this; check its permissions and its credentials")
	case a.status == http.StatusTooManyRequests:
		return a.is(event.SourceLimited, "the API asks to be asked less often")
	case a.status == http.StatusServiceUnavailable && waits:
		return a.is(event.SourceLimited, "the API asks to be asked later")
	case a.placed && h.unknownPlace(a.status):
		err := a.is(event.SourceFailing, "the API does not take the place in the list that was asked for")
		err.Lost = true
		return err
	case a.further && (a.status == http.StatusBadRequest || a.status == http.StatusUnprocessableEntity):
		return a.is(event.SourceFailing, "the API does not give this page of the window; if it gives only so many items of one, set window.step, beside "+
			"window.until, to a time in which fewer happen")
	case a.status == http.StatusNotFound:
		return a.is(event.SourceFailing, "nothing is there for this account; check the address, and what it is made of")
	default:
		return a.is(event.SourceFailing, "")
	}
}

// empty reports whether an answer that is no error says that nothing is there.
func (h *HTTP) empty(a answer) bool {
	r := h.rule(a)
	return r != nil && r.Means == recipe.Empty || r == nil && a.status == http.StatusNoContent
}

// unknownPlace reports whether APIs say by this status that they do not know a cursor, whose event has expired or was deleted. They
// mean other things by all but 410 too. A list that is walked from its head is then walked again, and no harm is done; where the
// cursor is the place, a recipe has to say so itself.
func (h *HTTP) unknownPlace(status int) bool {
	switch status {
	case http.StatusGone:
		return true
	case http.StatusBadRequest, http.StatusNotFound, http.StatusUnprocessableEntity:
		return h.recipe.Position == recipe.HeadWalk
	}
	return false
}

// rule returns the recipe's first rule for the answer.
func (h *HTTP) rule(a answer) *recipe.ErrorRule {
	for i, r := range h.recipe.Errors {
		if r.Status != a.status {
			continue
		}
		if r.Path == "" {
			return &h.recipe.Errors[i]
		}
		body, err := parse(a.body)
		if err != nil {
			continue
		}
		found := text(body.Get(r.Path))
		fits := found != "" && found != "false"
		switch {
		case r.Missing:
			fits = found == ""
		case r.Equals != "":
			fits = found == r.Equals
		}
		if fits {
			return &h.recipe.Errors[i]
		}
	}
	return nil
}

// is makes the answer an error; a wait that it asks for is in it, whatever its status.
func (a answer) is(health event.SourceHealth, meaning string) *poller.FetchError {
	sentence := fmt.Sprintf("%s answered %d", a.what, a.status)
	if s := http.StatusText(a.status); s != "" {
		sentence += " " + s
	}
	e := &poller.FetchError{Health: health}
	e.After = a.after(health == event.SourceLimited)
	if health == event.SourceLimited && e.After > 0 {
		meaning += ", in " + recipe.FormatDuration(e.After.Round(time.Second))
	}
	if meaning != "" {
		sentence += ": " + meaning
	}
	e.Err = errors.New(sentence + a.quote("it says"))
	return e
}

// unreadable is the error of an answer of success that is not what it should be: "... but the answer is not valid JSON".
func (a answer) unreadable(err error) error {
	if coding := a.header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return failing("%s answered %d %s, but the answer is encoded as %s, and was asked for as it is or as gzip; tell whoever runs the server",
			a.what, a.status, http.StatusText(a.status), cut(a.veil.text(coding), 40))
	}
	return failing("%s answered %d %s, but the answer %s%s", a.what, a.status, http.StatusText(a.status),
		a.veil.text(err.Error()), a.quote("it begins"))
}

// quote is the beginning of the body for the end of a sentence; empty where there is nothing that may be shown.
func (a answer) quote(intro string) string {
	if a.private && a.status/100 == 2 {
		return ""
	}
	excerpt := a.veil.excerpt(a.body)
	if excerpt == "" {
		return ""
	}
	return fmt.Sprintf(" (%s: «%s»)", intro, excerpt)
}

func (a answer) tooLarge(limit int64) error {
	return failing("%s answered with more than the %d bytes that one answer may have; nothing of it was taken", a.what, limit)
}

func (a answer) date() time.Time {
	t, err := http.ParseTime(a.header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// retryAfter reads Retry-After (RFC 9110, 10.2.3): seconds, or a date, which counts from the answer's own Date. It reports false
// where there is none that makes sense.
func (a answer) retryAfter() (time.Duration, bool) {
	value := strings.TrimSpace(a.header.Get("Retry-After"))
	if seconds, err := strconv.ParseFloat(value, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		if math.IsNaN(seconds) || seconds < 0 {
			return 0, false
		}
		return time.Duration(min(math.Ceil(seconds), maxRetryAfter.Seconds())) * time.Second, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(orNow(a.date())), 0), maxRetryAfter), true
}
