package config

import (
	"io"
	"os"
)

// env is what a configuration takes from the machine around it.
type env struct {
	lookup   func(name string) (string, bool)  // an environment variable
	readFile func(path string) ([]byte, error) // at most one byte more than maxFile
	exists   func(path string) bool
}

// maxFile bounds the configuration file and what is read of any other.
const maxFile = 1 << 20

// machine is the process's own.
var machine = env{
	lookup:   os.LookupEnv,
	readFile: readFile,
	exists:   func(path string) bool { _, err := os.Stat(path); return err == nil },
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
