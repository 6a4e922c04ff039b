"""The evidence of a drill: one record, and the files that are views of it."""
