package simulator

import (
	"strings"
	"testing"
	"time"
)

func TestParseFaults(t *testing.T) {
	for text, want := range map[string]Faults{
		"":                   {},
		" , ":                {},
		"late=0.1,429=5%":    {Late: Fault{0.1, 0, 2 * time.Minute}, RateLimited: Fault{0.05, 0, 5 * time.Second}},
		"hang=5s":            {Hang: Fault{1, 0, 5 * time.Second}},
		"429date=3x:30s":     {RateLimitedDate: Fault{0, 3, 30 * time.Second}},
		"disabled, keep=500": {Disabled: Fault{Share: 1}, Keep: 500},
		"401=0,slow=0:1s":    {},
		"html = 1x":          {HTML: Fault{Next: 1}},
	} {
		got, err := ParseFaults(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestParseFaultsErrors(t *testing.T) {
	for text, want := range map[string]string{
		"lat=0.1":         `fault "lat=0.1": no fault is called "lat"; there are disabled, 429, `,
		"=0.1":            `fault "=0.1": no fault is called ""`,
		"401=2":           `fault "401=2": the share 2 is not between 0 and 1; a count is written 2x`,
		"401=NaN":         `is not between 0 and 1`,
		"401=-0.1":        `is not between 0 and 1`,
		"401=":            `fault "401=": nothing follows the equals sign`,
		"401=often":       `"often" is no share (0.1 or 10%), count (3x) or duration (5s)`,
		"401=0x":          `"0x" is no count of next times from 1x to 1000000x`,
		"401=5s":          `401 has no length; write a share (0.1) or a count (3x)`,
		"401=0.1:5s":      `401 has no length`,
		"hang=0.1:long":   `"long" is no duration, such as 200ms, 5s or 2m`,
		"hang=0.1:":       `"" is no duration`,
		"hang=-5s":        `the length must be more than 0 and at most 8760h`,
		"hang=1x:9000h":   `the length must be more than 0 and at most 8760h`,
		"keep=0":          `keep wants a number of events, 1 or more, such as keep=500`,
		"keep":            `keep wants a number`,
		"5xx=1x,5xx=0.1":  `fault "5xx=0.1": 5xx stands there twice`,
		"late=0.1;hang=1": `no share`,
	} {
		got, err := ParseFaults(text)
		if err == nil || !strings.Contains(err.Error(), want) || got != (Faults{}) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestFaultsHelpNamesAll(t *testing.T) {
	help := FaultsHelp()
	for _, k := range faultKinds {
		if !strings.Contains(help, "\n  "+k.name+" ") {
			t.Errorf("no %s in the help", k.name)
		}
	}
	if !strings.Contains(help, "keep=500") {
		t.Error("no keep in the help")
	}
}

func FuzzParseFaults(f *testing.F) {
	for _, seed := range []string{"late=0.1:2m,429=3x:30s,slow=200ms,disabled", "keep=3,401=7%", "hang=1h0m0s", "5xx=1e-9,cut=0x", "twice=-0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		faults, err := ParseFaults(text)
		if err != nil {
			if faults != (Faults{}) {
				t.Errorf("faults %v in spite of %v", faults, err)
			}
			return
		}
		again, err := ParseFaults(faults.String())
		if err != nil || again != faults {
			t.Errorf("%q: %+v is written %q and read %+v, %v", text, faults, faults, again, err)
		}
	})
}
