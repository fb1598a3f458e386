"""Figures of a loaded run, one module for each family; notebooks and reports show the same ones.

Each function takes a Run (lab.load) and returns a Picture, or a Sentence that says why there is nothing to draw: a
figure shows only what the run carries.
"""
