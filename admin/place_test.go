package admin

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tidings/event"
)

func TestPositionAndWhatIsRemembered(t *testing.T) {
	store := &fakeStore{sources: []event.SourceStats{{Name: "flatpeak", Identity: "there acc_1", Position: []byte(`{"v":1}`)}}}
	client := Local((&Server{Store: store}).Handler())
	defer client.Close()
	pos, err := client.Position(t.Context(), "flatpeak")
	if err != nil || pos.Identity != "there acc_1" || pos.Generation != 7 || string(pos.Data) != `{"v":1}` {
		t.Errorf("%+v, %v", pos, err)
	}
	if pos, err := client.Position(t.Context(), "new"); err != nil || pos.Data != nil || pos.Identity != "" {
		t.Errorf("a source that the store does not know: %+v, %v", pos, err)
	}
	if _, err := client.Position(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "name the source") {
		t.Errorf("without a source: %v", err)
	}

	// More than one request takes, ids that are no text among them.
	ids := []string{"known\xff", "new"}
	for i := range 5000 {
		ids = append(ids, fmt.Sprintf("known%01000d", i))
	}
	known, err := client.Known(t.Context(), "flatpeak", ids)
	if err != nil || len(known) != len(ids) || !known[0] || known[1] || slices.Contains(known[2:], false) {
		t.Errorf("%d answers for %d ids, %v", len(known), len(ids), err)
	}
	if known, err := client.Known(t.Context(), "flatpeak", nil); err != nil || len(known) != 0 {
		t.Errorf("no ids: %v, %v", known, err)
	}
	if _, err := client.Known(t.Context(), "", ids[:1]); err == nil {
		t.Error("ids of no source are looked up")
	}
}
