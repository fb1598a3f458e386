"""What the lab itself costs on this machine, and how well it recovers answers that are known beforehand.

The known answers come from a module of the lab's own (lab/native/stub.c), which takes exactly as long as it is told.
All is measured as any scenario is: arms.py writes scenarios, bench.py runs them, and others judge what was sealed.
"""
