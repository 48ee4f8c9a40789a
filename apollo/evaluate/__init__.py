"""Evaluation: questions about videos, a model's answers to them, figures and a report.

In:  a file of questions, or a public benchmark on disk.  Out: answers.jsonl, results.json, report.
Odd: nothing here is imported by the rest of the package; the sub-commands reach it when they run.
"""
