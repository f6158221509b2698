package config

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/lestrrat-go/strftime"
)

// fileSink reads where a file sink writes to: one file, or a directory of them.
func (d *decoder) fileSink(v value, s *Sink) {
	found := d.object(v, d.fileSinkTable(s.File))
	_, path := found["path"]
	spool, both := found["spool"]
	switch {
	case path && both:
		d.problemAtKey(spool, "stands beside path: a file sink has one of them")
	case !path && !both && !d.broken[v.path]:
		d.problemAtKey(v, "does not say where to write: path is one file with a line an event, spool a directory with a file an event")
	}
	if timezone, ok := found["timezone"]; ok && both && !path {
		d.problemAtKey(timezone, "is of the times in path, and spool has none: remove it")
	}
	s.Target = s.File.Path + s.File.Spool
}

func (d *decoder) fileSinkTable(f *FileSink) table {
	return table{what: "a file sink", fields: []field{
		{"path", func(v value) { d.filePath(v, &f.Path) }},
		{"spool", d.path(&f.Spool)},
		{"timezone", func(v value) {
			zone, ok := d.text(v, "UTC, Local or a name such as Europe/Berlin")
			if !ok {
				return
			}
			location, err := time.LoadLocation(zone.text)
			if err != nil {
				d.problem(v, "is %s, a time zone that is unknown here: write UTC, Local or a name such as Europe/Berlin", zone.show())
				return
			}
			f.Timezone = location
		}},
	}}
}

// filePath reads a path with strftime's conversions in it.
func (d *decoder) filePath(v value, to *string) {
	path, ok := d.text(v, "the path of a file")
	if !ok {
		return
	}
	switch _, err := strftime.New(path.text); {
	case err != nil:
		d.problem(v, "is %s, with a %% that is no conversion of strftime: write %%%% for a percent sign, or such as %%Y-%%m-%%d", path.show())
	case strings.HasSuffix(path.text, "/"):
		d.problem(v, "is %s, a directory: write the path of a file in it, or spool for a file an event", path.show())
	default:
		*to = d.abs(path.text)
	}
}

// ownFile sees to it that no two sinks write to one path.
func (d *decoder) ownFile(v value, s *Sink, files map[string]string) {
	if s.File == nil {
		return
	}
	for key, path := range map[string]string{"path": s.File.Path, "spool": s.File.Spool} {
		if path == "" {
			continue
		}
		real := followed(path)
		if other, taken := files[real]; taken {
			d.problem(d.at(join(v.path, "file."+key)), "is where the sink %s writes too: give each its own", other)
			continue
		}
		files[real] = s.Name
	}
}

// followed is an absolute path without the symbolic links in what is there of it.
func followed(path string) string {
	for there := path; there != "/"; there = filepath.Dir(there) {
		if real, err := filepath.EvalSymlinks(there); err == nil {
			return filepath.Join(real, path[len(there):])
		}
	}
	return path
}
