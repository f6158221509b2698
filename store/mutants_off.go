//go:build !mutants

package store

// mutants says whether this binary can be told to do what is known to be wrong, to see that the proofs see it. It is false in
// every binary but the one that TestMutants makes: what stands behind it is not even compiled in.
const mutants = false

func mutant(string) bool { return false }

func (s *Store) execWrongly(ops []op) ([]op, bool) { return ops, false }

func (s *Store) writeWrongly([]*request, *batch) {}
