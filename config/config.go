// Package config reads the YAML configuration file into validated structs. It owns the file's format: keys, defaults, units,
// interpolation. It guarantees that a Config it returns is complete and consistent, that every problem of a file is found at
// once and stands with its line and column, and that no secret is in a problem or in what a Config prints.
package config

import (
	"log/slog"
	"time"

	"github.com/robfig/cron/v3"

	"tidings/event"
	"tidings/recipe"
)

// Config is a whole configuration with every default filled in.
type Config struct {
	File    string // as the user named it
	DataDir string // absolute
	Control string // absolute path of the control socket
	Log     Log
	Web     Web
	Store   Store
	Sources []Source // in the file's order; never empty
	Sinks   []Sink   // in the file's order; never empty
}

// Log says what is logged and how.
type Log struct {
	Level  slog.Level
	Format string // auto, text or json
}

// Web says where metrics and health are served.
type Web struct {
	Listen string // host:port; empty: nowhere
}

// Store says what the store keeps.
type Store struct {
	Remember time.Duration // how long ids are remembered at least
	Keep     time.Duration // how long delivered events are kept; a wish
	MaxSize  int64         // bytes of the file
	MinFree  int64         // bytes of the disk that stay free: this or 5% of the disk, whichever is less
}

// Place is where something stands in the file: line and column from 1; the column counts characters.
type Place struct{ Line, Column int }

// Source is one API to poll, or one program. Values are secrets altogether, since any of them may be one.
type Source struct {
	Name     string
	Place    Place         // of its name in the file
	Preset   string        // the preset's name; empty for another source
	HTTP     recipe.HTTP   // the recipe: the preset's, or the file's own; it holds no secret
	Feeds    []recipe.Feed // its lists, where it has several; HTTP.Lists gives each what it leaves to HTTP
	Exec     *ExecSource   // instead of HTTP: a program
	Values   map[string]event.Secret
	Open     []string      // names of Values that may be shown: a preset's parameters that are no secrets and stand in the file itself
	Identity string        // account and API in one text that may be shown
	Every    time.Duration // 0 when Cron is set
	Cron     cron.Schedule // nil when Every is set
	CronSpec string        // Cron as written
	Jitter   float64       // 0..1: each wait is drawn from ± this part of it
	Start    Start
	Events   event.Filter
	Overlap  time.Duration
	OnLost   string       // from_time, stop or from_now
	TLS      *TLS         // nil: the system's authorities, and no certificate of ours
	Proxy    event.Secret // the address of one, with its credentials; "none"; zero: as the environment says

	// Reload reads again what Values have from files and credentials, and returns all of Values as they are now; nil where nothing
	// comes from there. Its error names the file, and nothing of what is in it.
	Reload func() (map[string]event.Secret, error) `json:"-"`
}

// ExecSource runs a program that prints events. What is said of ExecSink holds for it too.
type ExecSource struct {
	Command []event.Secret
	Hide    []event.Secret
	Env     map[string]event.Secret
	Timeout time.Duration // of one run

	ID, Type, Time, Zone, Layout string // what an event is, as in recipe.HTTP
}

// TLS says by which files a source's server and we prove who we are. Each is an absolute path, or empty.
type TLS struct {
	Cert, Key string // PEM; our certificate and its key, both or none
	CA        string // PEM; the authorities that the server's certificate may be of, instead of the system's
}

// Start is where a first run begins; the zero value is now.
type Start struct {
	Earliest bool
	At       time.Time // set: events before it are history
}

// Sink is one destination. Exactly one of HTTP, File and Exec is set.
type Sink struct {
	Name        string
	Place       Place // of its name in the file
	HTTP        *HTTPSink
	File        *FileSink
	Exec        *ExecSink
	Target      string        // where it delivers to, in a text that may be shown
	Timeout     time.Duration // of one attempt
	Format      string        // raw or envelope
	Sources     event.Filter  // names of configured sources, tidings, or "*" for every configured one
	Events      event.Filter
	Retry       Retry
	Concurrency int
	Order       string // none
}

// HTTPSink posts to a URL. Headers and Secret are as configured; what else the request carries is the sink's.
type HTTPSink struct {
	URL               event.Secret   // http://…, https://…, or unix:/SOCKET:/PATH
	Shown             string         // how people see URL, if it has a value from outside the file: with the reference to it
	Hide              []event.Secret // those values
	Headers           map[string]event.Secret
	Secret            event.Secret // whsec_…; zero: no signature
	PermanentStatuses []int
}

// FileSink writes JSON lines to Path, or a file an event into Spool. Exactly one of them is set, and absolute.
type FileSink struct {
	Path     string // a strftime pattern
	Spool    string
	Timezone *time.Location // of the pattern's times
}

// ExecSink runs a program. Its arguments and variables are secrets altogether, since any of them may be one.
type ExecSink struct {
	Command []event.Secret // never empty
	Hide    []event.Secret // the arguments with a value from outside the file: to be hidden in what the program says
	Env     map[string]event.Secret
}

// Retry says when a failed delivery is attempted again.
type Retry struct {
	Initial     time.Duration // the first wait
	Max         time.Duration // the longest wait, before jitter
	Multiplier  float64       // of each wait over the one before it; at least 1
	Jitter      float64       // 0..1
	GiveUpAfter time.Duration // from a delivery's first failed attempt
}
