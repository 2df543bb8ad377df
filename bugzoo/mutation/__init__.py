"""Wrong versions of a right program: edits, operators, breeding, classification.

edit, rewrite, tree, tidy    how a program is changed so that nobody sees a machine did it
operator, operators/         what is changed: one generator a mistake, with its examples
scope, match                 what an operator may ask about the place it looks at
breed                        all mutants of a class, with ids that never change
classify                     what each mutant is, by the oracle
"""
