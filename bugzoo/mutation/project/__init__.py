"""Mutation testing of a user's own code: which wrong gradients do the user's own tests notice?

target, breeding, since      what is mutated, and the mutants of it
swap, spy                    mutated code in the place of the live code; what the tests call it with
probes, judge                is a mutant distinguishable at all, and by what
server, tests                the warm process, and one fork of it for each mutant
crew, run, store             the process of the command line: hands out mutants, keeps what it hears
score, text, page, suggest   what is said in the end
"""
