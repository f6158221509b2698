package sources

import (
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

var _ poller.Wrapper = (*HTTP)(nil)

// changes are the types of the events that are made of a resource's changes.
type changes map[poller.Change]field

func newChanges(c recipe.Changes) (changes, error) {
	all := changes{}
	for change, text := range map[poller.Change]string{poller.Created: c.Created, poller.Updated: c.Updated, poller.Deleted: c.Deleted} {
		f, err := newField("changes."+string(change), text)
		if err != nil {
			return nil, err
		}
		all[change] = f
	}
	return all, nil
}

// Wrap gives e the type and the body that the recipe has for a change. What is known of a deleted resource is its id: its body is made
// of an object with that alone.
func (h *HTTP) Wrap(e *event.Event, change poller.Change) bool {
	kind, ok := h.types[change]
	if !ok || !kind.given() {
		return false
	}
	if e.Broken != "" {
		return true
	}
	listed := string(e.Data)
	if len(e.Data) == 0 {
		listed = "{" + quote(h.resourceKey()) + ":" + quote(e.Resource) + "}"
	}
	doc := gjson.Parse(listed)
	i := item{Result: doc, around: doc, ignore: h.recipe.Changes.Ignore}
	e.Type = cutType(kind.of(&i))
	if h.list.raw == nil {
		e.Data = []byte(listed)
		return true
	}
	e.Data = h.list.raw.expand(&i, e, orNow(h.lastDate()))
	return true
}

// resourceKey is the key of a resource's id in its JSON.
func (h *HTTP) resourceKey() string {
	if key := h.list.resource.path; key != "" && !strings.ContainsAny(key, `.|#@*?\`) {
		return key
	}
	return "id"
}

// lastDate is the server's clock as it answered last; zero where it never said.
func (h *HTTP) lastDate() time.Time {
	if s := h.date.Load(); s != 0 {
		return time.Unix(s, 0).UTC()
	}
	return time.Time{}
}

// orNow is the server's clock, ours where it does not say.
func orNow(date time.Time) time.Time {
	if date.IsZero() {
		return time.Now()
	}
	return date
}
