package simulator

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestStylesSayTheSame(t *testing.T) {
	value := object{{"z \"\\\n\t", "ü 日 🌙 \u2028"}, {"a", []any{1, literal("1.50"), nil, true, []any{}, object{}}}, {"", object{{"b", ""}}}}
	want := any(map[string]any{
		"z \"\\\n\t": "ü 日 🌙 \u2028", "a": []any{1.0, 1.5, nil, true, []any{}, map[string]any{}}, "": map[string]any{"b": ""},
	})
	texts := map[string]bool{}
	for i, s := range styles {
		text := s.append(nil, value, 0)
		var got any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("style %d: %v: %s", i, err, text)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("style %d says %v", i, got)
		}
		texts[string(text)] = true
	}
	if len(texts) != len(styles) {
		t.Errorf("%d styles look like %d", len(styles), len(texts))
	}
}
