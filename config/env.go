package config

import (
	"io"
	"os"
)

// Env is what a configuration takes from the machine around it. A nil function is the process's own.
type Env struct {
	Lookup   func(name string) (string, bool)  // an environment variable: interpolation, STATE_DIRECTORY, RUNTIME_DIRECTORY, CREDENTIALS_DIRECTORY
	ReadFile func(path string) ([]byte, error) // the file itself, ${file:} and ${credential:}
	Exists   func(path string) bool            // whether something is at path
}

// maxFile bounds the configuration file and what is read of any other.
const maxFile = 1 << 20

func (e Env) withDefaults() Env {
	if e.Lookup == nil {
		e.Lookup = os.LookupEnv
	}
	if e.ReadFile == nil {
		e.ReadFile = readFile
	}
	if e.Exists == nil {
		e.Exists = func(path string) bool { _, err := os.Stat(path); return err == nil }
	}
	return e
}

// readFile reads a file, but no more than one byte beyond maxFile.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}
