package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// proceed asks a question; --yes answers it, and without a terminal nothing else can.
func proceed(cmd *cobra.Command, question string, yes bool) error {
	if yes {
		return nil
	}
	if !isTerminal(cmd.InOrStdin()) {
		return exit(exitUsage, "this would %s: say --yes, since there is no terminal to ask at", question)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s? [y/N] ", capital(question))
	answer, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return exit(exitFailed, "nothing was changed")
	}
	return nil
}
